//go:build !unix && !plan9

package eventloop

import "syscall"

func isStopSignal(syscall.Signal) bool { return false }
