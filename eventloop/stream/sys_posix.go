//go:build unix && !linux

package stream

import "golang.org/x/sys/unix"

// read reads once; at the end of file it is 0.
func read(fd int, p []byte) (int, error) { return retry(unix.Read, fd, p) }

// write writes once.
func write(fd int, p []byte) (int, error) { return retry(unix.Write, fd, p) }

func retry(call func(int, []byte) (int, error), fd int, p []byte) (int, error) {
	for {
		n, err := call(fd, p)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR:
		default:
			return 0, outcome(err)
		}
	}
}

// writev writes pieces in order, as far as they are taken. Not every Unix of
// package unix has writev(2).
func writev(fd int, pieces [][]byte) (sent int, err error) {
	for _, p := range pieces {
		if len(p) == 0 {
			continue
		}
		n, err := write(fd, p)
		sent += n
		if err != nil && sent == 0 {
			return 0, err
		}
		if n < len(p) { // an error comes back with the next call
			break
		}
	}
	return sent, nil
}
