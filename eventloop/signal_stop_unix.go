//go:build unix

package eventloop

import "syscall"

func unstoppable(s syscall.Signal) bool { return s == syscall.SIGSTOP }
