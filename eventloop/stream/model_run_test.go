//go:build linux

package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// A modelRun runs a sequence on a real connection and on the model. All is done on
// one goroutine: the peer is a raw descriptor, and the loop runs turn by turn. The
// loop's clock stands still except in "advance".
type modelRun struct {
	*connModel
	loop    *eventloop.Loop
	conn    *stream.Conn
	peer    int // -1 after close
	armed   [modelMethods][]*modelOp
	errs    []error
	done    []string // the operations
	sockets *modelSockets
	ln      *stream.Listener
}

// modelBytes are the data of both directions. A piece that is lost, repeated or
// moved is seen, because no two parts are alike.
var modelBytes = [2][]byte{chachaBytes(1), chachaBytes(2)}

func chachaBytes(seed byte) []byte {
	p := make([]byte, 1<<20)
	copy(p, randomBytes(1<<20+int(seed)))
	return p
}

// settleTime is how long data on the way may take. On one machine it needs no time
// at all, unless the machine is busy.
var settleTime = 5 * time.Second

func (r *modelRun) fail(err error) {
	if err != nil {
		r.errs = append(r.errs, fmt.Errorf("%s: %w", r.done[len(r.done)-1], err))
	}
}

func (r *modelRun) view() view {
	v := view{fd: -1}
	if r.conn == nil {
		return v
	}
	v.unsent, v.closed, v.fd = r.conn.Unsent(), r.conn.Closed(), r.conn.FD()
	return v
}

// runSequence runs a sequence with a selector of a backend. It returns the
// operations that it has done, and what is wrong.
func runSequence(s *modelSequence, b selectors.Backend, sockets *modelSockets, cover func(string)) (done []string, err error) {
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors()
	sel, err := b.New()
	if err != nil {
		return nil, err
	}
	r := &modelRun{peer: -1, sockets: sockets, done: []string{"start"}}
	config := s.config
	config.hints = b.Features&selectors.FeatureHangup != 0 && b.Features&selectors.FeaturePriority != 0
	r.connModel = newConnModel(config, cover)
	opts := []eventloop.Option{eventloop.WithSelector(sel), eventloop.WithClock(func() time.Duration { return r.clock.now })}
	if config.panicHandler {
		opts = append(opts, eventloop.WithPanicHandler(func(p eventloop.Panic) {
			if p.Value != any(modelPanic) {
				r.fail(fmt.Errorf("panic: %v\n%s", p.Value, p.Stack))
			}
		}))
	}
	if r.loop, err = eventloop.New(opts...); err != nil {
		return nil, err
	}
	if err := r.open(); err != nil {
		return nil, err
	}
	r.hold = s.early
	if !s.early && (len(s.ops) == 0 || s.ops[0].verb != "in") {
		r.settle()
	}
	for i, op := range s.ops {
		if len(r.errs) > 0 {
			break
		}
		did := r.do(op, true)
		lastIn := op.verb == "in" && (i+1 == len(s.ops) || s.ops[i+1].verb != "in")
		if (did || lastIn) && !r.hold {
			r.settle()
		}
	}
	r.finish()
	for range 1000 { // the goroutines of package net end a little later, and Go's runtime opens files for a moment
		if runtime.NumGoroutine() <= goroutines && openDescriptors() == descriptors {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		if leaked := loopGoroutines(); leaked > 0 {
			r.fail(fmt.Errorf("%d goroutines, %d before; %d of the loop", n, goroutines, leaked))
		}
	}
	if now := openDescriptors(); now != descriptors && len(r.errs) == 0 {
		for fd := range 64 {
			if (now^descriptors)&(1<<fd) != 0 {
				name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
				r.fail(fmt.Errorf("descriptor %d was opened or closed: %s %v", fd, name, err))
			}
		}
	}
	return r.done, errors.Join(r.errs...)
}

// loopGoroutines returns the number of goroutines that run code of package
// eventloop. Others come and go with the fuzzer.
func loopGoroutines() int {
	buf := make([]byte, 1<<20)
	return bytes.Count(buf[:runtime.Stack(buf, true)], []byte("\ngoselectors/eventloop."))
}

// openDescriptors returns the set of the open descriptors below 64.
func openDescriptors() (set uint64) {
	for fd := range 64 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			set |= 1 << fd
		}
	}
	return set
}

