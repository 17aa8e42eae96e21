package tool

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/transport"
)

func parse(t *testing.T, name string) transport.Name {
	t.Helper()
	n, err := transport.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{
		"1": 1, "500K": 500 << 10, "5M": 5 << 20, "5m": 5 << 20, "2G": 2 << 30, "1T": 1 << 40,
		"": 0, "0": 0, "-1": 0, "K": 0, "1.5M": 0, "5MB": 0, "9999999999G": 0, " 1": 0, "1_0": 0,
	} {
		n, err := parseSize(s)
		if n != want || (err == nil) != (want > 0) {
			t.Errorf("parseSize(%q) = %d, %v; want %d", s, n, err, want)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	f.Add("5M")
	f.Add("9223372036854775807")
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := parseSize(s); (err == nil) != (n > 0) {
			t.Errorf("parseSize(%q) = %d, %v", s, n, err)
		}
	})
}

// A limit is for the program: what one side takes, the other one has no more.
func TestLimits(t *testing.T) {
	c := NewCommonConfig()
	set(t, c.Flags(), map[string]string{"rate": "2.5", "bwlimit": "5M", "chunk-size": "10M", "stall-timeout": "7s"})
	src, err := (&AccessConfig{Side: image.SideSource}).Access(standard(), &c, nil)
	if err != nil {
		t.Fatal(err)
	}
	dst, err := (&AccessConfig{Side: image.SideDestination}).Access(standard(), &c, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, b := src.Registry.Network, dst.Registry.Network
	if a.Rate == nil || a.Rate != b.Rate || a.Bandwidth == nil || a.Bandwidth != b.Bandwidth {
		t.Errorf("the sides have limits of their own: %p %p, %p %p", a.Rate, b.Rate, a.Bandwidth, b.Bandwidth)
	}
	if a.Idle != 7*time.Second || dst.Registry.ChunkSize != 10<<20 {
		t.Errorf("Access = %v, %d", a.Idle, dst.Registry.ChunkSize)
	}
	for _, s := range []string{"0", "-1", "x", "NaN", "Inf"} {
		if err := (rateValue{new(float64)}).Set(s); err == nil {
			t.Errorf("--rate %s is taken", s)
		}
	}
	none := NewCommonConfig()
	out, err := (&AccessConfig{}).Access(standard(), &none, nil)
	if err != nil || out.Registry.Network.Rate != nil || out.Registry.Network.Bandwidth != nil {
		t.Errorf("limits without an option: %+v, %v", out.Registry.Network, err)
	}
}

// The files that flags name are read, and are wrong loudly.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	c := NewCommonConfig()
	set(t, c.Flags(), map[string]string{
		"registries-conf": write("registries.conf", "[[registry]]\nlocation = \"r.example\"\nblocked = true\n"),
		"tls-details":     write("tls.yaml", "minVersion: \"1.3\"\n"),
	})
	out, err := (&AccessConfig{}).Access(standard(), &c, nil)
	if err != nil || out.Registry.Network.TLS.MinVersion == 0 {
		t.Fatalf("Access = %+v, %v", out, err)
	}
	src, err := parse(t, "docker://r.example/a").Source(t.Context(), out)
	if err == nil {
		src.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "blocked") {
		t.Errorf("a blocked registry: %v", err)
	}
	c.Files.TLS = write("bad.yaml", "minVersion: \"1.9\"\n")
	if _, err := (&AccessConfig{}).Access(standard(), &c, nil); err == nil || !strings.Contains(err.Error(), "bad.yaml") {
		t.Errorf("wrong TLS details: %v", err)
	}
	// Exit code 3 is for an image that is not there.
	for _, missing := range []FilesConfig{{TLS: "/nowhere/tls.yaml"}, {Registries: "/nowhere/registries.conf"}} {
		c.Files = missing
		out, err := (&AccessConfig{}).Access(standard(), &c, nil)
		if err == nil {
			_, err = parse(t, "docker://r.example/a").Source(t.Context(), out)
		}
		if code, _ := Explain(err); err == nil || code != cli.CodeFailed {
			t.Errorf("%+v: %v, exit code %d; want %d", missing, err, code, cli.CodeFailed)
		}
	}
}

// A secret may come from a descriptor: then it is in no list of processes.
func TestCredentialFromDescriptor(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w.WriteString("me:secret\n")
	w.Close()
	a, c := AccessConfig{Prefix: "src-"}, NewCommonConfig()
	set(t, a.Flags(), map[string]string{"src-creds-fd": strconv.Itoa(int(r.Fd()))})
	out, err := a.Access(standard(), &c, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // it is asked for again, and can be read once
		cred, err := out.Registry.Credential(t.Context(), "r.example/x")
		if err != nil || cred.Username != "me" || cred.Password != "secret" {
			t.Errorf("Credential = %v, %v", cred, err)
		}
	}
	for _, s := range []string{"-1", "x", ""} {
		if err := (descriptor{new(*int)}).Set(s); err == nil {
			t.Errorf("descriptor %q is taken", s)
		}
	}
	a = AccessConfig{}
	set(t, a.Flags(), map[string]string{"creds": "a:b", "creds-command": "cat"})
	if _, err := a.Access(standard(), &c, nil); !errors.Is(err, cli.ErrUsage) {
		t.Errorf("two credentials: %v", err)
	}
}
