package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// ReadFile reads a whole file of at most max bytes; of a larger one it reads no
// more than max+1 and returns an error. It is for settings, keys and the like,
// which somebody else has named: only a regular file is read, and symbolic
// links are followed to one, so that nothing can block, never end, or become
// the terminal of this process. The null device, which many scripts name to say
// "no file", is empty.
//
// Errors are those of the operating system or a *fs.PathError: with the path,
// and nothing of the content.
func ReadFile(path string, max int64) ([]byte, error) {
	// O_NONBLOCK: to open a FIFO that nobody writes to must not wait.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		if null, err := os.Stat(os.DevNull); err == nil && os.SameFile(info, null) {
			return nil, nil
		}
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	data, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > max {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("larger than %d bytes", max)}
	}
	return data, nil
}
