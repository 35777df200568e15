//go:build unix && !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package stream

// lockDirectory does nothing on systems without flock(2). Two processes that
// replace the same stale socket at the same moment are then not kept apart.
func lockDirectory(string) (unlock func(), err error) { return func() {}, nil }
