package conf

import (
	"crypto/tls"
	"fmt"
)

// TLS is what a file of TLS details says. The fields are those of tls.Config;
// the zero value leaves all to its defaults.
type TLS struct {
	MinVersion   uint16 // tls.VersionTLS10 to tls.VersionTLS13, or 0
	CipherSuites []uint16
	NamedGroups  []tls.CurveID // tls.Config.CurvePreferences
}

// LoadTLS reads the file of TLS details, YAML with the keys minVersion ("1.0"
// to "1.3"), cipherSuites (names of IANA, also of suites that are not secure)
// and namedGroups, as in containers-tls-details.yaml(5). Another key is an error,
// lest a wish for more security be spelled wrong. A list that is there and
// empty is not nil. Errors are an *Error or one of the file system.
func LoadTLS(path string) (TLS, error) {
	data, err := readFile(path)
	if err != nil {
		return TLS{}, fmt.Errorf("reading TLS details: %w", err)
	}
	return parseTLS(path, data)
}

func parseTLS(path string, data []byte) (t TLS, err error) {
	f := yamlFile(path)
	members, err := f.parse(data)
	if err != nil {
		return TLS{}, err
	}
	for _, m := range members {
		switch m.key {
		case "minVersion":
			t.MinVersion, err = minVersion(f, m)
		case "cipherSuites":
			t.CipherSuites, err = choose(f, m, "cipher suite", cipherSuite)
		case "namedGroups":
			t.NamedGroups, err = choose(f, m, "named group", namedGroup)
		default:
			err = f.wrong(m.line, "unknown key %q", cut(m.key))
		}
		if err != nil {
			return TLS{}, err
		}
	}
	return t, nil
}

func minVersion(f yamlFile, m member) (uint16, error) {
	s, err := f.text(m)
	if err != nil {
		return 0, err
	}
	switch s {
	case "":
		return 0, nil
	case "1.0":
		return tls.VersionTLS10, nil
	case "1.1":
		return tls.VersionTLS11, nil
	case "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return 0, f.wrong(m.line, "unrecognized TLS minimum version %q", cut(s))
}

// choose looks up each name of a list.
func choose[T uint16 | tls.CurveID](f yamlFile, m member, what string, number func(string) (T, bool)) ([]T, error) {
	names, lines, err := f.texts(m)
	if names == nil {
		return nil, err
	}
	list := make([]T, 0, len(names))
	for i, name := range names {
		n, ok := number(name)
		if !ok {
			return nil, f.wrong(lines[i], "unrecognized TLS %s %q", what, cut(name))
		}
		list = append(list, n)
	}
	return list, nil
}

func cipherSuite(name string) (uint16, bool) {
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if s.Name == name {
			return s.ID, true
		}
	}
	return 0, false
}

func namedGroup(name string) (tls.CurveID, bool) {
	switch name {
	case "secp256r1":
		return tls.CurveP256, true
	case "secp384r1":
		return tls.CurveP384, true
	case "secp521r1":
		return tls.CurveP521, true
	case "x25519":
		return tls.X25519, true
	case "X25519MLKEM768":
		return tls.X25519MLKEM768, true
	}
	return 0, false
}
