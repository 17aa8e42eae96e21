package registrytest_test

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/imgtools/imgtools/lib/copy"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport/registry"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// What may not be seen by anybody but the registry and its token service.
const (
	password  = "p4ssw0rd-of-ali"
	identity  = "1dentity-of-ali"
	signature = "s1gnature-of-a-redirect" // in queries: not to be shown either
)

// A hostile case is a copy from or to a registry where something goes wrong,
// and what has to come of it. Whatever that is, nothing may have a name when
// the copy failed, no secret may have gone to a stranger or into a message,
// and there is an end to requests and bytes.
type hostile struct {
	options  registrytest.Options
	identity bool // the client has an identity token and no password
	open     bool // the registry asks for no credentials
	basic    bool // the registry asks for them with each request
	tls      bool
	client   func(*registry.Options)
	content  func() *imagetest.Content // nil: imagetest.Image
	pinned   bool                      // the source is named by its digest

	arm   func(s *scene)
	want  error          // nil: the copy succeeds
	says  string         // what the error says, among others
	most  int            // requests; 0: mostRequests
	check func(s *scene) // nil: nothing else to look at
}

// A scene is a registry, with strangers around it, and the content of a case.
type scene struct {
	*registrytest.Server
	t     *testing.T
	c     *imagetest.Content
	cdn   string // URLs: one that blobs may be at,
	evil  string // one that nothing should be sent to,
	plain string // and one that does not speak TLS

	mu   sync.Mutex
	said []string // in events and errors
}

// What a client may ask for at most when nothing else is said. A server that
// is in the middle of sending has some megabytes in the system's buffers.
const (
	mostRequests = 60
	mostBytes    = 64 << 20
)

const (
	repo = "a/b"
	tag  = "1"

	blobs     = "/v2/**/blobs/*"
	manifests = "/v2/**/manifests/*"
	starts    = "/v2/**/blobs/uploads/"
	uploads   = "/v2/**/blobs/uploads/*"
	tokens    = "/token"
)

func newScene(t *testing.T, h *hostile) *scene {
	t.Helper()
	o := h.options
	o.Auth.Scheme = registrytest.Bearer
	switch {
	case h.open:
		o.Auth.Scheme = registrytest.Open
	case h.basic:
		o.Auth.Scheme = registrytest.Basic
	}
	o.Auth.Users = map[string]string{"ali": password, "bob": password}
	o.Auth.Identity = map[string]string{identity: "ali"}
	start := registrytest.Start
	if h.tls {
		start = registrytest.StartTLS
	}
	s := &scene{Server: start(t, o), t: t, c: imagetest.Image()}
	if h.content != nil {
		s.c = h.content()
	}
	s.cdn, s.evil, s.plain = s.Open("cdn"), s.Open("evil"), s.OpenPlain("plain")
	return s
}

// repository is the client's side.
func (s *scene) repository(h *hostile) *registry.Repository {
	s.t.Helper()
	ref, err := reference.ParseDocker(s.Addr + "/" + repo + ":" + tag)
	if h.pinned {
		ref, err = reference.ParseDocker(s.Addr + "/" + repo + "@" + s.c.Root.Digest.String())
	}
	if err != nil {
		s.t.Fatal(err)
	}
	cred := registry.Credential{Username: "ali", Password: password}
	if h.identity {
		cred = registry.Credential{IdentityToken: identity}
	}
	o := registry.Options{
		CertDir:    s.CertDir,
		Credential: func(context.Context, string) (registry.Credential, error) { return cred, nil },
		Retry:      registry.Retry{Delay: time.Millisecond},
		Notify:     s.hear,
	}
	if h.client != nil {
		h.client(&o)
	}
	r, err := registry.New(ref, o)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *scene) hear(e image.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, e.Text)
}

// runAll runs groups of cases, all at once.
func runAll(t *testing.T, run func(*hostile, *testing.T), groups map[string]map[string]hostile) {
	for group, cases := range groups {
		for name, h := range cases {
			t.Run(group+"/"+name, func(t *testing.T) { t.Parallel(); run(&h, t) })
		}
	}
}

// pull runs a case from the registry into memory.
func (h *hostile) pull(t *testing.T) {
	s := newScene(t, h)
	s.Put(repo, tag, s.c.Root.Digest, s.c.Manifests, s.c.Blobs)
	if h.arm != nil {
		h.arm(s)
	}
	src, dst := s.repository(h).Source(), imagetest.NewMemory(image.Wants{})
	h.copy(s, dst, src)
	if h.want == nil {
		if err := imagetest.Check(t.Context(), dst.Source(), s.c); err != nil {
			t.Errorf("what was copied: %v", err)
		}
	} else if dst.Committed {
		t.Errorf("the copy failed, but there is a name")
	}
	h.judge(s)
}

// push runs a case from memory into the registry.
func (h *hostile) push(t *testing.T) {
	s := newScene(t, h)
	if h.arm != nil {
		h.arm(s)
	}
	h.copy(s, s.repository(h).Destination(), s.c.Source())
	if h.want == nil {
		check(t, s.Server, repo, tag, s.c)
	} else if tags := s.Tags(repo); len(tags) > 0 {
		t.Errorf("the copy failed, but there are tags %q", tags)
	}
	h.judge(s)
}

func (h *hostile) copy(s *scene, dst image.Destination, src image.Source) {
	s.t.Helper()
	// The limit is for a client that hangs: no case comes near it.
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	_, err := copy.Copy(ctx, dst, src, copy.Options{Gate: copy.AdmitAll, Notify: s.hear})
	src.Close()
	dst.Close()
	h.compare(s, err)
}

// compare looks at how it ended.
func (h *hostile) compare(s *scene, err error) {
	s.t.Helper()
	if fail := h.want == errAny && err == nil || h.want != errAny && !errors.Is(err, h.want); fail {
		s.t.Errorf("it ends with %v; want %v", err, h.want)
	}
	if err == nil {
		return
	}
	if !strings.Contains(err.Error(), h.says) {
		s.t.Errorf("the error says %q; want %q in it", err, h.says)
	}
	s.hear(image.Event{Text: err.Error()})
}

// judge looks at what holds for every case.
func (h *hostile) judge(s *scene) {
	s.t.Helper()
	list := s.Requests()
	if len(list) > cmp.Or(h.most, mostRequests) {
		s.t.Errorf("there were %d requests; want %d at most", len(list), cmp.Or(h.most, mostRequests))
	}
	secrets := []string{password, identity}
	var sent int64
	for _, q := range list {
		sent += q.Out
		if _, value := q.Authorization(); value != "" {
			secrets = append(secrets, value)
		}
		if q.Origin == registrytest.Main || q.Origin == "auth" && !q.ClientCert {
			continue
		}
		if q.Header.Get("Authorization") != "" || q.Carries(password) || q.Carries(identity) || q.ClientCert {
			s.t.Errorf("%s %s at the origin %s: credentials %q, certificate %v; want none",
				q.Method, q.Path, q.Origin, q.Header.Get("Authorization"), q.ClientCert)
		}
	}
	if sent > mostBytes {
		s.t.Errorf("the client took %d bytes; want %d at most", sent, mostBytes)
	}
	for _, text := range s.said {
		s.harmless(text, append(secrets, signature))
	}
	if h.check != nil {
		h.check(s)
	}
}

// harmless checks a text that people, and their logs, get to see.
func (s *scene) harmless(text string, secrets []string) {
	s.t.Helper()
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			s.t.Errorf("a message holds a secret: %q", text)
		}
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		s.t.Errorf("a message holds control characters: %q", text)
	}
}
