package stream

// OpenBSD has no options of a socket for these; sysctl(2) sets them for the system.
const (
	keepAliveIdle     = 0
	keepAliveInterval = 0
	keepAliveCount    = 0
)
