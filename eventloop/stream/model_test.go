//go:build linux

package stream_test

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"goselectors/eventloop/stream"
)

// A connModel is the contract of a connection, written from the documentation and
// not from the code. It has no sockets and no loop: it is told what both ends do and
// which handler methods are called, in order, and says what is wrong. Where the
// kernel's timing decides, it allows several calls and learns from the one that
// comes. settled says what must have been called when nothing is left to do.
type connModel struct {
	modelConfig
	life     modelLife
	readEnd  bool // reading has ended
	writing  modelWriting
	paused   bool
	slow     bool // PauseWriting was called, ResumeWriting not yet
	atMarks  int  // what was queued at SetWaterMarks: ResumeWriting waits for the next progress
	newMarks bool // SetWaterMarks was called since PauseWriting
	hungUp   bool // HangupReceived was called since PauseReading
	resumed  bool // from a pause, after the write side has failed: it may have ended before

	hold       bool // the model does not know how far the loop has come
	loopClosed bool
	calls      int           // of methods
	running    []modelMethod // methods that have not returned, outermost first
	operations []string      // operations of the application that have not returned
	cause      modelCause    // of the end, if it is known
	sentAll    bool          // the connection has ended after it had sent all data
	ownEnd     bool          // this side has chosen to end: unread data is dropped
	lostBy     error         // of ConnectionLost on a closed loop
	failure    error         // of the write side; nil while the state failing is not known to a caller

	unsent             int // as last seen
	accepted, rejected int // bytes given to writes
	peerRead           int
	peerSent, received int
	arrived            int  // of peerSent, bytes that this end's kernel is known to have had
	peerFinished       bool // the peer has ended its write side in good order
	peerGone           bool // the peer has closed
	peerReset          bool // the peer has closed without reading everything, or with a reset

	clock modelClock
	cover func(row string)
}

func newConnModel(config modelConfig, cover func(string)) *connModel {
	m := &connModel{modelConfig: config, cover: cover}
	switch config.network {
	case readPipe:
		m.writing = writeIsFinished
	case writePipe:
		m.readEnd = true
	}
	return m
}

func (m *connModel) alive() bool { return m.life < inEnded }

// enter is a call of a handler method.
func (m *connModel) enter(method modelMethod, err error, size int, v view) error {
	before := m.unsent
	if method != connectionLost { // the end has dropped the queue
		m.look(v)
	}
	m.cover(m.state() + " " + method.String())
	problem := m.mayEnter(method, err, size, v)
	m.running = append(m.running, method)
	m.calls++
	m.unsent = v.unsent
	switch method {
	case connectionMade:
		m.life = inConnected
		if m.hasFirstByte {
			m.clock.set(firstLimit, modelFirstByte)
		}
	case dataReceived:
		m.received += size
		m.clock.received()
	case eofReceived:
		m.readEnd = true
	case pauseWriting:
		m.slow, m.newMarks = true, false
		m.clock.queued(before, v.unsent)
	case resumeWriting:
		m.slow = false
	case hangupReceived:
		m.hungUp = true
	case connectionLost:
		m.life = inLost
	}
	if problem != nil {
		return fmt.Errorf("%v in state %s: %w", method, m.state(), problem)
	}
	return nil
}

