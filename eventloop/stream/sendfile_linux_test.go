package stream_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// dropFromCache asks the kernel to drop the pages of a file, so that sending waits
// for the disk. It has no effect on tmpfs.
func dropFromCache(t testing.TB, f *os.File) {
	t.Helper()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
}
