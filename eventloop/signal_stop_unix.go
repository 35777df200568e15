//go:build unix

package eventloop

import "syscall"

func isStopSignal(s syscall.Signal) bool { return s == syscall.SIGSTOP }