func (m *connModel) mayEnter(method modelMethod, err error, size int, v view) error {
	nested := len(m.running) > 0 || len(m.operations) > 0
	switch {
	case m.life >= inLost:
		return errors.New("called after the end")
	case m.loopClosed && !(method == connectionLost && (len(m.operations) > 0 || m.life == inEnded)):
		return errors.New("called on a closed loop")
	case nested && method != pauseWriting && !(method == connectionLost && m.loopClosed):
		return fmt.Errorf("nested in %v %v", m.running, m.operations)
	}
	switch method {
	case connectionMade:
		return unless(m.life == inStart && m.origin != byRefusedDial, "not at the start")
	case dataReceived:
		return errors.Join(m.mayRead(),
			unless(size > 0 && size <= 64<<10, "a size of %d", size),
			unless(m.received+size <= m.peerSent, "%d bytes after %d, but the peer sent %d", size, m.received, m.peerSent))
	case eofReceived:
		return errors.Join(m.mayRead(), m.allReceived(),
			unless(m.peerFinished || m.peerReset && m.network == unixNet, "the peer has not ended its side"))
	case pauseWriting:
		return errors.Join(unless(m.life == inConnected, "not connected"), unless(!m.slow, "twice"),
			unless(v.unsent > m.high, "%d bytes are queued", v.unsent))
	case resumeWriting:
		return errors.Join(unless(m.life == inConnected || m.life == inFailing && m.paused, "not connected"),
			unless(m.slow, "without PauseWriting"), unless(v.unsent <= m.low, "%d bytes are queued", v.unsent))
	case hangupReceived:
		return errors.Join(unless(m.hangup && m.life == inConnected && m.paused && !m.readEnd && v.unsent == 0, "not while reading is paused and nothing is queued"),
			unless(m.peerGone || m.peerFinished && m.writing != writeIsOpen, "the peer has not gone"), unless(!m.hungUp, "twice"))
	}
	return m.mayLose(err)
}

func unless(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}

func (m *connModel) mayRead() error {
	return errors.Join(unless(m.life == inConnected || m.life == inFailing, "not connected"),
		unless(!m.readEnd, "reading has ended"), unless(!m.paused, "reading is paused"))
}

// allReceived checks that no data is overtaken by an end.
func (m *connModel) allReceived() error {
	if m.network == tcpNet && (m.peerReset || m.peerGone && m.accepted > m.peerRead) { // the answer to data is a reset
		return unless(m.received >= m.arrived, "%d of %d arrived bytes were received", m.received, m.arrived)
	}
	return unless(m.received == m.peerSent, "%d of %d bytes were received", m.received, m.peerSent)
}

// look learns what has happened without a call of a method: the queue was sent, or
// the kernel has refused data from it.
func (m *connModel) look(v view) {
	switch {
	case !m.alive():
		return
	case m.life == inStart:
		if v.closed && m.isDial() {
			m.end(modelCause{err: syscall.ECONNREFUSED, isSystem: m.origin == byDial})
		}
		return
	case m.loopClosed:
		if m.life == inConnected && !m.readEnd && v.closed && m.mayFail() {
			m.life = inFailing
		}
		return
	}
	before := m.unsent
	if m.life != inClosing || v.unsent > 0 || !m.mayFail() { // else it may have failed
		if v.unsent < m.unsent { // the kernel has taken some, maybe because the peer has
			m.clock.maybe = m.clock.now
		}
		m.unsent = v.unsent
	}
	switch {
	case m.life != inConnected:
	case !v.closed || m.readEnd && m.writing == writeIsFinishing && (before == 0 || !m.mayFail()):
		if v.unsent == 0 && v.closed == m.readEnd {
			m.finishWriting()
		}
	case !m.mayFail():
	case m.readEnd:
		m.end(modelCause{isSystem: true, orNil: true})
	default:
		m.cover(m.state() + " write error from the queue")
		m.life = inFailing
	}
}

// mayFail reports whether the kernel may refuse data.
func (m *connModel) mayFail() bool { return m.peerGone && m.network != readPipe }

// end is an end whose cause is known. The next call is ConnectionLost.
func (m *connModel) end(cause modelCause) {
	if !m.alive() {
		return
	}
	switch { // the first cause counts
	case m.life == inFailing:
		cause = m.failureCause()
	case m.life == inClosing && m.peerGone && m.unsent > 0:
		cause.isSystem, cause.orNil = true, true // the queue may have failed already
	}
	cause.known = true
	m.cause, m.life, m.ownEnd = cause, inEnded, true
}

