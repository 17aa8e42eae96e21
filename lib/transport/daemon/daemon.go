// Package daemon is the room of images that a Docker daemon holds:
// docker-daemon:. It speaks the Docker Engine API over a socket, as its
// reference at docs.docker.com describes it: /_ping, /images/NAME/json,
// /images/NAME/get and /images/load.
//
// What a daemon saves is an archive, and what it loads is one: they are read
// and written by lib/transport/archive, as they come and go. Nothing is
// unpacked here, and nothing lies in a temporary file of ours, save what the
// engine spools because nobody knows its size.
//
// The package imports lib/oci, lib/reference, lib/blob, lib/disk, lib/image
// and, through the one door there is, lib/transport/archive; never another
// transport.
package daemon

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

// DefaultHost is where a daemon listens if nobody says otherwise.
const DefaultHost = "unix:///var/run/docker.sock"

// Limits on what a daemon may make us wait for or remember.
const (
	connectLimit = 30 * time.Second // until somebody answers at the address
	answerLimit  = time.Minute      // until the answer to a small question has come
	defaultIdle  = 10 * time.Minute // a daemon that packs or unpacks a large image says nothing meanwhile
	maxAnswer    = 4 << 20          // bytes of what is told of an image
	maxError     = 64 << 10         // bytes of an answer that is an error
	maxMessage   = 2 << 10          // bytes that are shown of it
	maxLine      = 1 << 20          // bytes of one message of progress
	maxProgress  = 256 << 20        // bytes of all of them
)

// Options say how a daemon is reached. The zero value is the daemon at
// DefaultHost.
type Options struct {
	// Host is unix://PATH, tcp://HOST[:PORT] or https://HOST[:PORT], which
	// are both TLS, or http://HOST[:PORT], which is not. "" leaves it to
	// the environment, and then to DefaultHost.
	Host string

	// CertDir has ca.pem, which vouches for the daemon, and cert.pem and
	// key.pem, which vouch for us. "" leaves it to the environment if Host
	// does; without one, the authorities of the system vouch for the
	// daemon, and nobody for us.
	CertDir string

	// Insecure leaves the daemon's certificate unchecked; ca.pem is not
	// needed then.
	Insecure bool

	// TLS, if set, has the least version, the cipher suites and the curves.
	TLS *tls.Config

	// Env looks up a variable of the environment, as os.Getenv does; nil
	// is none. With no Host, DOCKER_HOST is looked at. Its tcp:// is TLS if
	// there is a CertDir, a DOCKER_TLS_VERIFY or a DOCKER_CERT_PATH; the
	// certificates are in the first that there is of CertDir,
	// DOCKER_CERT_PATH and HOME/.docker.
	Env func(string) string

	// Idle is how long a daemon may be silent while it saves or loads an
	// image; 0 is ten minutes.
	Idle time.Duration

	// Labels are docker references that a written image is known by as
	// well. Those without a tag are left out.
	Labels []reference.Docker

	// Spool is a directory for blobs whose size is not known beforehand; ""
	// is the system's.
	Spool string
}

// A client asks one daemon.
type client struct {
	base *url.URL // with the API's version, once that is known
	addr string   // for messages
	http *http.Client
	idle time.Duration
}

// connect finds the daemon that the options mean, and the version of the API
// that it speaks: its own, so that neither an old nor a new one refuses us.
func connect(ctx context.Context, o Options) (*client, error) {
	e, err := o.endpoint()
	if err != nil {
		return nil, err
	}
	c := &client{base: e.base, addr: e.addr, http: &http.Client{
		Transport:     e.transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, idle: cmp.Or(o.Idle, defaultIdle)}
	ctx, cancel := context.WithTimeoutCause(ctx, answerLimit, silence(answerLimit))
	defer cancel()
	resp, err := c.do(ctx, http.MethodGet, "/_ping", nil)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	version := resp.Header.Get("API-Version")
	if version == "" {
		return c, nil // paths without one mean the daemon's own
	}
	if err := checkVersion(version); err != nil {
		return nil, fmt.Errorf("%s: %w", c.addr, err)
	}
	c.base = c.base.JoinPath("v" + version)
	return c, nil
}

// least is the second number of the oldest version of the API that has all
// that is needed here.
const least = 24

// checkVersion refuses what cannot be a version, or is one that is too old.
func checkVersion(s string) error {
	var major, minor uint16
	if n, err := fmt.Sscanf(s, "%d.%d", &major, &minor); n != 2 || err != nil || s != fmt.Sprintf("%d.%d", major, minor) {
		return fmt.Errorf("%w: it speaks version %.20q of the Docker API, which is none", image.ErrUnsupported, s)
	}
	if major < 1 || major == 1 && minor < least {
		return fmt.Errorf("%w: it speaks version %s of the Docker API; 1.%d is the least", image.ErrUnsupported, s, least)
	}
	return nil
}

// do sends a request and returns the answer, if it is a good one; the caller
// closes its body. Path has been escaped as the daemon wants it.
func (c *client) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	u := *c.base
	path, query, _ := strings.Cut(path, "?")
	u.Path, u.RawQuery = strings.TrimSuffix(u.Path, "/")+path, query
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-tar")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.failure(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxError))
	if err != nil {
		text = nil // the status says enough
	}
	return nil, &Error{Status: resp.StatusCode, Message: message(text)}
}

// id returns the ID of the image that a name stands for: the digest of its
// configuration or, in a daemon that keeps images in containerd, of its
// manifest or index. The error wraps image.ErrNotFound if it stands for none.
func (c *client) id(ctx context.Context, name string) (digest.Digest, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerLimit, silence(answerLimit))
	defer cancel()
	resp, err := c.do(ctx, http.MethodGet, "/images/"+name+"/json", nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := blob.ReadLimited(resp.Body, maxAnswer)
	if err != nil {
		if errors.Is(err, image.ErrTooLarge) {
			return "", err
		}
		return "", c.failure(ctx, err)
	}
	var told struct{ ID digest.Digest }
	if err := json.Unmarshal(b, &told); err != nil {
		return "", fmt.Errorf("what the daemon tells of image %s: %w: %v", name, oci.ErrInvalid, err)
	}
	if err := oci.CheckDigest(told.ID); err != nil {
		return "", fmt.Errorf("what the daemon tells of image %s: %w", name, err)
	}
	return told.ID, nil
}

// close frees the connections that nobody uses.
func (c *client) close() { c.http.CloseIdleConnections() }
