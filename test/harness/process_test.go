package harness

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// Between the look for a free port and its use somebody else may take it, even
// another registry: a test must not go on with that one.
func TestReadyIsOurs(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	r := &Registry{Addr: s.Listener.Addr().String(), Dir: t.TempDir(), client: s.Client()}
	if err := r.ready(); err == nil {
		t.Error("somebody else's registry is taken for ours")
	}
}

// A component that dies at once must be told from one that is slow, with what
// it said.
func TestDiesAtOnce(t *testing.T) {
	never := func() error { return errors.New("not yet") }
	_, err := launch(t, filepath.Join(Dir(t), "log"), never, "sh", "-c", "echo why; exit 3")
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "why") {
		t.Errorf("launch of what dies = %v; want its exit status and its log", err)
	}
}

// Of a component that dies later the test's failure is only a consequence, so
// the log belongs beside it. That of one that lives is nobody's concern.
func TestDiesLater(t *testing.T) {
	for script, dies := range map[string]bool{"echo why; exit 3": true, "echo why; exec sleep 1000": false} {
		r := &recorder{T: t}
		s, err := launch(r, filepath.Join(Dir(t), "log"), func() error { return nil }, "sh", "-c", script)
		if err != nil {
			t.Fatal(err)
		}
		if dies {
			<-s.done
		}
		for _, f := range r.cleanups {
			f()
		}
		if got := r.log.String(); dies != strings.Contains(got, "why") || dies != strings.Contains(got, "exit status 3") {
			t.Errorf("%s: the test logs %q", script, got)
		}
		<-s.done
	}
}

// recorder is a test that keeps its log, and what is to be done at its end.
type recorder struct {
	*testing.T
	log      strings.Builder
	cleanups []func()
}

func (r *recorder) Logf(format string, args ...any) { fmt.Fprintf(&r.log, format, args...) }
func (r *recorder) Cleanup(f func())                { r.cleanups = append(r.cleanups, f) }
