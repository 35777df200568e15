package stream_test

import "golang.org/x/sys/unix"

// dup2 is dup2(2), which Linux does not have on every processor.
func dup2(from, to int) error { return unix.Dup3(from, to, unix.O_CLOEXEC) }
