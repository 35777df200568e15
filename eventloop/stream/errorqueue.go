package stream

// A ConnErrorQueueHandler is a Handler that gets the messages of the socket's error
// queue: time stamps (SO_TIMESTAMPING), completions (SO_ZEROCOPY) and, with
// IP_RECVERR, messages of the network. Such a message makes the socket ready until
// it is taken, so without this interface the messages are taken and dropped. Only
// Linux has them.
type ConnErrorQueueHandler interface {
	Handler

	// ErrorQueueReceived gets a message as recvmsg(2) with MSG_ERRQUEUE returns it.
	// p and control are valid only until the method returns.
	ErrorQueueReceived(c *Conn, p, control []byte)
}

// maxErrorsPerTurn limits the messages of an error queue that one connection takes
// at once.
const maxErrorsPerTurn = 64

// takeErrorQueue takes the messages of the error queue, and reports whether there
// were any. It is called when a socket is ready and neither a read nor a write
// explains that.
func (c *Conn) takeErrorQueue() (found bool) {
	if !c.kind.canShutDown() { // not a socket
		return false
	}
	var p [2048]byte
	var control [512]byte
	for range maxErrorsPerTurn {
		if !c.alive() {
			break
		}
		n, nc, _, err := receiveError(int(c.fd), p[:], control[:])
		if err != nil {
			break
		}
		found = true
		c.errorQueueReceived(p[:n], control[:nc])
	}
	return found
}
