package archive

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/imgtools/imgtools/lib/disk"
	"github.com/imgtools/imgtools/lib/image"
)

// Create opens the file path for one image. What is there stays as it is until
// Commit has written the whole new archive beside it. Only an archive of images
// or an empty file is replaced or extended, never anything else.
//
// A pipe or a device, /dev/stdout and the like, is written to as a stream: the
// destination then is a Writer that closes it. The bytes are the same.
//
// Errors wrap image.ErrUnsupported if the file cannot be written to in the way
// that the options ask for, and those of the operating system.
func Create(path string, o Options) (image.Destination, error) {
	if fd, ok := descriptorOf(path); ok {
		dup, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		f := os.NewFile(uintptr(dup), path)
		return stream{NewWriter(f, o), f}, nil
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s: %w: it is a directory", path, image.ErrUnsupported)
	case info.Mode().Type() == fs.ModeNamedPipe:
		f := &fifo{path: path, flag: os.O_WRONLY}
		return stream{NewWriter(f, o), f}, nil
	case !info.Mode().IsRegular():
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		return stream{NewWriter(f, o), f}, nil
	}
	return newTarget(path, o, nil)
}

// descriptorOf returns the file descriptor that a name of /dev means.
func descriptorOf(path string) (uintptr, bool) {
	path = filepath.Clean(path)
	switch path {
	case "/dev/stdout":
		return 1, true
	case "/dev/stderr":
		return 2, true
	}
	for _, dir := range []string{"/dev/fd/", "/proc/self/fd/"} {
		if number, ok := strings.CutPrefix(path, dir); ok {
			n, err := strconv.ParseUint(number, 10, 31)
			return uintptr(n), err == nil
		}
	}
	return 0, false
}

// A stream is a Writer to a file of ours.
type stream struct {
	*Writer
	f io.Closer
}

func (s stream) Close() error {
	return errors.Join(s.Writer.Close(), s.f.Close())
}

// newTarget opens a file that is regular or not there.
func newTarget(path string, o Options, s disk.Step) (*target, error) {
	path, err := resolve(path)
	if err != nil {
		return nil, err
	}
	t := &target{path: path, step: s, o: o}
	if t.was, t.old, err = survey(path, o.Existing); err != nil {
		return nil, err
	}
	return t, nil
}

// resolve returns path without the symbolic links of those that are there, so
// that the file behind them is what is replaced. A link to nothing is refused:
// it would name a place that nobody looked at.
func resolve(path string) (string, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		return filepath.Join(dir, filepath.Base(path)), err
	}
	return filepath.EvalSymlinks(path)
}

// survey looks at what is there, and whether it may be changed: what is to be
// extended is returned opened.
func survey(path string, e Existing) (state, *old, error) {
	was, err := stateOf(path)
	if err != nil || was.info == nil || was.info.Mode().IsRegular() && was.info.Size() == 0 {
		return was, nil, err
	}
	if !was.info.Mode().IsRegular() {
		return was, nil, fmt.Errorf("%s: %w: it is not a regular file", path, image.ErrUnsupported)
	}
	switch e {
	case Refuse:
		return was, nil, &said{"docker-archive doesn't support modifying existing images", image.ErrUnsupported}
	case Replace:
		if err := holdsImages(path); err != nil {
			return was, nil, fmt.Errorf("%s: %w: it is there, and not an archive of images: %w", path, image.ErrUnsupported, err)
		}
		return was, nil, nil
	}
	o, err := openOld(path)
	if err != nil {
		return was, nil, fmt.Errorf("%s: %w: it is there, and cannot be extended: %w", path, image.ErrUnsupported, err)
	}
	return was, o, nil
}

// A state is what a name stood for at some moment.
type state struct{ info fs.FileInfo } // nil for nothing

func stateOf(path string) (state, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil
	}
	return state{info}, err
}

// same reports whether the name stands for what it stood for then.
func (s state) same(now state) bool {
	if s.info == nil || now.info == nil {
		return s.info == nil && now.info == nil
	}
	return os.SameFile(s.info, now.info) && s.info.Size() == now.info.Size() && s.info.ModTime().Equal(now.info.ModTime())
}

// holdsImages returns an error if the file is not an archive of images, of
// whatever form.
func holdsImages(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	in := newInflow(f)
	defer in.close()
	w := walk(in)
	for {
		h, err := w.next()
		if err == io.EOF {
			return fmt.Errorf("%w: a tar without images", image.ErrNotFound)
		}
		if err != nil {
			return err
		}
		switch memberName(h.Name) {
		case layoutName, indexName, dockerName:
			return nil
		}
	}
}