func (m *connModel) failureCause() modelCause {
	return modelCause{known: true, err: m.failure, isSystem: m.failure == nil}
}

// mayLose checks a call of ConnectionLost.
func (m *connModel) mayLose(err error) error {
	switch {
	case m.life == inEnded && m.loopClosed:
		m.cover("ended on a closed loop")
		return m.checkCause(m.cause, err)
	case m.life == inEnded:
		return m.checkCause(m.cause, err)
	case m.loopClosed: // inside the operation that has ended the connection
		m.lostBy, m.cause.err = err, err
		return unless(err == nil || m.mayFail() && isGone(err) || m.maxUnsent > 0 && errors.Is(err, stream.ErrTooMuchUnsent), "error %v on a closed loop", err)
	case m.clock.mayExpire(m, err):
		m.cover(fmt.Sprintf("%s timeout %v", m.state(), err))
		return nil
	case m.life == inStart:
		refused := m.origin == byRefusedDial && errors.Is(err, syscall.ECONNREFUSED)
		return unless(refused || m.origin == byDial && m.peerGone && isGone(err), "error %v at the start", err)
	case m.life == inFailing && m.clock.anyExpired(m):
		return m.checkCause(m.failureCause(), err)
	case m.life == inFailing:
		m.cover(m.state() + " nothing left to read")
		if m.readEnd || m.network == writePipe {
			return m.checkCause(m.failureCause(), err)
		}
		return errors.Join(m.checkCause(m.failureCause(), err), m.allReceived(),
			unless(m.paused || m.resumed || m.peerReset || !m.peerFinished || m.network == tcpNet, "no EOFReceived")) // a reset may be the answer to data
	case m.life == inClosing && err == nil:
		m.cover("closing queue empty")
		m.sentAll = true
		return nil
	case m.life == inConnected && err == nil:
		m.sentAll = true
		switch {
		case m.network == writePipe:
			m.cover("connected pipe reader gone")
			return errors.Join(unless(m.peerGone || m.writing != writeIsOpen, "no cause"))
		case m.readEnd && m.writing != writeIsOpen:
			m.cover("connected queue empty, reading ended")
			return nil
		}
		return errors.New("no cause")
	}
	problem := unless(m.mayFail() && isGone(err), "error %v, but the peer has not gone", err)
	if m.life == inConnected && !m.readEnd {
		m.cover(m.state() + " read error")
		return errors.Join(problem, unless(!m.paused || m.unsent > 0 || m.writing != writeIsOpen, "reading is paused"), m.allReceived())
	}
	m.cover(m.state() + " write error")
	return problem
}

func (m *connModel) checkCause(cause modelCause, err error) error {
	var p *stream.HandlerPanic
	switch {
	case cause.orNil && err == nil:
		return nil
	case cause.isPanic:
		return unless(errors.As(err, &p) && p.Method == cause.panics.String() && p.Value == any(modelPanic), "error %v, want the panic of %v", err, cause.panics)
	case cause.isSystem:
		return unless(isGone(err), "error %v, want that the peer has gone", err)
	case cause.err == nil:
		return unless(err == nil, "error %v, want none", err)
	}
	return unless(errors.Is(err, cause.err), "error %v, want %v", err, cause.err)
}

// isGone reports whether an error is one of those that a kernel gives when the peer
// has gone.
func isGone(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ENOTCONN)
}

const modelPanic = "a panic of the model"

// leave is the return of a handler method.
func (m *connModel) leave(method modelMethod, panics bool) {
	m.running = m.running[:len(m.running)-1]
	switch {
	case panics:
		m.cover(m.state() + " panic in " + method.String())
		m.end(modelCause{isPanic: true, panics: method})
	case method == eofReceived && m.life == inFailing:
		m.cover("failing EOFReceived returned")
		m.end(modelCause{})
	case method == eofReceived && m.life == inConnected && !m.keepOpen:
		m.close()
	case method == eofReceived && m.life == inConnected && m.writing == writeIsFinished:
		m.sentAll = true
		m.end(modelCause{})
	}
}

