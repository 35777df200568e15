//go:build aix || dragonfly || freebsd || illumos || linux || netbsd

package stream

import "golang.org/x/sys/unix"

const (
	keepAliveIdle     = unix.TCP_KEEPIDLE
	keepAliveInterval = unix.TCP_KEEPINTVL
	keepAliveCount    = unix.TCP_KEEPCNT
)
