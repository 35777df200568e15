//go:build unix && !(darwin || dragonfly || freebsd || netbsd || openbsd)

package sys

import "golang.org/x/sys/unix"

const getTermios = unix.TCGETS
