package service

import (
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	// The name may hold blanks and brackets: only the last bracket ends it.
	const line = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0"
	if got := parseStat(line); got != 3*time.Second {
		t.Errorf("parseStat = %v; want 3s", got)
	}
	if got := parseStat("42 (x) S 1"); got != 0 {
		t.Errorf("parseStat of a short line = %v; want 0", got)
	}
}

func TestConfig(t *testing.T) {
	plain := settings{store: "/s"}.config("127.0.0.1:1", "/pki")
	if strings.Contains(plain, "tls:") || strings.Contains(plain, "auth:") {
		t.Errorf("plain config has tls or auth:\n%s", plain)
	}
	full := settings{store: "/a, b", tls: true, realm: "https://h/token"}.config("127.0.0.1:1", "/pki")
	for _, want := range []string{`rootdirectory: "/a, b",`, "addr: 127.0.0.1:1\n", `certificate: "/pki/cert.pem"`, `realm: "https://h/token"`} {
		if !strings.Contains(full, want) {
			t.Errorf("config lacks %q:\n%s", want, full)
		}
	}
}
