//go:build !unix && !plan9

package eventloop

import "syscall"

func unstoppable(syscall.Signal) bool { return false }
