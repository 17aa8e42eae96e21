package reference

import "strings"

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isLower(c byte) bool { return c >= 'a' && c <= 'z' || isDigit(c) }
func isAlnum(c byte) bool { return isLower(c) || c >= 'A' && c <= 'Z' }
func isHost(c byte) bool  { return isAlnum(c) || c == '-' }
func isHex(c byte) bool   { return isDigit(c) || c >= 'a' && c <= 'f' }
func isXdigit(c byte) bool {
	return isHex(c) || c >= 'A' && c <= 'F'
}

// all reports whether every byte of s is of the class.
func all(s string, class func(byte) bool) bool {
	for i := range len(s) {
		if !class(s[i]) {
			return false
		}
	}
	return true
}

// each reports whether every part of s between separators is valid.
func each(s, sep string, valid func(string) bool) bool {
	for more := true; more; {
		var part string
		if part, s, more = strings.Cut(s, sep); !valid(part) {
			return false
		}
	}
	return true
}

// joined reports whether s is one or more runs of the class with one
// separator between any two. separator gives the length of the separator that
// s begins with, 0 for none.
func joined(s string, class func(byte) bool, separator func(string) int) bool {
	for {
		n := 0
		for n < len(s) && class(s[n]) {
			n++
		}
		if n == 0 || n == len(s) {
			return n > 0
		}
		s = s[n:]
		if n = separator(s); n == 0 {
			return false
		}
		s = s[n:]
	}
}

// validDomain: labels joined by dots, then perhaps a port. Address literals in
// brackets are not accepted.
func validDomain(s string) bool {
	host, port, ok := strings.Cut(s, ":")
	if ok && (port == "" || !all(port, isDigit)) {
		return false
	}
	return each(host, ".", validLabel)
}

func validLabel(s string) bool {
	return s != "" && s[0] != '-' && s[len(s)-1] != '-' && all(s, isHost)
}

// validPath: components joined by slashes.
func validPath(s string) bool { return each(s, "/", validComponent) }

func validComponent(s string) bool { return joined(s, isLower, pathSeparator) }

// pathSeparator: one dot, one or two underscores, any number of dashes.
func pathSeparator(s string) int {
	switch {
	case s[0] == '.':
		return 1
	case strings.HasPrefix(s, "__"):
		return 2
	case s[0] == '_':
		return 1
	}
	return len(s) - len(strings.TrimLeft(s, "-"))
}

// ValidTag reports whether s is a tag: 1 to 128 letters, digits, underscores,
// dots and dashes, the first neither a dot nor a dash (OCI distribution-spec,
// pulling manifests).
func ValidTag(s string) bool {
	if s == "" || len(s) > 128 || s[0] == '.' || s[0] == '-' {
		return false
	}
	return all(s, func(c byte) bool { return isAlnum(c) || c == '_' || c == '.' || c == '-' })
}

// ValidRefName reports whether s can be the annotation
// org.opencontainers.image.ref.name of a manifest in a layout: components
// joined by slashes, each of them letters and digits with single separators
// out of "-._:@+", or "--", between them (OCI image-spec, annotations).
func ValidRefName(s string) bool { return each(s, "/", validRefComponent) }

func validRefComponent(s string) bool { return joined(s, isAlnum, refSeparator) }

func refSeparator(s string) int {
	if strings.HasPrefix(s, "--") {
		return 2
	}
	if strings.IndexByte("-._:@+", s[0]) >= 0 {
		return 1
	}
	return 0
}

// validDigest reports whether s looks like a digest: an algorithm of letters
// and digits, each of its parts beginning with a letter, and at least 32
// hexadecimal digits. Whether the algorithm is known is for checkDigest.
func validDigest(s string) bool {
	algorithm, hex, ok := strings.Cut(s, ":")
	if !ok || len(hex) < 32 || !all(hex, isXdigit) {
		return false
	}
	for {
		i := strings.IndexAny(algorithm, "-_+.")
		if i < 0 {
			return validAlgorithmPart(algorithm)
		}
		if !validAlgorithmPart(algorithm[:i]) {
			return false
		}
		algorithm = algorithm[i+1:]
	}
}

func validAlgorithmPart(s string) bool { return s != "" && !isDigit(s[0]) && all(s, isAlnum) }

// isImageID reports whether s is 64 hexadecimal digits, which the daemon takes
// for an image ID.
func isImageID(s string) bool { return len(s) == 64 && all(s, isHex) }
