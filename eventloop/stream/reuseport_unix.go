//go:build dragonfly || linux

package stream

import "golang.org/x/sys/unix"

const canReusePort = true

func reusePort(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }
