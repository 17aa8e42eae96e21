package registry

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/imgtools/imgtools/lib/image"
)

// A session is one side's conversation with the registry about a repository:
// what it shows, and what it was told to be allowed.
type session struct {
	*repository
	auth *authorizer
}

// session returns one with the repository; sessionFor one with the registry,
// for which tokens are to have these scopes.
func (r *repository) session(actions ...string) *session {
	return r.sessionFor(repositoryScope(r.ref.Path, actions...))
}

func (r *repository) sessionFor(scopes ...scope) *session {
	return &session{r, newAuthorizer(r, scopes...)}
}

// path is the path of a URL at the registry, about the repository.
func (s *session) path(parts ...string) string {
	return "/v2/" + s.ref.Path + "/" + strings.Join(parts, "/")
}

// errAgain says that a request has to be sent again, with a new body: the
// registry asked for another token when the body was on its way.
var errAgain = fmt.Errorf("%w: authentication was renewed in the middle", image.ErrNetwork)

// once sends a request once, shows what the registry asks for, and goes where
// the request is redirected to. Whatever the status, it is not an error.
func (s *session) once(ctx context.Context, req *request) (*response, error) {
	elsewhere := req.stranger || req.url != nil && !s.remote.isHome(req.url)
	var round int
	for {
		shown, err := "", error(nil)
		if !elsewhere {
			if shown, err = s.auth.header(ctx); err != nil {
				return nil, err
			}
		}
		resp, err := s.remote.follow(ctx, req, shown)
		if err != nil {
			return nil, err
		}
		if elsewhere || resp.left {
			return resp, nil
		}
		s.heed(resp.Header["Warning"])
		if resp.StatusCode != http.StatusUnauthorized {
			s.auth.accepted(shown)
			return resp, nil
		}
		round++
		again, err := s.auth.challenged(ctx, parseChallenges(resp.Header["Www-Authenticate"]), shown, round)
		if err == nil && !again {
			return resp, nil
		}
		resp.discard()
		if err != nil {
			return nil, err
		}
		if req.body != nil {
			return nil, errAgain
		}
	}
}

// ask sends a request until it is answered, and lets read have the answer if
// its status is one of success. What fails in passing is tried again.
func (s *session) ask(ctx context.Context, req *request, read func(*response) error) error {
	return s.retry.do(ctx, func() error {
		resp, err := s.once(ctx, req)
		if err != nil {
			return err
		}
		if resp.StatusCode/100 != 2 {
			return s.fail(resp)
		}
		err = read(resp)
		resp.discard()
		return err
	})
}

// fail makes an error of an answer and closes it.
func (s *session) fail(resp *response) error {
	return s.remote.errorOf(resp, s.auth.hide)
}

// heed passes on warnings of the registry (distribution-spec, warnings).
func (s *session) heed(lines []string) {
	for _, line := range lines {
		p := lexer{s: line}
		if p.token() != "299" || !p.space() {
			continue
		}
		if p.token() == "" || !p.space() || p.peek() != '"' {
			continue
		}
		s.warn(clean(s.auth.hide(p.quoted()), maxMessage))
	}
}
