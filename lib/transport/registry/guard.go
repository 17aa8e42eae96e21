package registry

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"

	"github.com/imgtools/imgtools/lib/image"
)

// A zone is a kind of network address, by who can be met there.
type zone int

const (
	public zone = iota
	private
	linkLocal // where clouds keep the secrets of their machines
	loopback
	nowhere // multicast, broadcast, reserved
)

func (z zone) String() string {
	return [...]string{"public", "private", "link-local", "loopback", "reserved"}[z]
}

// special are the ranges, beyond those that netip knows, that are not public
// (IANA special-purpose address registries).
var special = []struct {
	prefix netip.Prefix
	zone   zone
}{
	{netip.MustParsePrefix("0.0.0.0/8"), loopback}, // this host
	{netip.MustParsePrefix("100.64.0.0/10"), private},
	{netip.MustParsePrefix("192.0.0.0/24"), linkLocal},
	{netip.MustParsePrefix("198.18.0.0/15"), private},
	{netip.MustParsePrefix("240.0.0.0/4"), nowhere},
	{netip.MustParsePrefix("::/96"), loopback}, // ::, ::1, and IPv4 in disguise
	{netip.MustParsePrefix("fec0::/10"), private},
	{netip.MustParsePrefix("64:ff9b:1::/48"), private},
}

// embedding are the IPv6 ranges that stand for IPv4 addresses, and the byte at
// which those begin.
var embedding = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12},
	{netip.MustParsePrefix("2002::/16"), 2},
}

func zoneOf(ip netip.Addr) zone {
	ip = ip.Unmap().WithZone("")
	for _, e := range embedding {
		if e.prefix.Contains(ip) {
			b := ip.As16()
			return zoneOf(netip.AddrFrom4([4]byte(b[e.at : e.at+4])))
		}
	}
	switch {
	case !ip.IsValid(), ip.IsMulticast():
		return nowhere
	case ip.IsLoopback(), ip.IsUnspecified():
		return loopback
	case ip.IsLinkLocalUnicast():
		return linkLocal
	case ip.IsPrivate():
		return private
	}
	for _, s := range special {
		if s.prefix.Contains(ip) {
			return s.zone
		}
	}
	return public
}

// A guard decides which addresses a server may send us to.
type guard struct {
	inward bool // anywhere

	mu   sync.Mutex
	home zone
	met  bool // whether home is known
}

// arrived notes the address at which the registry itself was reached. One
// that is now here and now there is trusted with nothing.
func (g *guard) arrived(a net.Addr) {
	z := public
	if ap, err := netip.ParseAddrPort(a.String()); err == nil {
		z = zoneOf(ap.Addr())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.met && g.home != z {
		z = public
	}
	g.home, g.met = z, true
}

// check returns an error if a server may not send us to ip: it is loopback,
// private, link-local or reserved, and the registry itself is not there.
func (g *guard) check(ip netip.Addr) error {
	z := zoneOf(ip)
	g.mu.Lock()
	home := g.home
	g.mu.Unlock()
	switch {
	case z == public, g.inward, z == home && z != nowhere:
		return nil
	case z == private && home == loopback:
		return nil
	}
	return refuse("%s is a %s address, which the registry may not send us to", ip, z)
}

// checkName is check for what can be said without asking a name server.
func (g *guard) checkName(u *url.URL) error {
	host := strings.TrimSuffix(u.Hostname(), ".")
	if ip, err := netip.ParseAddr(host); err == nil {
		return g.check(ip)
	}
	if isLoopbackName(host) || strings.HasSuffix(strings.ToLower(host), ".localhost") {
		return g.check(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	return nil
}

// A refusal says that a server wanted us to do what we do not do for servers.
// It is image.ErrRejected and not worth another try.
type refusal struct{ text string }

func refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

func (e *refusal) Error() string        { return "refused: " + e.text }
func (e *refusal) Is(target error) bool { return target == image.ErrRejected }
