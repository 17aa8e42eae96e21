package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/imgtools/imgtools/lib/image"
)

// Check asks a registry, host[:port], whether it takes o.Credential: a login
// that leaves nothing behind (distribution-spec, determining support). One that
// asks nobody for credentials takes any. Errors wrap image.ErrUnauthorized if
// it does not take this one, and then a *Error that says so; ErrDenied or
// ErrNetwork; reference.ErrFormat for a host that is none.
func Check(ctx context.Context, host string, o Options) error {
	r, err := atHost(host, o)
	if err != nil {
		return err
	}
	defer r.remote.free()
	s := r.sessionFor()
	err = s.ask(ctx, &request{method: http.MethodGet, path: "/v2/"}, func(*response) error { return nil })
	var answer *Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, image.ErrUnauthorized) && errors.As(err, &answer): // in whatever words of ours
		return fmt.Errorf("invalid username/password: %w", answer)
	}
	return fmt.Errorf("pinging registry %s: %w", host, err)
}