// do does an operation and reports whether it did something. Some are left out if
// they make no sense, such as a write of a peer that has closed.
func (r *modelRun) do(op *modelOp, outside bool) bool {
	r.done = append(r.done, op.String())
	if !outside {
		r.done[len(r.done)-1] = "\t" + op.String()
	}
	switch op.verb {
	case "in":
		r.armed[op.method] = append(r.armed[op.method], op)
		return false
	case "hold":
		r.hold = true
	case "run":
		r.hold = false
	case "advance":
		for range op.arg {
			r.clock.now += clockStep
			r.settle()
		}
		r.hold = false
	case "loop-stop":
		r.loop.Stop()
		if outside && !r.loopClosed {
			r.turn(func() (int, error) { return 0, r.loop.Run(context.Background()) })
		}
	case "loop-close":
		r.closeLoop()
	case "panic":
		if !outside {
			panic(modelPanic)
		}
		return false
	default:
		if r.doPeer(op) {
			return true
		}
		if r.conn == nil {
			return false
		}
		r.look(r.view())
		r.operations = append(r.operations, op.verb)
		defer func() { r.operations = r.operations[:len(r.operations)-1] }()
		defer r.catch(outside)
		r.doConn(op)
	}
	return true
}

func (r *modelRun) closeLoop() {
	r.look(r.view())
	if err := r.loop.Close(); err != nil {
		r.fail(err)
	}
	r.loopClosed = true
}

// catch ends a panic of the model that has passed through a call from outside.
func (r *modelRun) catch(outside bool) {
	if !outside {
		return
	}
	if v := recover(); v != nil && v != any(modelPanic) {
		panic(v)
	}
}

// doConn does an operation of the application.
func (r *modelRun) doConn(op *modelOp) {
	c := r.conn
	switch op.verb {
	case "write", "writev":
		r.write(op.arg, op.verb == "writev")
	case "close-write":
		was := r.life
		err := c.CloseWrite()
		r.fail(r.closedWrite(was, err, r.view()))
	case "close":
		r.close()
		r.fail(c.Close())
	case "abort":
		r.cover(r.state() + " Abort")
		r.end(modelCause{})
		c.Abort()
	case "pause":
		r.paused = true
		c.PauseReading()
	case "resume":
		if r.paused {
			r.clock.resumed()
			r.resumed = r.life == inFailing
		}
		r.paused, r.hungUp = false, false
		c.ResumeReading()
	case "detach", "detach-fd":
		r.detach(op.verb == "detach")
	case "detach-without-descriptor":
		r.detachRefused()
	case "idle-timeout":
		r.setTimeout(idleLimit, op.arg, c.SetIdleTimeout)
	case "read-timeout":
		r.setTimeout(readLimit, op.arg, c.SetReadTimeout)
	case "write-timeout":
		r.setTimeout(writeLimit, op.arg, c.SetWriteTimeout)
	case "water-marks":
		r.high, r.low = modelMarks[op.arg][0], modelMarks[op.arg][1]
		r.atMarks, r.newMarks = r.unsent, true
		c.SetWaterMarks(r.high, r.low)
	default:
		panic(op.verb)
	}
}

func (r *modelRun) setTimeout(kind, ms int, set func(time.Duration)) {
	d := time.Duration(ms) * time.Millisecond
	if r.alive() {
		r.clock.set(kind, d)
	}
	set(d)
}

func (r *modelRun) write(n int, pieces bool) {
	from := r.accepted
	if from+n > len(modelBytes[0]) {
		return
	}
	p, before, calls := modelBytes[0][from:from+n], r.conn.Unsent(), r.calls
	r.accepted += n
	var got int
	var err error
	if pieces {
		got, err = r.conn.Writev(p[:n/3], nil, p[n/3:n/2], p[n/2:])
	} else {
		got, err = r.conn.Write(p)
	}
	if err != nil {
		r.accepted -= n
		r.rejected = max(r.rejected, n)
	} else if r.peerGone && n > 0 {
		r.peerReset = true
	}
	r.fail(r.wrote(n, before, calls, got, err, r.view()))
}

