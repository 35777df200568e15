package stream

// A Handler is told what happens to a connection: asyncio's Protocol. All of
// it runs on the loop, and nothing else does meanwhile. Embed [BaseHandler] to
// write only the methods that matter.
//
// Each connection usually has a Handler of its own. One for all is fine, too:
// every method gets the Conn.
type Handler interface {
	// ConnectionMade comes first, and once.
	ConnectionMade(c *Conn)

	// DataReceived gets what the peer has sent, as it comes: the borders of
	// writes mean nothing. All connections are read into the same buffer, so p
	// is valid only until DataReceived returns; writing it to a Conn is fine.
	DataReceived(c *Conn, p []byte)

	// EOFReceived: the peer has sent all it wanted to. If it returns true, the
	// connection stays open for writing until Close or CloseWrite; if it
	// returns false, the connection is closed when all that was written has
	// been sent. A peer that then goes away altogether is noticed on epoll and
	// poll, on other backends by the next write.
	EOFReceived(c *Conn) (keepOpen bool)

	// ConnectionLost comes last, and once, never from inside a method of the
	// Conn. err is nil after Close, Abort and the end of the peer's data;
	// otherwise it is what went wrong, [ErrIdle] after SetIdleTimeout. What was
	// not sent yet is gone.
	//
	// A Conn of Dial that could not be connected gets this and no
	// ConnectionMade, with a *net.OpError, or with the error of the context;
	// so does one that was closed before ConnectionMade, with nil.
	ConnectionLost(c *Conn, err error)

	// PauseWriting: more than the high water mark waits to be sent, so the
	// peer, or the way to it, is slower than we are. Write does not refuse
	// more, so whoever goes on writing pays with memory. It is called by
	// Write itself.
	PauseWriting(c *Conn)

	// ResumeWriting: no more than the low water mark waits any longer.
	ResumeWriting(c *Conn)
}

// BaseHandler does nothing, and closes the connection when the peer has sent
// all. It is there to be embedded.
type BaseHandler struct{}

func (BaseHandler) ConnectionMade(*Conn)        {} // implements [Handler]
func (BaseHandler) DataReceived(*Conn, []byte)  {} // implements [Handler]
func (BaseHandler) EOFReceived(*Conn) bool      { return false }
func (BaseHandler) ConnectionLost(*Conn, error) {} // implements [Handler]
func (BaseHandler) PauseWriting(*Conn)          {} // implements [Handler]
func (BaseHandler) ResumeWriting(*Conn)         {} // implements [Handler]
