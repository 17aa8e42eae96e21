package blob

import (
	"fmt"
	"io"
	"os"
)

// Spool returns the stage for destinations that must know digest and size
// before the first byte. It is the only one that touches a disk, and only for
// a blob of which they are not known: it then reads all of it into a file in
// dir that has no name. The file is gone when the blob has been read to its
// end or freed, or with the process.
func Spool(dir string) Stage {
	return func(b *Blob) (*Blob, error) {
		if b.Known() {
			return b, nil
		}
		m, err := Measure(b)
		if err != nil {
			return nil, err
		}
		f, err := os.CreateTemp(dir, ".img-spool-*")
		if err != nil {
			return nil, fmt.Errorf("spool: %w", err)
		}
		if err = os.Remove(f.Name()); err == nil {
			_, err = Copy(f, m)
		}
		if err == nil {
			_, err = f.Seek(0, io.SeekStart)
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("spool: %w", err)
		}
		return &Blob{Desc: m.Desc, Reader: &spooled{f}, Placed: b.Placed, free: func() {
			f.Close() // again, if it was read to its end
			b.Free()
		}}, nil
	}
}

// spooled closes its file at the end.
type spooled struct{ f *os.File }

func (s *spooled) Read(p []byte) (int, error) {
	n, err := s.f.Read(p)
	if err != nil {
		s.f.Close()
	}
	return n, err
}
