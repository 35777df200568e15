//go:build linux && !(386 || arm || mips || mipsle)

package selectors

import "golang.org/x/sys/unix"

// sysFstat is the number of the system call that fstat(2) makes.
const sysFstat = unix.SYS_FSTAT