// close is Close.
func (m *connModel) close() {
	m.cover(m.state() + " Close")
	switch {
	case m.life == inFailing, m.life == inStart && m.isDial(), m.life <= inConnected && m.unsent == 0:
		m.sentAll = m.life != inFailing && m.unsent == 0
		m.end(modelCause{})
	case m.life <= inConnected:
		m.life = inClosing
	}
}

func (m *connModel) isDial() bool { return m.origin == byDial || m.origin == byRefusedDial }

// wrote is the result of a Write or Writev of n bytes. before is what was queued, and
// calls is how many methods had been called.
func (m *connModel) wrote(n, before, calls, got int, err error, v view) error {
	if m.lostBy != nil && err == m.lostBy { // this write has ended the connection
		m.lostBy = nil
		return nil
	}
	if m.calls > calls { // of PauseWriting: the data was accepted
		return errors.Join(unless(got == n && err == nil, "wrote %d of %d and error %v", got, n, err),
			unless(m.maxUnsent == 0 || v.unsent <= m.maxUnsent, "%d bytes are queued", v.unsent))
	}
	if err != nil && got != 0 {
		return fmt.Errorf("%d bytes and error %v", got, err)
	}
	if m.life > inConnected || m.writing != writeIsOpen {
		return m.refused(err)
	}
	m.cover(m.state() + " Write")
	tooMuch := m.maxUnsent > 0 && before+n > m.maxUnsent
	mustFail := m.peerGone && m.network != tcpNet && before == 0 && n > 0 && m.life == inConnected
	switch {
	case err == nil:
		m.unsent = v.unsent
		if m.alive() {
			m.clock.queued(before, v.unsent)
		}
		return errors.Join(unless(got == n, "wrote %d of %d", got, n), unless(!mustFail, "no error, but the peer has gone"),
			unless(!tooMuch || before == 0 && m.life == inConnected, "no error, but %d and %d bytes are too much", before, n),
			unless(m.maxUnsent == 0 || v.unsent <= m.maxUnsent, "%d bytes are queued", v.unsent))
	case errors.Is(err, stream.ErrTooMuchUnsent):
		m.cover(m.state() + " too much unsent")
		m.end(modelCause{err: stream.ErrTooMuchUnsent})
		return unless(tooMuch, "%d and %d bytes are not too much", before, n)
	}
	m.cover(m.state() + " write error in a call")
	m.fail(err)
	return errors.Join(unless(m.mayFail() && isGone(err), "error %v, but the peer has not gone", err))
}

// fail is a write that the kernel refuses.
func (m *connModel) fail(err error) {
	m.unsent, m.failure = 0, err
	if m.readEnd {
		m.end(modelCause{err: err})
		return
	}
	m.life = inFailing
}

// refused is the error of a write that is not tried.
func (m *connModel) refused(err error) error {
	m.cover(m.state() + " Write refused")
	want := stream.ErrWriteClosed
	switch {
	case m.life == inFailing && (m.failure == nil || m.hold): // or it has ended already
		return unless(isGone(err) || errors.Is(err, net.ErrClosed), "error %v, want that the peer has gone", err)
	case m.life == inFailing:
		want = m.failure
	case m.life > inConnected:
		want = net.ErrClosed
	}
	return unless(errors.Is(err, want), "error %v, want %v", err, want)
}

// closedWrite is the result of CloseWrite, called in state was.
func (m *connModel) closedWrite(was modelLife, err error, v view) error {
	m.cover(m.state() + " CloseWrite")
	switch {
	case m.loopClosed && was <= inConnected && m.life == inLost: // CloseWrite has ended the connection
		return unless(err == nil, "error %v", err)
	case m.life > inConnected:
		return m.refused(err)
	}
	if m.writing == writeIsOpen {
		m.writing = writeIsFinishing
	}
	if m.life == inConnected && m.unsent == 0 {
		m.finishWriting()
	}
	return unless(err == nil, "error %v", err)
}

