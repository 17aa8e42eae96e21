package registry

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"testing"

	"github.com/imgtools/imgtools/lib/image"
)

func TestZones(t *testing.T) {
	tests := map[string]zone{
		"8.8.8.8": public, "2606:4700::1111": public, "100.63.255.255": public, "172.32.0.1": public,
		"127.0.0.1": loopback, "127.9.9.9": loopback, "::1": loopback, "0.0.0.0": loopback, "::": loopback, "0.1.2.3": loopback,
		"::ffff:127.0.0.1": loopback, "::127.0.0.1": loopback, "64:ff9b::7f00:1": loopback, "2002:7f00:1::": loopback,
		"10.1.2.3": private, "172.16.0.1": private, "192.168.0.1": private, "fd00::1": private, "fec0::1": private,
		"100.64.0.1": private, "100.100.100.200": private, "198.18.0.1": private, "64:ff9b::a00:1": private, "2002:c0a8:1::1": private,
		"169.254.169.254": linkLocal, "fe80::1%eth0": linkLocal, "192.0.0.192": linkLocal, "64:ff9b::a9fe:a9fe": linkLocal,
		"224.0.0.1": nowhere, "ff02::1": nowhere, "255.255.255.255": nowhere, "240.0.0.1": nowhere,
	}
	for s, want := range tests {
		if got := zoneOf(netip.MustParseAddr(s)); got != want {
			t.Errorf("zoneOf(%s) = %v; want %v", s, got, want)
		}
	}
}

// A server may send us inward only as far as it is itself.
func TestGuard(t *testing.T) {
	tests := []struct {
		home   []string // where the registry was met
		inward bool
		to     string
		ok     bool
	}{
		{[]string{"8.8.8.8"}, false, "1.1.1.1", true},
		{[]string{"8.8.8.8"}, false, "10.0.0.1", false},
		{[]string{"8.8.8.8"}, false, "127.0.0.1", false},
		{[]string{"8.8.8.8"}, false, "169.254.169.254", false},
		{[]string{"8.8.8.8"}, false, "0.0.0.0", false},
		{[]string{"8.8.8.8"}, true, "10.0.0.1", true},
		{[]string{"10.0.0.1"}, false, "192.168.1.1", true},
		{[]string{"10.0.0.1"}, false, "127.0.0.1", false},
		{[]string{"10.0.0.1"}, false, "169.254.169.254", false},
		{[]string{"127.0.0.1"}, false, "127.0.0.2", true},
		{[]string{"127.0.0.1"}, false, "172.17.0.2", true},
		{[]string{"127.0.0.1"}, false, "169.254.169.254", false},
		{[]string{"169.254.0.5"}, false, "169.254.0.6", true},
		{[]string{"8.8.8.8", "127.0.0.1"}, false, "127.0.0.1", false}, // an answer of a name server that changed
		{[]string{"127.0.0.1", "8.8.8.8", "127.0.0.1"}, false, "127.0.0.1", false},
		{nil, false, "10.0.0.1", false},
	}
	for _, tt := range tests {
		g := guard{inward: tt.inward}
		for _, ip := range tt.home {
			g.arrived(net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 443)))
		}
		err := g.check(netip.MustParseAddr(tt.to))
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, image.ErrRejected) {
			t.Errorf("home %v: check(%s) = %v; want ok %v", tt.home, tt.to, err, tt.ok)
		}
	}
	for _, s := range []string{"http://localhost/", "http://x.localhost./", "http://LOCALHOST:80/", "http://127.0.0.1/", "http://[::1]/", "http://127.0.0.1./"} {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := new(guard).checkName(u); err == nil {
			t.Errorf("checkName(%s) = nil; want an error", s)
		}
	}
}
