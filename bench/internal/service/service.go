// Package service runs what the tools talk to: registries, the wide-area line,
// the recording proxy, the token server. Registries are child processes, the
// rest are goroutines of the caller; everything is started when a profile
// first needs it, on free loopback ports, and ends with the program.
package service

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/imgtools/imgtools/bench/internal/token"
	"github.com/imgtools/imgtools/bench/internal/trace"
	"github.com/imgtools/imgtools/bench/internal/wan"
)

// The line of the wan profiles.
const (
	RTT      = 20 * time.Millisecond
	Rate     = 50 << 20 // bytes a second, each direction
	ConnRate = 12 << 20 // of any one connection, wanpc only
)

// Profiles says what each profile is.
var Profiles = []struct{ Name, About string }{
	{"lo", "plain HTTP on loopback"},
	{"lo28", "as lo, the destination is Debian's docker-registry 2.8"},
	{"tls", "HTTPS on loopback"},
	{"wan", "HTTPS, 20 ms round trip, 50 MiB/s each way for all connections together"},
	{"wanpc", "as wan, and 12 MiB/s for any one connection"},
	{"auth", "HTTPS on loopback with a token server"},
	{"wanauth", "as wan, with a token server behind the same line"},
	{"trace", "HTTPS through a proxy that records each request"},
	{"traceauth", "as trace, with a token server"},
}

// Net is what a profile gives to a job. A is the source's registry, B the
// other one.
type Net struct {
	A, B           string // HOST:PORT for the tools
	TLS            bool
	PlainA, PlainB string // the same registries by http, to seed and check
	StoreA, StoreB string // their folders
	Line           *wan.Line
	Trace          *trace.Log
}

// Config says where things are.
type Config struct {
	Run        string // settings, logs, certificates
	Store      string // the registries' content
	Registry   string // distribution v3
	Registry28 string // Debian's docker-registry; needed by lo28 only
}

// Lab is the running services.
type Lab struct {
	Config
	cert      tls.Certificate
	processes map[string]*process
	nets      map[string]Net
	lines     map[string]*wan.Line
	log       *trace.Log
	token     *http.Server
	tokenAddr string
}

// New makes the certificates; nothing runs yet. The caller must hold its
// thread (runtime.LockOSThread) for as long as the registries shall live.
func New(c Config) (*Lab, error) {
	l := &Lab{Config: c, processes: map[string]*process{}, nets: map[string]Net{}, lines: map[string]*wan.Line{}}
	if err := os.MkdirAll(c.Run, 0o755); err != nil {
		return nil, err
	}
	if err := token.MakePKI(c.Run); err != nil {
		return nil, err
	}
	var err error
	l.cert, err = tls.LoadX509KeyPair(filepath.Join(c.Run, "cert.pem"), filepath.Join(c.Run, "key.pem"))
	if err != nil {
		return nil, err
	}
	l.tokenAddr, l.token, err = token.Serve(l.cert)
	l.log = trace.New(l.cert)
	return l, err
}

// CA is the file of the certificate that signed all others.
func (l *Lab) CA() string { return filepath.Join(l.Run, "ca.pem") }

// Close stops everything.
func (l *Lab) Close() {
	for _, p := range l.processes {
		p.stop()
	}
	for _, w := range l.lines {
		w.Close()
	}
	l.log.Close()
	l.token.Close()
}

// CPU is the processor time that all services have used so far.
func (l *Lab) CPU() time.Duration {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return 0
	}
	sum := time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	for _, p := range l.processes {
		sum += p.cpu()
	}
	return sum
}

// Profile starts what the profile needs and returns it.
func (l *Lab) Profile(name string) (Net, error) {
	if n, ok := l.nets[name]; ok {
		return n, nil
	}
	b := "b"
	if name == "lo28" {
		b = "c"
	}
	n := Net{TLS: true, StoreA: l.store("a"), StoreB: l.store(b)}
	var err error
	if n.PlainA, err = l.registry("a", false, ""); err != nil {
		return n, err
	}
	if n.PlainB, err = l.registry(b, false, ""); err != nil {
		return n, err
	}
	if err := l.connect(name, &n); err != nil {
		return n, err
	}
	l.nets[name] = n
	return n, nil
}

// connect sets the addresses that tools use.
func (l *Lab) connect(name string, n *Net) error {
	switch name {
	case "lo", "lo28":
		n.A, n.B, n.TLS = n.PlainA, n.PlainB, false
		return nil
	case "tls":
		return l.direct(n, "")
	case "auth":
		return l.direct(n, realm(l.tokenAddr))
	case "wan", "wanpc", "wanauth":
		return l.wide(name, n)
	case "trace", "traceauth":
		return l.traced(name, n)
	}
	return fmt.Errorf("unknown profile %q", name)
}

// realm is the URL of a token server. It has a name, as real ones have: crane
// refuses a realm whose host is a loopback address.
func realm(addr string) string {
	_, port, _ := strings.Cut(addr, ":")
	return "https://localhost:" + port + "/token"
}

func (l *Lab) direct(n *Net, realm string) (err error) {
	if n.A, err = l.registry("a", true, realm); err != nil {
		return err
	}
	n.B, err = l.registry("b", true, realm)
	return err
}

// wide puts both registries, and the token server, behind one line.
func (l *Lab) wide(name string, n *Net) error {
	rate := 0.0
	if name == "wanpc" {
		rate = ConnRate
	}
	n.Line = wan.New(RTT, Rate, rate)
	l.lines[name] = n.Line
	tokens := ""
	if name == "wanauth" {
		addr, err := n.Line.Listen(l.tokenAddr)
		if err != nil {
			return err
		}
		tokens = realm(addr)
	}
	if err := l.direct(n, tokens); err != nil {
		return err
	}
	var err error
	if n.A, err = n.Line.Listen(n.A); err != nil {
		return err
	}
	n.B, err = n.Line.Listen(n.B)
	return err
}

// traced puts both registries, and the token server, behind the proxy.
func (l *Lab) traced(name string, n *Net) error {
	a, b := "http://"+n.PlainA, "http://"+n.PlainB
	if name == "traceauth" {
		addr, err := l.log.Listen("token", "https://"+l.tokenAddr)
		if err != nil {
			return err
		}
		if err := l.direct(n, realm(addr)); err != nil {
			return err
		}
		a, b = "https://"+n.A, "https://"+n.B
	}
	n.Trace = l.log
	var err error
	if n.A, err = l.log.Listen("a", a); err != nil {
		return err
	}
	n.B, err = l.log.Listen("b", b)
	return err
}

func (l *Lab) store(name string) string { return filepath.Join(l.Store, name) }

// registry returns the address of a registry over the store, started if need be.
func (l *Lab) registry(store string, tls bool, realm string) (string, error) {
	key := fmt.Sprint(store, tls, realm)
	if p := l.processes[key]; p != nil {
		return p.addr, nil
	}
	s := settings{name: fmt.Sprintf("%s%d", store, len(l.processes)), binary: l.Registry, store: l.store(store), tls: tls, realm: realm}
	if store == "c" {
		s.binary = l.Registry28
	}
	if err := os.MkdirAll(s.store, 0o755); err != nil {
		return "", err
	}
	p, err := s.start(l.Run, l.Run)
	if err != nil {
		return "", err
	}
	l.processes[key] = p
	return p.addr, nil
}