// finishWriting is the end of the queue after CloseWrite.
func (m *connModel) finishWriting() {
	if m.writing != writeIsFinishing {
		return
	}
	m.writing = writeIsFinished
	if m.readEnd {
		m.sentAll = true
		m.end(modelCause{})
	}
}

// detached is the result of Detach, which needs a socket, or of DetachFD.
func (m *connModel) detached(needsSocket bool, err error) error {
	m.cover(m.state() + " Detach")
	switch {
	case m.life > inConnected:
		return m.refused(err)
	case m.unsent > 0, m.life == inStart && m.isDial():
		return unless(errors.Is(err, stream.ErrUnsent), "error %v, want ErrUnsent", err)
	case needsSocket && m.network >= readPipe:
		return unless(err != nil, "no error for a pipe")
	}
	m.life = inDetached
	return unless(err == nil, "error %v", err)
}

// owesData reports whether the peer, if it goes on reading, gets all data.
func (m *connModel) owesData() bool {
	if m.life >= inEnded && (!m.sentAll || m.network == tcpNet && m.received < m.peerSent) {
		return false
	}
	return m.life != inFailing && !m.loopClosed && m.peerRead < m.accepted && m.life != inDetached && m.life != inStart
}

// settled checks that nothing is missing when the loop has nothing left to do.
func (m *connModel) settled(v view) error {
	if m.loopClosed {
		return nil
	}
	m.look(v)
	if err := m.clock.overdue(m); err != nil {
		return err
	}
	gone := m.peerGone && (m.network != tcpNet || m.peerReset && !m.peerFinished)
	unread := m.arrived - m.received
	err := errors.Join(
		unless(m.unsent == 0 || !v.writable && !gone, "%d bytes are queued, and the kernel takes more", m.unsent),
		unless(v.closed == (m.life >= inClosing), "Closed is %t", v.closed),
		unless(!m.slow || m.life != inConnected || m.unsent > m.low || m.unsent >= m.atMarks && m.newMarks, "no ResumeWriting with %d bytes queued", m.unsent),
		unless(m.slow || m.life != inConnected || m.unsent <= m.high, "no PauseWriting with %d bytes queued", m.unsent),
		unless((v.fd < 0) == (m.life >= inLost), "the descriptor is %d", v.fd))
	switch m.life {
	case inStart:
		err = errors.Join(err, errors.New("no ConnectionMade"))
	case inEnded:
		err = errors.Join(err, errors.New("no ConnectionLost"))
	case inClosing:
		err = errors.Join(err, unless(m.unsent > 0, "no ConnectionLost after Close"))
	case inFailing:
		err = errors.Join(err, unless(m.paused && (unread > 0 || m.network == tcpNet), "no ConnectionLost after a failed write"),
			unless(!m.slow, "no ResumeWriting after a failed write"))
	case inConnected:
		if !m.readEnd && !m.paused {
			err = errors.Join(err, unless(!m.peerFinished && !m.peerReset, "the end of the data was not reported"), m.allReceived())
		}
		finished := m.writing == writeIsFinished && m.network <= unixNet
		behind := m.network == tcpNet && m.peerRead < m.accepted // data in a full window comes first
		err = errors.Join(err, unless(m.peerGone || m.origin == byDial || finished == v.finished || finished && behind, "the peer has been told the end: %t", v.finished))
		quiet := m.unsent == 0 && (m.readEnd || m.paused && m.hangup)
		if gone && quiet && m.hints {
			err = errors.Join(err, unless(!m.readEnd && m.hungUp, "nothing was reported when the peer left"))
		}
	}
	if err != nil {
		return fmt.Errorf("settled in state %s: %w", m.state(), err)
	}
	return nil
}