// detach detaches the connection. What is left in the kernel must be what was not
// received.
func (r *modelRun) detach(asConn bool) {
	rest := make([]byte, 1<<20)
	read := func(fd int) {
		n := 0
		for {
			got, err := unix.Read(fd, rest[n:])
			if got <= 0 || err != nil {
				break
			}
			n += got
		}
		if r.network != writePipe && (!bytes.HasPrefix(modelBytes[1][r.received:], rest[:n]) || r.received+n < r.arrived && !r.peerReset) {
			r.fail(fmt.Errorf("%d bytes after the %d that were received, the peer sent %d", n, r.received, r.peerSent))
		}
	}
	var err error
	if asConn {
		var conn net.Conn
		if conn, err = r.conn.Detach(); err == nil {
			if raw, rawErr := conn.(syscall.Conn).SyscallConn(); rawErr == nil {
				raw.Control(func(fd uintptr) { read(int(fd)) })
			}
			conn.Close()
		}
	} else {
		var fd int
		if fd, err = r.conn.DetachFD(); err == nil {
			read(fd)
			unix.Close(fd)
		}
	}
	r.fail(r.detached(asConn, err))
}

// detachRefused calls Detach while the process has no free descriptor.
func (r *modelRun) detachRefused() {
	var limit unix.Rlimit
	must(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	free := mustFD(unix.FcntlInt(uintptr(r.sockets.unix), unix.F_DUPFD_CLOEXEC, 0))
	unix.Close(free)
	none := limit
	none.Cur = uint64(free)
	must(unix.Setrlimit(unix.RLIMIT_NOFILE, &none))
	conn, err := r.conn.Detach()
	must(unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	if conn != nil {
		conn.Close()
	}
	if r.life <= inConnected && r.unsent == 0 && !(r.life == inStart && r.isDial()) {
		r.cover("Detach without descriptor")
		r.fail(unless(errors.Is(err, unix.EMFILE), "error %v, want EMFILE", err))
		return
	}
	r.fail(r.detached(true, err))
}

// turn runs the loop, and ends a panic of the model.
func (r *modelRun) turn(run func() (int, error)) (ran int) {
	defer func() {
		if v := recover(); v == any(modelPanic) {
			ran = 1
		} else if v != nil {
			panic(v)
		}
	}()
	ran, err := run()
	if err != nil && !(r.loopClosed && errors.Is(err, eventloop.ErrClosed)) {
		r.fail(err)
	}
	return ran
}

// maxTurns bounds the turns that an operation may cause: one for each 64 KiB, and
// some for the steps of the loop.
const maxTurns = 100

// settle runs the loop until nothing happens any more, and checks the model.
func (r *modelRun) settle() {
	limit := time.Time{}
	for len(r.errs) == 0 && !r.loopClosed {
		for n := 0; r.turn(func() (int, error) { return r.loop.RunOnce(0) }) > 0; n++ {
			if n == maxTurns {
				r.fail(fmt.Errorf("more than %d turns in state %s", maxTurns, r.state()))
				return
			}
			if r.loopClosed || len(r.errs) > 0 {
				return
			}
		}
		v := r.view()
		if v.unsent > 0 {
			fds := []unix.PollFd{{Fd: int32(v.fd), Events: unix.POLLOUT}}
			n, err := unix.Poll(fds, 0)
			v.writable = err == nil && n > 0
		}
		if r.peer >= 0 && r.network <= unixNet {
			fds := []unix.PollFd{{Fd: int32(r.peer), Events: unix.POLLRDHUP}}
			n, err := unix.Poll(fds, 0)
			v.finished = err == nil && n > 0 && fds[0].Revents&unix.POLLRDHUP != 0
		}
		err := r.settled(v)
		if err == nil {
			return
		}
		switch now := time.Now(); {
		case limit.IsZero():
			limit = now.Add(settleTime)
		case r.network != tcpNet && now.After(limit.Add(50*time.Millisecond-settleTime)), now.After(limit):
			r.fail(err)
			return
		}
		r.turn(func() (int, error) { return r.loop.RunOnce(time.Millisecond) })
	}
}

// finish ends both sides and checks that everything was given back.
func (r *modelRun) finish() {
	r.done = append(r.done, "finish")
	for i := range r.armed {
		r.armed[i] = nil
	}
	if len(r.errs) == 0 {
		r.drain()
	}
	if r.conn != nil && len(r.errs) == 0 {
		r.do(&modelOp{verb: "abort"}, true)
		if r.loopClosed {
			r.fail(unless(r.life >= inLost, "no ConnectionLost on a closed loop"))
		} else {
			r.settle()
		}
		v := r.view()
		r.fail(unless(v.fd == -1 && v.closed && v.unsent == 0, "after the end: %+v", v))
	}
	if r.ln != nil {
		r.fail(unless(r.ln.Len() == 0 || len(r.errs) > 0, "the listener still has a connection"))
		r.ln.Close()
	}
	if n := r.loop.Selector().Len(); n != 0 && !r.loopClosed && len(r.errs) == 0 {
		r.fail(fmt.Errorf("%d files are still registered", n))
	}
	if r.acceptPeer(); r.peer >= 0 {
		unix.Close(r.peer)
	}
	if !r.loopClosed {
		if len(r.errs) > 0 && r.conn != nil {
			r.conn.Abort()
			r.turn(func() (int, error) { return r.loop.RunOnce(0) })
		}
		r.loop.Close()
	}
}

// call is a call of a handler method.
func (r *modelRun) call(method modelMethod, c *stream.Conn, data []byte, err error) {
	r.conn = c
	if method == connectionMade && r.origin != byWrap {
		if r.network == tcpNet {
			smallBuffers(c.FD())
		} else {
			shrinkUnix(c.FD())
		}
	}
	r.done = append(r.done, fmt.Sprintf("\t-> %v", method))
	if len(data) > 0 {
		r.noteArrived()
		if end := r.received + len(data); end > r.peerSent || !bytes.Equal(data, modelBytes[1][r.received:end]) {
			r.fail(fmt.Errorf("%d wrong bytes after %d", len(data), r.received))
		}
	}
	r.fail(r.enter(method, err, len(data), r.view()))
	panics := true
	defer func() {
		r.look(r.view())
		r.leave(method, panics)
	}()
	for _, op := range r.dueOps(method) {
		r.do(op, false)
	}
	panics = false
}

// dueOps returns the operations that this call of a method does.
func (r *modelRun) dueOps(method modelMethod) (due []*modelOp) {
	var later []*modelOp
	for _, op := range r.armed[method] {
		if op.skip > 0 {
			next := *op
			next.skip--
			later = append(later, &next)
		} else {
			due = append(due, op.nested)
		}
	}
	r.armed[method] = later
	return due
}

// A modelHandler passes the calls on to the run.
type modelHandler struct{ r *modelRun }

func (h modelHandler) ConnectionMade(c *stream.Conn)         { h.r.call(connectionMade, c, nil, nil) }
func (h modelHandler) DataReceived(c *stream.Conn, p []byte) { h.r.call(dataReceived, c, p, nil) }
func (h modelHandler) PauseWriting(c *stream.Conn)           { h.r.call(pauseWriting, c, nil, nil) }
func (h modelHandler) ResumeWriting(c *stream.Conn)          { h.r.call(resumeWriting, c, nil, nil) }
func (h modelHandler) ConnectionLost(c *stream.Conn, e error) {
	h.r.call(connectionLost, c, nil, e)
}
func (h modelHandler) EOFReceived(c *stream.Conn) bool {
	h.r.call(eofReceived, c, nil, nil)
	return h.r.keepOpen
}

type modelHangupHandler struct{ modelHandler }

func (h modelHangupHandler) HangupReceived(c *stream.Conn) { h.r.call(hangupReceived, c, nil, nil) }
