package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strings"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

const blockSize = 512 // of a tar

// padded is n rounded up to whole blocks.
func padded(n int64) int64 { return (n + blockSize - 1) &^ (blockSize - 1) }

// A walker goes from member to member of a tar, and sees that it is whole and
// within bounds.
type walker struct {
	*tar.Reader // reads the content of the current member
	tape        *tape
	end         int64 // of the current member, with what fills its last block
	n           int
}

// walk begins at the beginning of r. Content that is not read is skipped by
// seeking if r can.
func walk(r io.Reader) *walker {
	t := &tape{r: r}
	w := &walker{tape: t}
	if s, ok := r.(io.Seeker); ok {
		w.Reader = tar.NewReader(&seekingTape{t, s})
	} else {
		w.Reader = tar.NewReader(t)
	}
	return w
}

// next moves to the next member. It returns io.EOF behind the end mark, when
// all there is has been read; an error that wraps image.ErrIncomplete if the
// tar has no end mark, or something else stands in its place or behind it.
func (w *walker) next() (*tar.Header, error) {
	if w.n++; w.n > maxMembers {
		return nil, fmt.Errorf("%w: more than %d members", image.ErrTooLarge, maxMembers)
	}
	w.tape.limit = w.end + maxHeader
	h, err := w.Next()
	if err == io.EOF {
		return nil, w.finish()
	}
	if err != nil {
		return nil, w.damaged(err)
	}
	if err := w.measure(h); err != nil {
		return nil, err
	}
	return h, nil
}

// measure notes where the content of h ends.
func (w *walker) measure(h *tar.Header) error {
	if isSparse(h) {
		return fmt.Errorf("%w: %.200q is stored as a sparse file", image.ErrUnsupported, h.Name)
	}
	size := h.Size
	switch h.Typeflag {
	case tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo:
		size = 0
	}
	if size > math.MaxInt64-w.tape.pos-maxHeader-blockSize {
		return fmt.Errorf("%w: %.200q has %d bytes", image.ErrTooLarge, h.Name, size)
	}
	w.end = w.tape.pos + padded(size)
	w.tape.content, w.tape.limit = w.end, w.end
	return nil
}

func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}

func (w *walker) damaged(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: the archive is cut off in %d bytes", image.ErrIncomplete, w.tape.pos)
	case errors.Is(err, tar.ErrHeader) && w.n == 1:
		return fmt.Errorf("%w: not a tar", oci.ErrInvalid)
	case errors.Is(err, tar.ErrHeader):
		return fmt.Errorf("%w: no header of a tar at byte %d", image.ErrIncomplete, w.end)
	case errors.Is(err, tar.ErrFieldTooLong):
		return fmt.Errorf("%w: a header of the archive", image.ErrTooLarge)
	}
	return err
}

// finish makes sure that two zero blocks end the archive, and that zeros are
// all that follows.
func (w *walker) finish() error {
	t := w.tape
	if min(t.zeros, t.pos-w.end) < 2*blockSize {
		return fmt.Errorf("%w: the archive ends without its end mark", image.ErrIncomplete)
	}
	end := t.pos
	t.limit, t.content = end+maxTrailer, end
	buf := make([]byte, 32<<10)
	for {
		before := t.zeros
		n, err := t.Read(buf)
		if t.zeros != before+int64(n) {
			return fmt.Errorf("%w: something stands behind the end of the archive, at byte %d", image.ErrIncomplete, end)
		}
		if err != nil {
			return err
		}
	}
}

// A tape counts what is read of a tar.
type tape struct {
	r       io.Reader
	pos     int64 // bytes that are behind
	limit   int64 // where the next member must have begun
	content int64 // where the content of the current member ends
	zeros   int64 // how many zero bytes, outside of content, were read last
}

func (t *tape) Read(p []byte) (int, error) {
	if left := t.limit - t.pos; int64(len(p)) > left {
		if left <= 0 {
			return 0, fmt.Errorf("%w: too many bytes of the archive belong to no member", image.ErrTooLarge)
		}
		p = p[:left]
	}
	n, err := t.r.Read(p)
	if t.pos < t.content {
		t.zeros = 0
	} else {
		t.count(p[:n])
	}
	t.pos += int64(n)
	return n, err
}

func (t *tape) count(p []byte) {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] != 0 {
			t.zeros = int64(len(p) - 1 - i)
			return
		}
	}
	t.zeros += int64(len(p))
}

// A seekingTape lets the tar reader skip content.
type seekingTape struct {
	*tape
	s io.Seeker
}

func (t *seekingTape) Seek(offset int64, whence int) (int64, error) {
	n, err := t.s.Seek(offset, whence)
	if err == nil {
		t.pos = n
	}
	return n, err
}

// memberName is the name under which a member is looked up, "" for one that
// cannot be any that we look for.
func memberName(s string) string {
	for strings.HasPrefix(s, "./") {
		s = s[2:]
	}
	if s == "" || s == "." || s == ".." || s[0] == '/' || strings.HasPrefix(s, "../") || path.Clean(s) != s {
		return ""
	}
	return s
}

// linkTarget is the name of the member that a link stands for, "" for none.
func linkTarget(name string, h *tar.Header) string {
	switch {
	case h.Typeflag == tar.TypeLink:
		return memberName(h.Linkname)
	case h.Linkname == "" || path.IsAbs(h.Linkname):
		return ""
	}
	return memberName(path.Join(path.Dir(name), h.Linkname))
}

// names are the names of an archive's members, and what each of them holds.
// The last member of a name is the one that counts.
type names[T any] struct {
	files map[string]T
	links map[string]string
	bytes int // that are kept
}

// add notes a member; link is the member that it stands for, if it is a link.
func (m *names[T]) add(name, link string, content T) error {
	const each = 128 // about what a map needs
	if m.bytes += len(name) + len(link) + each; m.bytes > maxNames {
		return fmt.Errorf("%w: names of members of more than %d bytes", image.ErrTooLarge, maxNames)
	}
	if m.files == nil {
		m.files, m.links = map[string]T{}, map[string]string{}
	}
	if link != "" {
		delete(m.files, name)
		m.links[name] = link
		return nil
	}
	delete(m.links, name)
	m.files[name] = content
	return nil
}

// follow returns the name behind all links. A name that is not there is
// returned too.
func (m *names[T]) follow(name string) (string, error) {
	at := name
	for range maxLinks {
		to, ok := m.links[at]
		if !ok {
			return at, nil
		}
		at = to
	}
	return "", fmt.Errorf("%w: the links from %.200q do not end", oci.ErrInvalid, name)
}

// find returns what a name holds.
func (m *names[T]) find(name string) (T, bool, error) {
	at, err := m.follow(name)
	content, ok := m.files[at]
	return content, ok && err == nil, err
}
