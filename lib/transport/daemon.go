package transport

import (
	"context"
	"crypto/tls"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport/daemon"
	"github.com/imgtools/imgtools/lib/transport/registry"
)

// daemonName is docker-daemon:NAME:TAG, NAME@DIGEST or sha256:ID.
type daemonName struct{ n daemon.Name }

func parseDaemon(detail string) (Name, error) {
	n, err := daemon.ParseName(detail)
	return daemonName{n}, err
}

func (n daemonName) String() string           { return "docker-daemon:" + n.n.String() }
func (n daemonName) Docker() reference.Docker { return n.n.Ref }
func (daemonName) labels()                    {} // see Also

// Pinned is the name itself: a daemon may keep an image without its manifest,
// and knows no digest of it then.
func (n daemonName) Pinned(digest.Digest) string { return n.String() }

func (n daemonName) Source(ctx context.Context, a *Access) (image.Source, error) {
	return daemon.Open(ctx, n.n, a.daemon())
}

func (n daemonName) Destination(ctx context.Context, a *Access) (image.Destination, error) {
	return daemon.Create(ctx, n.n, a.daemon())
}

func (a *Access) daemon() daemon.Options {
	t := a.Registry.Network.TLS
	return daemon.Options{
		Host: a.DaemonHost, Env: a.Env, Labels: a.Labels,
		CertDir: a.Registry.CertDir, Insecure: a.Registry.TLSVerify == registry.Never,
		TLS: &tls.Config{MinVersion: t.MinVersion, CipherSuites: t.CipherSuites, CurvePreferences: t.Curves},
	}
}
