package conf

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestParseTLS(t *testing.T) {
	tests := []struct {
		name, file string
		want       TLS
		line       int // 0: no error
		problem    string
	}{
		{"nothing", "", TLS{}, 0, ""},
		{"comments", "# minVersion: 1.3\n---\n", TLS{}, 0, ""},
		{"empty mapping", "{}", TLS{}, 0, ""},
		{"all", "minVersion: \"1.2\"\ncipherSuites:\n- TLS_AES_128_GCM_SHA256\n- TLS_RSA_WITH_RC4_128_SHA # not secure\nnamedGroups: [x25519, secp256r1]\n",
			TLS{tls.VersionTLS12, []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_RC4_128_SHA}, []tls.CurveID{tls.X25519, tls.CurveP256}}, 0, ""},
		{"all groups", "namedGroups: [secp256r1, secp384r1, secp521r1, x25519, X25519MLKEM768]",
			TLS{NamedGroups: []tls.CurveID{tls.CurveP256, tls.CurveP384, tls.CurveP521, tls.X25519, tls.X25519MLKEM768}}, 0, ""},
		{"1.0", "minVersion: '1.0'", TLS{MinVersion: tls.VersionTLS10}, 0, ""},
		{"1.1", "minVersion: '1.1'", TLS{MinVersion: tls.VersionTLS11}, 0, ""},
		{"1.3 as a number", "minVersion: 1.3", TLS{MinVersion: tls.VersionTLS13}, 0, ""},
		{"nulls", "minVersion:\ncipherSuites:\nnamedGroups: ~\n", TLS{}, 0, ""},
		{"empty lists", "cipherSuites: []\nnamedGroups: []\n", TLS{CipherSuites: []uint16{}, NamedGroups: []tls.CurveID{}}, 0, ""},
		{"alias", "cipherSuites: &a [TLS_AES_128_GCM_SHA256]\nnamedGroups: []\n", TLS{CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256}, NamedGroups: []tls.CurveID{}}, 0, ""},
		{"JSON", `{"minVersion": "1.3"}`, TLS{MinVersion: tls.VersionTLS13}, 0, ""},

		{"version", "# x\nminVersion: TLSv1.2\n", TLS{}, 2, `unrecognized TLS minimum version "TLSv1.2"`},
		{"SSL", "minVersion: '0.9'", TLS{}, 1, `unrecognized TLS minimum version "0.9"`},
		{"suite", "cipherSuites:\n- TLS_AES_128_GCM_SHA256\n- RC4\n", TLS{}, 3, `unrecognized TLS cipher suite "RC4"`},
		{"suite, null", "cipherSuites:\n- ~\n", TLS{}, 2, `unrecognized TLS cipher suite ""`},
		{"group", "namedGroups: [x25519,\n  X25519]", TLS{}, 2, `unrecognized TLS named group "X25519"`},
		{"unknown key", "minVersion: '1.3'\nminversion: '1.0'\n", TLS{}, 2, `unknown key "minversion"`},
		{"key twice", "minVersion: '1.3'\n\nminVersion: '1.0'\n", TLS{}, 3, `key "minVersion" is there twice`},
		{"merge", "a: &a {minVersion: '1.0'}\n<<: *a\n", TLS{}, 2, "merge keys are not supported"},
		{"type of version", "minVersion: [1.2]", TLS{}, 1, "minVersion must be a string"},
		{"type of list", "\ncipherSuites: RC4", TLS{}, 2, "cipherSuites must be a list"},
		{"type of element", "cipherSuites:\n- {a: b}\n", TLS{}, 2, "cipherSuites element must be a string"},
		{"type of key", "? [a]\n: b\n", TLS{}, 1, "a key must be a string"},
		{"list", "- a\n", TLS{}, 1, "a configuration file must be a mapping"},
		{"text", "\n\nTLS\n", TLS{}, 3, "a configuration file must be a mapping"},
		{"syntax", "minVersion: '1.3'\ncipherSuites: [\n", TLS{}, 2, "did not find expected node content"},
		{"syntax on line 1", "a: b: c", TLS{}, 1, "mapping values are not allowed in this context"},
		{"anchor", "minVersion: '1.3'\nnamedGroups: *groups\n", TLS{}, 2, "unknown anchor 'groups' referenced"},
		{"two documents", "minVersion: '1.3'\n---\nminVersion: '1.0'\n", TLS{}, 3, "a second document"},
		{"empty documents", "---\n---\nminVersion: '1.3'\n---\n", TLS{MinVersion: tls.VersionTLS13}, 0, ""},
		{"not UTF-8", "minVersion: '1.3'\n\xfe", TLS{}, 2, "not UTF-8"},
		{"control", "# \x07", TLS{}, 1, "control character U+0007"},
		{"nesting", strings.Repeat("[", 1<<19), TLS{}, 1, "exceeded max depth of 10000"},
	}
	for _, tt := range tests {
		got, err := parseTLS("/t.yaml", []byte(tt.file))
		checkError(t, tt.name, err, tt.line, tt.problem)
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v; want %+v", tt.name, got, tt.want)
		}
	}
}

func TestLoadTLS(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tls.yaml")
	_, err := LoadTLS(path)
	if want := "reading TLS details: open " + path + ": no such file or directory"; !errors.Is(err, fs.ErrNotExist) || err.Error() != want {
		t.Errorf("LoadTLS of no file = %v; want %s", err, want)
	}
	if err := os.WriteFile(path, []byte("minVersion: '1.3'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadTLS(path); err != nil || got.MinVersion != tls.VersionTLS13 {
		t.Errorf("LoadTLS = %+v, %v; want TLS 1.3", got, err)
	}
}
