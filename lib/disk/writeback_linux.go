package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriteback asks for n bytes of f from offset to be written to the disk,
// and does not wait for it. It is a hint: what goes wrong, fsync will tell.
func startWriteback(f *os.File, offset, n int64) {
	unix.SyncFileRange(int(f.Fd()), offset, n, unix.SYNC_FILE_RANGE_WRITE)
}
