package eventloop_test

import "golang.org/x/sys/unix"

func dup2(oldFD, newFD int) error { return unix.Dup3(oldFD, newFD, unix.O_CLOEXEC) }
