package stream

import (
	"os"

	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// inPageCache reports whether the first and the last byte of a part of a file are
// in the kernel's page cache, so that reading does not wait for the disk. File
// systems without support for RWF_NOWAIT (Linux 4.14, preadv2(2)) report false.
func inPageCache(f *os.File, offset, length int64) bool {
	fd := int(f.Fd())
	for _, at := range [2]int64{offset, offset + length - 1} {
		var b [1]byte
		for {
			_, err := unix.Preadv2(fd, [][]byte{b[:]}, at, unix.RWF_NOWAIT)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return false
			}
			break
		}
	}
	return true
}

// sendFile sends a part of a file once. It returns 0 and no error if the file has
// ended.
func sendFile(fd int, f *os.File, offset, length int64) (int, error) {
	for {
		n, err := unix.Sendfile(fd, int(f.Fd()), &offset, int(length))
		if err == nil {
			return n, nil
		}
		if err != unix.EINTR {
			return 0, mapWouldBlock(err)
		}
	}
}

// isFileError reports whether an error of sendFile is about the file, or means that
// sendfile(2) does not support the two files.
func isFileError(err error) bool {
	switch err {
	case nil, selectors.ErrWouldBlock:
		return false
	case unix.EINVAL, unix.ENOSYS, unix.EIO, unix.EBADF, unix.EOPNOTSUPP, unix.EOVERFLOW, unix.ESPIPE, unix.EISDIR, unix.EACCES, unix.EPERM:
		return true
	}
	return false
}
