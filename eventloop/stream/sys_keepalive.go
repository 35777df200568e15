//go:build unix

package stream

import (
	"math"
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Defaults of package net.
const (
	defaultKeepAliveTime  = 15 * time.Second // for Idle and Interval
	defaultKeepAliveCount = 9
)

// setKeepAlive turns TCP keep-alive on if config says so. It ignores errors, as
// package net does: a connection without keep-alive is better than none.
func setKeepAlive(fd int, config net.KeepAliveConfig) {
	if !config.Enable {
		return
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	setKeepAliveOption(fd, keepAliveIdle, seconds(config.Idle))
	setKeepAliveOption(fd, keepAliveInterval, seconds(config.Interval))
	count := config.Count
	if count == 0 {
		count = defaultKeepAliveCount
	}
	setKeepAliveOption(fd, keepAliveCount, count)
}

// setAcceptedKeepAlive is setKeepAlive for an accepted socket, unless it has inherited
// the options of the listening socket. Linux, FreeBSD and DragonFly copy all of them
// (syncache_socket in sys/netinet/tcp_syncache.c). NetBSD does not copy the times
// (syn_cache_get), and macOS not the idle time (tcp_input).
func setAcceptedKeepAlive(fd int, config net.KeepAliveConfig) {
	switch runtime.GOOS {
	case "dragonfly", "freebsd", "linux":
	default:
		setKeepAlive(fd, config)
	}
}

// setKeepAliveOption sets an option that the system has, to a value that is not
// negative.
func setKeepAliveOption(fd, option, value int) {
	if option != 0 && value >= 0 {
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, option, value)
	}
}

// seconds rounds up: the kernel takes whole seconds, as a 32-bit number.
func seconds(d time.Duration) int {
	switch {
	case d == 0:
		d = defaultKeepAliveTime
	case d < 0:
		return -1
	}
	n := d / time.Second
	if d%time.Second > 0 {
		n++
	}
	return int(min(n, math.MaxInt32))
}
