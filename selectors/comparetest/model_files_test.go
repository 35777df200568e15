//go:build linux

package comparetest_test

import (
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// The model simulates pipes, Unix stream sockets, eventfds and /dev/null, and
// what a selector must report of them, in plain Go without a kernel. It supports
// the verbs pipe, unix, eventfd, device, close, dup2, write, read, fill, drain,
// shutdown, register, modify, unregister, wake, keys and select (without a
// timeout), and level-triggered and one-shot interests.

// A modelFile is an open file description: what descriptors refer to.
type modelFile interface {
	mask() int16 // as poll(2) reports it
	write() error
	read() error
	fill() error
	drain() error
	shutdown(how string) error
	release()      // called when the last descriptor is closed
	identity() any // equal for files that fstat(2) cannot distinguish
}

// A modelPipe is a queue of pages. A write goes into the last page if all of it
// fits there, otherwise into a new page.
type modelPipe struct {
	pages            []modelPage
	readers, writers int
}

type modelPage struct{ start, end int } // of the unread bytes

func (p *modelPipe) push(n int) error {
	if p.readers == 0 {
		return unix.EPIPE
	}
	size := os.Getpagesize()
	if last := len(p.pages) - 1; n < size && last >= 0 && p.pages[last].end+n <= size {
		p.pages[last].end += n
		return nil
	}
	if len(p.pages) == pipeSlots {
		return unix.EAGAIN
	}
	p.pages = append(p.pages, modelPage{0, n})
	return nil
}

func (p *modelPipe) pull() error {
	switch {
	case len(p.pages) > 0:
		if p.pages[0].start++; p.pages[0].start == p.pages[0].end {
			p.pages = p.pages[1:]
		}
		return nil
	case p.writers == 0:
		return io.EOF
	}
	return unix.EAGAIN
}

type (
	modelReadEnd  struct{ *modelPipe }
	modelWriteEnd struct{ *modelPipe }
)

func (e modelReadEnd) mask() (mask int16) {
	if len(e.pages) > 0 {
		mask |= unix.POLLIN
	}
	if e.writers == 0 {
		mask |= unix.POLLHUP
	}
	return mask
}

func (e modelWriteEnd) mask() (mask int16) {
	if len(e.pages) < pipeSlots {
		mask |= unix.POLLOUT
	}
	if e.readers == 0 {
		mask |= unix.POLLERR
	}
	return mask
}

func (e modelReadEnd) write() error          { return unix.EBADF }
func (e modelReadEnd) read() error           { return e.pull() }
func (e modelReadEnd) fill() error           { return unix.EBADF }
func (e modelReadEnd) drain() error          { e.pages = nil; return untilBlocked(e.pull) }
func (e modelReadEnd) shutdown(string) error { return unix.ENOTSOCK }
func (e modelReadEnd) release()              { e.readers-- }
func (e modelReadEnd) identity() any         { return e.modelPipe }

func (e modelWriteEnd) write() error { return e.push(1) }
func (e modelWriteEnd) read() error  { return unix.EBADF }
func (e modelWriteEnd) fill() error {
	return untilBlocked(func() error { return e.push(os.Getpagesize()) })
}
func (e modelWriteEnd) drain() error          { return unix.EBADF }
func (e modelWriteEnd) shutdown(string) error { return unix.ENOTSOCK }
func (e modelWriteEnd) release()              { e.writers-- }
func (e modelWriteEnd) identity() any         { return e.modelPipe }

// untilBlocked calls f until it would block or fails. That it would block is not
// an error.
func untilBlocked(f func() error) error {
	for {
		switch err := f(); err {
		case nil:
		case unix.EAGAIN:
			return nil
		default:
			return err
		}
	}
}

// A modelSocket is one end of a Unix stream socket pair. The kernel counts the
// bytes that an end has sent until the other end has read them: below a quarter
// of the send buffer the end is writable, with the whole buffer used it is full.
// The model handles single bytes, too few to reach that quarter, and a fill. The
// states between are not modelled: see modelEnv.predicts.
type modelSocket struct {
	peer            *modelSocket
	unread          int  // bytes that can be read here
	filled          bool // by the peer, and not yet drained
	noRead, noWrite bool // shut down: reading, writing
	err             error
}

const (
	modelFillBytes = 1 << 20 // bytes of a fill: more than a sequence reads one by one
	maxUnreadBytes = 16      // limit of unread single bytes
)

func (s *modelSocket) mask() (mask int16) {
	if s.unread > 0 || s.noRead {
		mask |= unix.POLLIN
	}
	if s.noRead {
		mask |= unix.POLLRDHUP
	}
	if s.noRead && s.noWrite {
		mask |= unix.POLLHUP
	}
	if s.err != nil {
		mask |= unix.POLLERR
	}
	if !s.peer.filled {
		mask |= unix.POLLOUT
	}
	return mask
}

func (s *modelSocket) write() error {
	if s.noWrite {
		return unix.EPIPE
	}
	s.peer.unread++
	return nil
}

func (s *modelSocket) fill() error {
	if s.noWrite {
		return unix.EPIPE
	}
	if !s.peer.filled {
		s.peer.filled = true
		s.peer.unread += modelFillBytes
	}
	return nil
}

func (s *modelSocket) read() error {
	switch {
	case s.unread > 0:
		s.unread--
		return nil
	case s.err != nil: // is returned once
		err := s.err
		s.err = nil
		return err
	case s.noRead:
		return io.EOF
	}
	return unix.EAGAIN
}

func (s *modelSocket) drain() error {
	s.unread, s.filled = 0, false
	return untilBlocked(s.read)
}

func (s *modelSocket) shutdown(how string) error {
	if how != "write" {
		s.noRead, s.peer.noWrite = true, true
	}
	if how != "read" {
		s.noWrite, s.peer.noRead = true, true
	}
	return nil
}

func (s *modelSocket) release() {
	s.shutdown("both")
	if s.unread > 0 {
		s.peer.err = unix.ECONNRESET
	}
	s.unread, s.filled = 0, false
}

func (s *modelSocket) identity() any { return s }

// A modelCounter is an eventfd.
type modelCounter struct{ nonzero, full bool }

func (c *modelCounter) mask() (mask int16) {
	if c.nonzero {
		mask |= unix.POLLIN
	}
	if !c.full {
		mask |= unix.POLLOUT
	}
	return mask
}

func (c *modelCounter) write() error {
	if c.full {
		return unix.EAGAIN
	}
	c.nonzero = true
	return nil
}

func (c *modelCounter) fill() error { c.nonzero, c.full = true, true; return nil }

func (c *modelCounter) read() error {
	if !c.nonzero {
		return unix.EAGAIN
	}
	c.nonzero, c.full = false, false
	return nil
}

func (c *modelCounter) drain() error          { return untilBlocked(c.read) }
func (c *modelCounter) shutdown(string) error { return unix.ENOTSOCK }
func (c *modelCounter) release()              {}
func (c *modelCounter) identity() any         { return "anonymous" } // all share one inode

// A modelNull is /dev/null.
type modelNull struct{ _ byte } // not empty, so that each file has an address of its own

func (*modelNull) mask() int16           { return unix.POLLIN | unix.POLLOUT }
func (*modelNull) write() error          { return nil }
func (*modelNull) fill() error           { return nil }
func (*modelNull) read() error           { return io.EOF }
func (*modelNull) drain() error          { return io.EOF }
func (*modelNull) shutdown(string) error { return unix.ENOTSOCK }
func (*modelNull) release()              {}
func (*modelNull) identity() any         { return "null" }

// A modelEnv has the files of the model and a selector for each instance.
type modelEnv struct {
	files     map[string]modelFile // by name: what the number refers to
	refs      map[modelFile]int
	selectors []*modelSelector
	changes   int // operations other than select
}

func newModelEnv(instances []*instance) *modelEnv {
	m := &modelEnv{files: map[string]modelFile{}, refs: map[modelFile]int{}}
	for _, inst := range instances {
		m.selectors = append(m.selectors, &modelSelector{
			env: m, features: inst.Features(), stateless: inst.Features()&selectors.FeatureInvalid != 0,
			kqueue: strings.HasPrefix(inst.name, "kqueue"), keys: map[string]*modelKey{},
		})
	}
	return m
}

// assign makes a name refer to a file, or to none if f is nil. The former file
// loses a descriptor.
func (m *modelEnv) assign(name string, f modelFile) {
	old := m.files[name]
	if f != nil {
		m.refs[f]++
		m.files[name] = f
	} else {
		delete(m.files, name)
	}
	if old != nil {
		if m.refs[old]--; m.refs[old] == 0 {
			delete(m.refs, old)
			old.release()
		}
	}
	for _, s := range m.selectors {
		if k := s.keys[name]; k != nil && (k.replaced() || k.file != f) {
			k.laterFiles = append(k.laterFiles, f)
		}
	}
}

// predicts reports whether the model supports an operation in the present state.
// It cannot predict how many bytes fit into a Unix socket that is neither nearly
// empty nor full.
func (m *modelEnv) predicts(op operation) bool {
	if op.verb != "write" {
		return true
	}
	s, ok := m.files[op.args[0]].(*modelSocket)
	return !ok || s.noWrite || s.peer.unread < maxUnreadBytes
}

// expect returns the expected results of an operation, and whether got has them.
// Where several results are valid, the model continues from the one in got.
func (m *modelEnv) expect(op operation, got []result) (want []result, equal bool) {
	if op.verb != "select" {
		m.changes++
	}
	want = make([]result, len(got))
	equal = true
	if do, ok := modelFileVerbs[op.verb]; ok {
		text := errorText(do(m, op.args))
		for i := range want {
			want[i].text = text
			equal = equal && got[i].String() == text
		}
		return want, equal
	}
	for i, s := range m.selectors {
		want[i] = s.expect(op, got[i])
		equal = equal && want[i].String() == got[i].String()
	}
	return want, equal
}

// fileOp makes an operation of a method of one file.
func fileOp(f func(modelFile) error) func(*modelEnv, []string) error {
	return func(m *modelEnv, args []string) error {
		file := m.files[args[0]]
		if file == nil {
			return unix.EBADF
		}
		return f(file)
	}
}

var modelFileVerbs = map[string]func(m *modelEnv, args []string) error{
	"pipe": func(m *modelEnv, args []string) error {
		p := &modelPipe{readers: 1, writers: 1}
		m.assign(args[0], modelReadEnd{p})
		m.assign(args[1], modelWriteEnd{p})
		return nil
	},
	"unix": func(m *modelEnv, args []string) error {
		a, b := &modelSocket{}, &modelSocket{}
		a.peer, b.peer = b, a
		m.assign(args[0], a)
		m.assign(args[1], b)
		return nil
	},
	"eventfd": func(m *modelEnv, args []string) error { m.assign(args[0], &modelCounter{}); return nil },
	"device":  func(m *modelEnv, args []string) error { m.assign(args[0], &modelNull{}); return nil },
	"close": func(m *modelEnv, args []string) error {
		if m.files[args[0]] == nil {
			return unix.EBADF
		}
		m.assign(args[0], nil)
		return nil
	},
	"dup2": func(m *modelEnv, args []string) error {
		switch file := m.files[args[0]]; {
		case args[0] == args[1]:
			return unix.EINVAL
		case file == nil:
			return unix.EBADF
		default:
			m.assign(args[1], file)
			return nil
		}
	},
	"shortage": func(*modelEnv, []string) error { return nil }, // changes no result
	"write":    fileOp(modelFile.write),
	"read":     fileOp(modelFile.read),
	"fill":     fileOp(modelFile.fill),
	"drain":    fileOp(modelFile.drain),
	"shutdown": func(m *modelEnv, args []string) error {
		return fileOp(func(f modelFile) error { return f.shutdown(args[1]) })(m, args)
	},
}
