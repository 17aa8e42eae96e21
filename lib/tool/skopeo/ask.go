package skopeo

import (
	"context"
	"io"
	"os"
	"syscall"

	"github.com/imgtools/imgtools/lib/tool/login"
)

// ask asks on standard output and takes the answer from standard input. A
// secret is typed at a terminal, which does not show it, or not at all.
func (p *program) ask(ctx context.Context, prompt string, secret bool) (string, error) {
	if !secret {
		return login.Converse(ctx, p.std.In, p.std.Out, nil, prompt)
	}
	if !p.std.InIsTerminal() {
		_, err := io.WriteString(p.std.Out, prompt)
		if err == nil {
			err = syscall.ENOTTY
		}
		return "", err
	}
	tty, ok := p.std.In.(*os.File)
	if !ok {
		tty = os.Stdin // which is behind In
	}
	return login.Converse(ctx, p.std.In, p.std.Out, tty, prompt)
}
