package stream

// A Handler receives the events of a connection, like asyncio's Protocol. The
// loop's goroutine calls all methods, one at a time. Embed [BaseHandler] to
// write only some of them. A Handler may also implement [HangupHandler],
// [ShutdownHandler] and [ConnErrorQueueHandler].
//
// A connection usually has a Handler of its own. One Handler may also serve
// many connections, because every method gets the Conn.
//
// If a method panics, its connection is aborted and ConnectionLost gets a
// [*HandlerPanic], if the loop still runs: see [eventloop.WithPanicHandler].
type Handler interface {
	// ConnectionMade is called first, and at most once.
	ConnectionMade(c *Conn)

	// DataReceived gets data from the peer, in order. One call can contain
	// part of a write of the peer, or several writes; len(p) is at most
	// 64 KiB. All connections share the buffer, so p is valid only until
	// DataReceived returns. Writing p to a Conn is safe.
	DataReceived(c *Conn, p []byte)

	// EOFReceived is called when the peer has closed its write side, at most
	// once. If it returns true, the connection stays open for writing until
	// Close or CloseWrite. If it returns false, the connection is closed after
	// all queued data has been sent. If the write side has ended already, the
	// connection is closed in any case. If the peer later goes away completely,
	// epoll and poll report it; with other selectors the next write fails.
	EOFReceived(c *Conn) (keepOpen bool)

	// ConnectionLost is called last, and exactly once, except after Detach. It
	// is called in the loop's next turn, and so never inside another method of
	// the Conn. If the loop is already closed, the method that ends the
	// connection calls it. err is nil after Close, Abort and EOF from the peer.
	// Otherwise it is the first cause: [ErrIdle] or another timeout, a
	// [*HandlerPanic], or an [*Error]. Unsent data is discarded. Data that the
	// peer has sent before an error was delivered before.
	//
	// If Dial fails to connect, ConnectionLost is called without
	// ConnectionMade. err then wraps a *net.OpError, or the context's error. If
	// the Conn was closed before ConnectionMade, err is nil.
	ConnectionLost(c *Conn, err error)

	// PauseWriting is called when more bytes are queued than the high water
	// mark, because the peer or the network is slower than the writer. Write
	// still accepts data, which then takes memory. Write, Writev or the loop
	// calls it, so it may be called inside Write.
	PauseWriting(c *Conn)

	// ResumeWriting is called after PauseWriting, when no more bytes are queued
	// than the low water mark. It is not called after Close. If a write fails, it
	// is called only if ConnectionLost has to wait for ResumeReading.
	ResumeWriting(c *Conn)
}

// A HangupHandler is a Handler that learns that the peer has gone while reading is
// paused.
type HangupHandler interface {
	Handler

	// HangupReceived is called at most once per PauseReading, when the peer has
	// closed both directions or reset the connection while reading is paused and
	// nothing is queued to send. Data from the peer may still wait in the kernel:
	// call ResumeReading to get it and then ConnectionLost, or Abort to drop it.
	// Epoll and poll report it. With other selectors the method is not called. A
	// peer that has only closed its write side has not gone.
	HangupReceived(c *Conn)
}

// A ShutdownHandler is a Handler that learns that its server is going.
type ShutdownHandler interface {
	Handler

	// ShutdownRequested is called at most once, by Shutdown of the listener or the
	// group. The handler should finish its answer and then close the connection.
	ShutdownRequested(c *Conn)
}

// BaseHandler implements Handler and does nothing. It closes the connection at
// EOF from the peer. It is meant to be embedded.
type BaseHandler struct{}

func (BaseHandler) ConnectionMade(*Conn)        {} // implements [Handler]
func (BaseHandler) DataReceived(*Conn, []byte)  {} // implements [Handler]
func (BaseHandler) EOFReceived(*Conn) bool      { return false }
func (BaseHandler) ConnectionLost(*Conn, error) {} // implements [Handler]
func (BaseHandler) PauseWriting(*Conn)          {} // implements [Handler]
func (BaseHandler) ResumeWriting(*Conn)         {} // implements [Handler]
