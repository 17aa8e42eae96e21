package copy

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// A group runs functions, some at a time, until one fails. The others are
// then cancelled, and none begins any more.
type group struct {
	*errgroup.Group
	ctx context.Context
}

func newGroup(ctx context.Context, limit int) (*group, context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(limit)
	return &group{g, ctx}, ctx
}

// Go runs f when there is room for it.
func (g *group) Go(f func() error) {
	g.Group.Go(func() error {
		if err := g.ctx.Err(); err != nil {
			return context.Cause(g.ctx)
		}
		return f()
	})
}
