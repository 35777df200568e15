//go:build !illumos

package stream

// The options of Solaris 11.4. Package unix has the numbers of illumos, which are
// different.
const (
	keepAliveIdle     = 0x1d
	keepAliveInterval = 0x1e
	keepAliveCount    = 0x1f
)
