//go:build linux && (386 || arm || mips || mipsle)

package selectors

import "golang.org/x/sys/unix"

// callFstat is the number of the system call behind fstat.
const callFstat = unix.SYS_FSTAT64
