// Package registry is the room of the docker:// transport: a client of
// registries that follow the OCI distribution-spec or the Docker registry
// HTTP API V2.
//
// It reads, writes and tidies one repository, reads from several that mirror each
// other, and asks a registry what it has. The first request is the one that is
// needed, and authentication, plain HTTP on loopback, mounts and who lists
// referrers are learned from the answers. Everything that a server says is taken
// as a stranger's word: where a request may go is decided in origin.go, guard.go
// and redirect.go, what a credential may be shown to in auth.go, how much of an
// answer is read in each place that reads one, and how often and how long is
// tried in retry.go and watch.go.
//
// The package knows no files of credentials: they come in as a function. It
// imports the contract, blobs, nouns and references, and none of the other
// transports.
package registry

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/reference"
)

// Options say how a registry is reached. The zero value is anonymous, over
// verified TLS.
type Options struct {
	// Side is image.SideSource or image.SideDestination, for events.
	Side string

	// TLSVerify is the tri-state of --tls-verify.
	TLSVerify TLSVerify

	// CertDir holds *.crt files, authorities beside those of the system, and
	// pairs X.cert and X.key, certificates to show to the registry. A
	// directory that is not there is as good as an empty one.
	CertDir string

	// Credential is asked once, when the registry first wants to know who we
	// are, for the credential of a repository, such as
	// "docker.io/library/busybox" or, by Check and Catalog, of a registry,
	// "docker.io". Nil is anonymous.
	Credential func(ctx context.Context, repository string) (Credential, error)

	// Token is shown to a registry that asks for a bearer token, in place of
	// one that its token service would give out.
	Token string

	UserAgent string // "" is "imgtools"
	Retry     Retry
	Notify    image.Notify // is told of retries and warnings

	// ForeignURLs fetches layers that have URLs from there. Otherwise they
	// are asked for at the registry as all others.
	ForeignURLs bool

	// ChunkSize, if not 0, is how many bytes of a blob one request uploads.
	// Below 0 is an error of New.
	ChunkSize int64

	Network Network

	// Trace, if set, is told of every exchange: the URL without query and
	// user information, the status or 0, and the time to the answer's head.
	Trace func(method, url string, status int, took time.Duration)
}

// TLSVerify says what to do about TLS.
type TLSVerify int

const (
	// Unset verifies certificates. A registry on a loopback address may
	// speak plain HTTP.
	Unset TLSVerify = iota
	// Always verifies certificates and never speaks plain HTTP.
	Always
	// Never does not verify, and speaks plain HTTP where there is no TLS.
	Never
)

// Network holds limits of what a request may take, and where and how it may
// go. Zero durations stand for the defaults, and nil is no limit.
type Network struct {
	Connect   time.Duration // to connect; 30 s
	Handshake time.Duration // of TLS; 10 s
	Header    time.Duration // from the end of a request to its answer; 60 s
	Idle      time.Duration // that the network may be silent within one; 60 s

	Rate      *Limiter // of requests to the registry itself
	Bandwidth *Limiter // of bytes of bodies, both ways together

	// Ranges, if 2 or more, is how many requests at a time read a blob of
	// 64 MiB or more, one such blob at a time, in some 12 MiB of memory.
	Ranges int

	TLS TLS

	// Inward lets servers send us to loopback, private and link-local
	// addresses, also if the registry itself is at none.
	Inward bool

	dial dialFunc // for tests: another network
}

// A Credential is what a registry, or its token service, is shown. The zero
// value is anonymous. It prints as its user name only.
type Credential struct {
	Username string
	Password string
	// IdentityToken is exchanged for access tokens at the registry's token
	// service. It goes before the password.
	IdentityToken string
}

// Format writes the user name, whatever the verb: a credential that is
// printed by mistake shows no secret.
func (c Credential) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "credential of %q", c.Username) }

// A Repository is one repository of a registry. Connections, and what has
// been learned about the registry, are shared among its sources and
// destinations.
type Repository struct{ *repository }

type repository struct {
	ref    reference.Docker
	o      Options
	remote *remote
	retry  *retrier

	unlisted atomic.Bool // the registry has no referrers API

	mu     sync.Mutex
	warned map[string]bool
	pool   sync.Pool // of *[]byte, pieceSize long
}

// bufferSize is how large a blob may be, in bytes, to be held in memory while
// it is sent.
const bufferSize = 128 << 10

// New returns the repository that ref is in. It reads o.CertDir, but sends
// nothing. Errors are those of lib/reference, for a ref that no parser
// returned, of reading certificates, and of options that mean nothing.
func New(ref reference.Docker, o Options) (*Repository, error) {
	if err := checkReference(ref); err != nil {
		return nil, err
	}
	r, err := newRepository(ref, o)
	if err != nil {
		return nil, err
	}
	return &Repository{r}, nil
}

func newRepository(ref reference.Docker, o Options) (*repository, error) {
	if o.ChunkSize < 0 {
		return nil, fmt.Errorf("chunks of %d bytes: want 0 or more", o.ChunkSize)
	}
	if o.UserAgent == "" {
		o.UserAgent = "imgtools"
	}
	m, err := newRemote(wireName(ref.Domain), o)
	if err != nil {
		return nil, err
	}
	retry := newRetrier(o.Retry, o.Side, o.Notify)
	m.heed = (&quotaWatch{domain: ref.Domain, retry: retry}).see
	return &repository{
		ref:    ref,
		o:      o,
		remote: m,
		retry:  retry,
		warned: map[string]bool{},
		pool:   sync.Pool{New: func() any { b := make([]byte, pieceSize); return &b }},
	}, nil
}

// atHost is New for what is asked of a registry and not of a repository in it.
// Such a repository has no path.
func atHost(host string, o Options) (*repository, error) {
	name := host
	if !strings.Contains(host, ":") {
		name += ":443" // or the parser could take it for part of a path
	}
	ref, err := reference.ParseDocker(name + "/path")
	if err != nil || ref.Domain != name {
		return nil, fmt.Errorf("%.300q is not the host of a registry: %w", host, reference.ErrFormat)
	}
	return newRepository(reference.Docker{Domain: host}, o)
}

// Reference returns the reference that all this is about.
func (r *repository) Reference() reference.Docker { return r.ref }

// wireName is where a registry is to be found.
func wireName(domain string) string {
	if domain == "docker.io" {
		return "registry-1.docker.io"
	}
	return domain
}

// checkReference makes sure that ref can be put together from its parts and
// taken apart again: each part will be one of a URL.
func checkReference(ref reference.Docker) error {
	ref.Unknown = false
	got, err := reference.ParseDocker(ref.String())
	if err != nil {
		return fmt.Errorf("%.300q: %w", ref.String(), err)
	}
	if got != ref {
		return fmt.Errorf("%.300q: %w", ref.String(), reference.ErrFormat)
	}
	return nil
}

// warn tells what the registry wants the user to know, each text once.
func (r *repository) warn(text string) {
	const most = 100
	r.mu.Lock()
	fresh := !r.warned[text] && len(r.warned) < most
	if fresh {
		r.warned[text] = true
	}
	r.mu.Unlock()
	if fresh {
		r.o.Notify.Send(image.Event{Kind: image.EventWarning, Side: r.o.Side, Text: fmt.Sprintf("warning from registry %s: %q", r.ref.Domain, text)})
	}
}
