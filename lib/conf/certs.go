package conf

import (
	"os"
	"strings"
)

// CertDir returns the directory with the certificates for a registry,
// "host[:port]" as in image names, or "" if there is none
// (containers-certs.d(5)). It is the first there is of
// ~/.config/containers/certs.d/HOST, /etc/containers/certs.d/HOST and
// /etc/docker/certs.d/HOST, even if it is empty: they are not merged. One that
// may not be read is passed over.
func (f Finder) CertDir(host string) string {
	if host == "" || host == "." || host == ".." || strings.ContainsAny(host, "/\x00") {
		return "" // No host; and not a way to another directory.
	}
	for _, dir := range []string{
		f.homeFile(".config/containers/certs.d", host),
		f.system("etc/containers/certs.d", host),
		f.system("etc/docker/certs.d", host),
	} {
		if isDir(dir) {
			return dir
		}
	}
	return ""
}

// isDir reports whether there is such a directory, and it may be read.
func isDir(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return false
	}
	d, err := os.Open(path)
	if err != nil {
		return false
	}
	d.Close()
	return true
}
