package stream

import (
	"fmt"
	"runtime/debug"
)

// This file has all calls of handler methods. A method that panics, or that ends
// the goroutine with runtime.Goexit, ends its connection before the panic goes on
// to the loop.

// A HandlerPanic is the error of ConnectionLost if a method of the handler has
// panicked.
type HandlerPanic struct {
	Value  any    // the value of the panic; nil after runtime.Goexit
	Method string // the method of the handler
	Stack  []byte // the stack at the panic
}

func (p *HandlerPanic) Error() string {
	if p.Value == nil {
		return fmt.Sprintf("stream: %s ended the goroutine", p.Method)
	}
	return fmt.Sprintf("stream: panic in %s: %v", p.Method, p.Value)
}

// Unwrap returns the value of the panic if it is an error, and nil otherwise.
func (p *HandlerPanic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// panicked handles that a method of the handler did not return. v is the result of
// recover.
func (c *Conn) panicked(method string, v any) {
	c.abort(&HandlerPanic{Value: v, Method: method, Stack: debug.Stack()})
	c.loop.SetSubject(c)
	if v != nil {
		panic(v)
	}
}

func (c *Conn) connectionMade() {
	returned := false
	defer func() {
		if !returned {
			c.panicked("ConnectionMade", recover())
		}
	}()
	c.handler.ConnectionMade(c)
	returned = true
}

func (c *Conn) dataReceived(p []byte) {
	returned := false
	defer func() {
		if !returned {
			c.panicked("DataReceived", recover())
		}
	}()
	if c.deadlines != nil {
		c.deadlines.noteRead(c)
	}
	c.handler.DataReceived(c, p)
	returned = true
}

func (c *Conn) eofReceived() (keepOpen bool) {
	returned := false
	defer func() {
		if !returned {
			c.panicked("EOFReceived", recover())
		}
	}()
	keepOpen = c.handler.EOFReceived(c)
	returned = true
	return keepOpen
}

func (c *Conn) hangupReceived() {
	h, ok := c.handler.(HangupHandler)
	if !ok {
		return
	}
	returned := false
	defer func() {
		if !returned {
			c.panicked("HangupReceived", recover())
		}
	}()
	h.HangupReceived(c)
	returned = true
}

func (c *Conn) errorQueueReceived(p, control []byte) {
	h, ok := c.handler.(ConnErrorQueueHandler)
	if !ok {
		return
	}
	returned := false
	defer func() {
		if !returned {
			c.panicked("ErrorQueueReceived", recover())
		}
	}()
	h.ErrorQueueReceived(c, p, control)
	returned = true
}

// shutdownRequested tells the handler that the server is going. Without a
// ShutdownHandler the connection is closed.
func (c *Conn) shutdownRequested() {
	h, ok := c.handler.(ShutdownHandler)
	if !ok || c.Closed() {
		c.Close()
		return
	}
	returned := false
	defer func() {
		if !returned {
			c.panicked("ShutdownRequested", recover())
		}
	}()
	h.ShutdownRequested(c)
	returned = true
}

// updateSlow calls PauseWriting if the queue has grown beyond the high water mark.
func (c *Conn) updateSlow() {
	if c.life != connected || c.slow || c.Unsent() <= c.opts.highWater || c.loop.Closed() {
		return
	}
	c.slow = true
	returned := false
	defer func() {
		if !returned {
			c.panicked("PauseWriting", recover())
		}
	}()
	c.handler.PauseWriting(c)
	returned = true
}

// resumeWriting calls ResumeWriting after PauseWriting.
func (c *Conn) resumeWriting() {
	if !c.slow {
		return
	}
	c.slow = false
	returned := false
	defer func() {
		if !returned {
			c.panicked("ResumeWriting", recover())
		}
	}()
	c.handler.ResumeWriting(c)
	returned = true
}

// connectionLost calls ConnectionLost and gives back the descriptor, also if the
// handler panics.
func (c *Conn) connectionLost() {
	c.life = lost
	defer func() {
		closeFD(int(c.fd))
		c.fd = -1
		c.set.remove(c)
	}()
	c.handler.ConnectionLost(c, c.err)
}
