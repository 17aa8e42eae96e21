package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What a setting names may be anything. Each of those refused here would hang
// this process or eat its memory.
func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	check(t, os.WriteFile(in("empty"), nil, 0o600))
	check(t, os.WriteFile(in("exact"), []byte("12345678"), 0o600))
	check(t, os.WriteFile(in("large"), []byte("123456789"), 0o600))
	check(t, os.Symlink("exact", in("link")))
	check(t, os.Symlink("/dev/zero", in("endless")))
	check(t, syscall.Mkfifo(in("fifo"), 0o600))
	for _, tt := range []struct{ path, want, err string }{
		{in("empty"), "", ""},
		{in("exact"), "12345678", ""},
		{in("link"), "12345678", ""},
		{os.DevNull, "", ""},
		{in("large"), "", "read " + in("large") + ": larger than 8 bytes"},
		{in("fifo"), "", "read " + in("fifo") + ": not a regular file"},
		{in("endless"), "", "read " + in("endless") + ": not a regular file"},
		{dir, "", "read " + dir + ": not a regular file"},
		{in("none"), "", "open " + in("none") + ": no such file or directory"},
	} {
		b, err := ReadFile(tt.path, 8)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if string(b) != tt.want || text != tt.err {
			t.Errorf("ReadFile(%s) = %q, %v; want %q, %s", tt.path, b, err, tt.want, tt.err)
		}
		if err != nil && strings.Contains(text, "123") {
			t.Errorf("ReadFile(%s) = %v, which holds the content", tt.path, err)
		}
	}
	if _, err := ReadFile(in("none"), 8); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadFile of a file that is not there = %v; want %v", err, fs.ErrNotExist)
	}
}
