//go:build linux

package comparetest_test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// The model: what pipes, Unix stream sockets, eventfds and /dev/null do, and
// what a selector has to say of them, in plain Go without a kernel. It knows
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
	gone()         // the last descriptor was closed
	identity() any // what fstat(2) can tell apart
}

// modelPipe is a ring of pages. A write goes into the last page if it fits
// there as a whole, else it takes a fresh one.
type modelPipe struct {
	pages            []modelPage
	readers, writers int
}

type modelPage struct{ begin, end int } // of the bytes not yet read

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
		if p.pages[0].begin++; p.pages[0].begin == p.pages[0].end {
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
func (e modelReadEnd) gone()                 { e.readers-- }
func (e modelReadEnd) identity() any         { return e.modelPipe }

func (e modelWriteEnd) write() error { return e.push(1) }
func (e modelWriteEnd) read() error  { return unix.EBADF }
func (e modelWriteEnd) fill() error {
	return untilBlocked(func() error { return e.push(os.Getpagesize()) })
}
func (e modelWriteEnd) drain() error          { return unix.EBADF }
func (e modelWriteEnd) shutdown(string) error { return unix.ENOTSOCK }
func (e modelWriteEnd) gone()                 { e.writers-- }
func (e modelWriteEnd) identity() any         { return e.modelPipe }

// untilBlocked repeats f until it would block, which is not an error then.
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

// modelSocket is one end of a Unix stream socket pair. The kernel counts what
// an end has sent until the other end has read it: below a quarter of the send
// buffer it is writable, at all of it it is full. The model knows single bytes,
// of which there must not be so many that the quarter is reached, and the flood
// of fill. Between the two it does not look: see modelWorld.knows.
type modelSocket struct {
	peer            *modelSocket
	unread          int  // bytes that wait to be read here
	flooded         bool // the peer has filled our queue, and we have not emptied it
	noRead, noWrite bool // shut down: reading, writing
	err             error
}

const (
	modelFlood    = 1 << 20 // what fill adds: more than anybody reads in single bytes
	modelFewBytes = 16      // the most single bytes that wait to be read
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
	if !s.peer.flooded {
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
	if !s.peer.flooded {
		s.peer.flooded = true
		s.peer.unread += modelFlood
	}
	return nil
}

func (s *modelSocket) read() error {
	switch {
	case s.unread > 0:
		s.unread--
		return nil
	case s.err != nil: // is told once
		err := s.err
		s.err = nil
		return err
	case s.noRead:
		return io.EOF
	}
	return unix.EAGAIN
}

func (s *modelSocket) drain() error {
	s.unread, s.flooded = 0, false
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

func (s *modelSocket) gone() {
	s.shutdown("both")
	if s.unread > 0 {
		s.peer.err = unix.ECONNRESET
	}
	s.unread, s.flooded = 0, false
}

func (s *modelSocket) identity() any { return s }

// modelCounter is an eventfd.
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
func (c *modelCounter) gone()                 {}
func (c *modelCounter) identity() any         { return "anonymous" } // all share one inode

// modelNull is /dev/null.
type modelNull struct{ _ byte } // so that there can be two

func (*modelNull) mask() int16           { return unix.POLLIN | unix.POLLOUT }
func (*modelNull) write() error          { return nil }
func (*modelNull) fill() error           { return nil }
func (*modelNull) read() error           { return io.EOF }
func (*modelNull) drain() error          { return io.EOF }
func (*modelNull) shutdown(string) error { return unix.ENOTSOCK }
func (*modelNull) gone()                 {}
func (*modelNull) identity() any         { return "null" }

// modelWorld is the files of the model and a selector for each contender.
type modelWorld struct {
	files     map[string]modelFile // by name: what the number refers to
	refs      map[modelFile]int
	selectors []*modelSelector
}

func newModelWorld(contenders []*contender) *modelWorld {
	m := &modelWorld{files: map[string]modelFile{}, refs: map[modelFile]int{}}
	for _, c := range contenders {
		m.selectors = append(m.selectors, &modelSelector{
			world: m, have: c.Features(), byNumber: c.Features()&selectors.FeatureInvalid != 0,
			kqueue: strings.HasPrefix(c.name, "kqueue"), keys: map[string]*modelKey{},
		})
	}
	return m
}

// put makes a name refer to a file, or to none. What it was before loses a
// descriptor.
func (m *modelWorld) put(name string, f modelFile) {
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
			old.gone()
		}
	}
	for _, s := range m.selectors {
		if k := s.keys[name]; k != nil && (k.left() || k.file != f) {
			k.later = append(k.later, f)
		}
	}
}

// knows reports whether the model can foretell what an operation does. It
// cannot say how many more bytes go into a Unix socket that is neither nearly
// empty nor full.
func (m *modelWorld) knows(op operation) bool {
	if op.verb != "write" {
		return true
	}
	s, ok := m.files[op.args[0]].(*modelSocket)
	return !ok || s.noWrite || s.peer.unread < modelFewBytes
}

// expect says whether results are what the operation should come to, and what
// that is. Where several results are right it goes on from the one that was
// observed.
func (m *modelWorld) expect(op operation, got []result) (want []result, right bool) {
	want = make([]result, len(got))
	right = true
	if do, ok := modelFileVerbs[op.verb]; ok {
		text := errorText(do(m, op.args))
		for i := range want {
			want[i].text = text
			right = right && got[i].String() == text
		}
		return want, right
	}
	for i, s := range m.selectors {
		want[i] = s.expect(op, got[i])
		right = right && want[i].String() == got[i].String()
	}
	return want, right
}

// on is an operation that one file does.
func on(f func(modelFile) error) func(*modelWorld, []string) error {
	return func(m *modelWorld, args []string) error {
		file := m.files[args[0]]
		if file == nil {
			return unix.EBADF
		}
		return f(file)
	}
}

var modelFileVerbs = map[string]func(m *modelWorld, args []string) error{
	"pipe": func(m *modelWorld, args []string) error {
		p := &modelPipe{readers: 1, writers: 1}
		m.put(args[0], modelReadEnd{p})
		m.put(args[1], modelWriteEnd{p})
		return nil
	},
	"unix": func(m *modelWorld, args []string) error {
		a, b := &modelSocket{}, &modelSocket{}
		a.peer, b.peer = b, a
		m.put(args[0], a)
		m.put(args[1], b)
		return nil
	},
	"eventfd": func(m *modelWorld, args []string) error { m.put(args[0], &modelCounter{}); return nil },
	"device":  func(m *modelWorld, args []string) error { m.put(args[0], &modelNull{}); return nil },
	"close": func(m *modelWorld, args []string) error {
		if m.files[args[0]] == nil {
			return unix.EBADF
		}
		m.put(args[0], nil)
		return nil
	},
	"dup2": func(m *modelWorld, args []string) error {
		switch file := m.files[args[0]]; {
		case args[0] == args[1]:
			return unix.EINVAL
		case file == nil:
			return unix.EBADF
		default:
			m.put(args[1], file)
			return nil
		}
	},
	"write": on(modelFile.write),
	"read":  on(modelFile.read),
	"fill":  on(modelFile.fill),
	"drain": on(modelFile.drain),
	"shutdown": func(m *modelWorld, args []string) error {
		return on(func(f modelFile) error { return f.shutdown(args[1]) })(m, args)
	},
}

// modelSelector is the contract of a selector, as far as the model goes.
type modelSelector struct {
	world    *modelWorld
	have     selectors.Feature
	byNumber bool // the kernel keeps no set: it looks at what has the number now
	kqueue   bool // the kernel does not watch for writing to a pipe that nobody reads
	keys     map[string]*modelKey
}

// modelKey is a registration.
type modelKey struct {
	events   selectors.Event
	file     modelFile   // what the number referred to at Register or Modify
	identity any         // of that file; of its registration, where Register has to tell files apart
	always   bool        // not watched by the kernel: was ready for ever when it was asked to
	later    []modelFile // what the number has referred to since; nil is nothing
	silent   bool        // has fired, or was reported closed
	invalid  bool        // was reported closed
	muted    bool        // has only hints to tell, and has told them
	told     selectors.Event
}

// left reports whether the number has left the file, if only for a moment.
func (k *modelKey) left() bool { return len(k.later) > 0 }

// always reports whether a file is always ready and for that reason not
// watched by the kernel.
func (s *modelSelector) always(f modelFile) bool { return !s.byNumber && f.identity() == "null" }

func (s *modelSelector) newKey(events selectors.Event, f modelFile) *modelKey {
	k := &modelKey{events: events, file: f, identity: f.identity(), always: s.always(f)}
	if end, ok := f.(modelWriteEnd); ok && s.kqueue && end.readers == 0 && events&selectors.EventWrite != 0 {
		k.always = true
	}
	return k
}

func (s *modelSelector) expect(op operation, got result) result {
	switch op.verb {
	case "wake":
		return result{text: "ok"}
	case "select":
		return result{batch: s.selectNow(got.batch)}
	case "keys":
		list := report{}
		for name, k := range s.keys {
			list[name] = k.events
		}
		return result{batch: list}
	case "unregister":
		if s.keys[op.args[0]] == nil {
			return result{text: errorText(selectors.ErrNotRegistered)}
		}
		delete(s.keys, op.args[0])
		return result{text: "ok"}
	}
	events, err := parseEvents(op.args[1])
	if err == nil {
		err = s.checkInterest(events)
	}
	if err == nil && op.verb == "register" {
		err = s.register(op.args[0], events, got.text == "ok")
	} else if err == nil {
		err = s.modify(op.args[0], events)
	}
	return result{text: errorText(err)}
}

func (s *modelSelector) checkInterest(events selectors.Event) error {
	const interest = selectors.EventRead | selectors.EventWrite | selectors.EventPriority | selectors.EventReadClosed
	switch {
	case events&^(interest|selectors.OneShot) != 0 || events&interest == 0:
		return selectors.ErrInvalidEvents
	case events&selectors.EventReadClosed != 0 && s.have&selectors.FeatureReadClosed == 0,
		events&selectors.EventPriority != 0 && s.have&selectors.FeaturePriority == 0:
		return errors.ErrUnsupported
	}
	return nil
}

// register succeeds if there is no key or the key's file has gone from the
// number. How a backend knows differs: poll and select compare what fstat(2)
// tells, epoll has the file itself in its set.
func (s *modelSelector) register(name string, events selectors.Event, did bool) error {
	file, old := s.world.files[name], s.keys[name]
	if file == nil {
		return unix.EBADF
	}
	if old != nil {
		switch {
		case s.byNumber:
			if !old.invalid && old.identity == file.identity() {
				return selectors.ErrRegistered
			}
		case s.always(file):
			if s.always(old.file) {
				return selectors.ErrRegistered
			}
		case old.file == file:
			// If it went away and came back, the set may have forgotten it.
			if !old.left() || !did {
				return selectors.ErrRegistered
			}
		case old.identity == file.identity() && !did:
			// A ghost of this very file, back under its number: the set knows
			// it, and fstat(2) cannot tell two anonymous files apart.
			return selectors.ErrRegistered
		}
	}
	s.keys[name] = s.newKey(events, file)
	return nil
}

// modify asks the kernel only where there is something to change.
func (s *modelSelector) modify(name string, events selectors.Event) error {
	k, file := s.keys[name], s.world.files[name]
	switch {
	case k == nil:
		return selectors.ErrNotRegistered
	case events == k.events && !k.silent:
		return nil
	case file == nil:
		return unix.EBADF
	}
	s.keys[name] = s.newKey(events, file)
	return nil
}

// selectNow is what Select(0) should report. Where there is a choice it
// follows what was observed, if that is one of the choices.
func (s *modelSelector) selectNow(got report) report {
	want := report{}
	for name, k := range s.keys {
		if k.silent {
			continue
		}
		if end, ok := k.file.(modelReadEnd); ok && s.kqueue && !k.left() && end.writers == 0 &&
			k.events&(selectors.EventRead|selectors.EventReadClosed|selectors.OneShot) == selectors.EventReadClosed|selectors.OneShot {
			k.silent = true // has told a hint that nobody promised, for the end it was asked for
			continue
		}
		var choices []selectors.Event // 0 is: not reported
		now := s.world.files[name]
		switch {
		case s.byNumber && now == nil:
			choices = append(choices, selectors.EventError|selectors.EventInvalid)
		case s.byNumber:
			choices = append(choices, s.told(k, now))
		case k.always:
			// The kernel does not watch it; the selector looks what has the
			// number now.
			if k.events&(selectors.EventRead|selectors.EventWrite) != 0 && (now == nil || now.identity() != k.file.identity()) {
				k.silent = true
				continue
			}
			choices = append(choices, s.told(k, k.file))
		case !k.left():
			choices = append(choices, s.told(k, k.file))
		default:
			// The number left the file. Nobody told the kernel, and nobody
			// tells us: until the key is replaced or modified it may be
			// silent, or tell of any file that is or was under the number, as
			// long as a duplicate keeps that open.
			choices = append(choices, 0)
			for _, f := range append(k.later, k.file) {
				if f != nil && s.world.refs[f] > 0 {
					choices = append(choices, s.told(k, f))
				}
			}
		}
		for i, events := range choices {
			if !k.news(events) {
				choices[i] = 0
			}
		}
		if k.muted && s.byNumber {
			choices = append(choices, 0) // such are looked at every 100 ms only
		}
		events := choices[0]
		if slices.Contains(choices, got[name]) {
			events = got[name]
		}
		if events != 0 {
			want[name] = events
			k.reported(events)
		}
	}
	return want
}

const modelHints = selectors.EventReadClosed | selectors.EventHangup | selectors.EventError | selectors.EventInvalid

// told is what a selector can tell of a file under an interest.
func (s *modelSelector) told(k *modelKey, f modelFile) (events selectors.Event) {
	mask := f.mask()
	if s.always(f) {
		return k.events & (selectors.EventRead | selectors.EventWrite)
	}
	for _, m := range []struct {
		mask  int16
		event selectors.Event
	}{
		{unix.POLLIN | unix.POLLHUP | unix.POLLERR, selectors.EventRead},
		{unix.POLLOUT | unix.POLLERR, selectors.EventWrite},
		{unix.POLLRDHUP, selectors.EventReadClosed},
		{unix.POLLHUP, selectors.EventHangup},
		{unix.POLLERR, selectors.EventError},
	} {
		if mask&m.mask != 0 {
			events |= m.event
		}
	}
	if k.events&(selectors.EventRead|selectors.EventReadClosed) == 0 {
		events &^= selectors.EventReadClosed // nobody asked the kernel
	}
	return toldEvents(events&(k.events|modelHints), s.have)
}

// news reports whether events are to be reported: not if there is nothing of
// the interest in them and the hints were told before.
func (k *modelKey) news(events selectors.Event) bool {
	return events&k.events != 0 || events&^k.told != 0
}

func (k *modelKey) reported(events selectors.Event) {
	switch {
	case events&selectors.EventInvalid != 0:
		k.silent, k.invalid = true, true
	case k.events&selectors.OneShot != 0:
		k.silent = true
	case events&k.events != 0:
		k.muted, k.told = false, 0
	default:
		k.muted = true
		k.told |= events & modelHints
	}
}

// A failure is a sequence that went wrong with its last operation.
type failure struct {
	script string // the story, with what was expected at the end
	what   string
}

// tryOperations runs a sequence over all contenders and the model.
func tryOperations(ops []operation, kinds []contenderKind) (*failure, error) {
	w, err := newWorld(kinds)
	if err != nil {
		return nil, err
	}
	defer w.close()
	m := newModelWorld(w.contenders)
	var done []operation
	var results [][]result
	ops = append(ops[:len(ops):len(ops)], operation{verb: "select"}, operation{verb: "keys"})
	for _, op := range ops {
		if !m.knows(op) {
			continue
		}
		got, err := w.do(op)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", op, err)
		}
		want, right := m.expect(op, got)
		done, results = append(done, op), append(results, want)
		if right {
			continue
		}
		f := &failure{}
		for i, c := range w.contenders {
			if got[i].String() != want[i].String() {
				f.what += fmt.Sprintf("%v: %s: %v, the model says %v\n", op, c.name, got[i], want[i])
			}
		}
		for i, op := range done {
			f.script += scribe{w.contenders}.line(op, results[i]) + "\n"
		}
		return f, nil
	}
	return nil, nil
}

// shrink leaves out of a sequence that fails what can be left out, in ever
// smaller pieces (Zeller's delta debugging), and then simplifies what is left.
func shrink(ops []operation, fails func([]operation) bool) []operation {
	try := func(fewer []operation) bool {
		if !fails(fewer) {
			return false
		}
		ops = fewer
		return true
	}
	for {
		before := len(ops)
		for size := max(len(ops)/2, 1); size > 0; size /= 2 {
			for at := 0; at < len(ops); {
				end := min(at+size, len(ops))
				if !try(slices.Concat(ops[:at], ops[end:])) {
					at = end
				}
			}
		}
		if len(ops) == before {
			break
		}
	}
	for i := range ops {
		if ops[i].verb != "register" && ops[i].verb != "modify" {
			continue
		}
		for bit := range strings.SplitSeq(ops[i].args[1], "|") {
			events, _ := parseEvents(ops[i].args[1])
			fewer := slices.Clone(ops)
			fewer[i] = operation{ops[i].verb, []string{ops[i].args[0], (events &^ eventsByName[bit]).String()}}
			try(fewer)
		}
	}
	return ops
}

// compareWithModel runs a sequence, and makes a story of it if it fails.
func compareWithModel(t *testing.T, again string, ops []operation, kinds []contenderKind) {
	t.Helper()
	f, err := tryOperations(ops, kinds)
	if err != nil {
		t.Fatal(err)
	}
	if f == nil {
		return
	}
	ops = shrink(ops, func(ops []operation) bool {
		f, err := tryOperations(ops, kinds)
		return f != nil && err == nil
	})
	if small, err := tryOperations(ops, kinds); err == nil && small != nil {
		f = small
	}
	t.Fatalf("%s\nA script for testdata/scripts, as the model would have it:\n\n%s\n%s", f.what, f.script, again)
}

// chooser makes a sequence of choices: numbers from 0 to below n. Any choices
// make a sequence of operations that can be run.
type chooser func(n int) int

const modelNames = "abcdefgh"

// modelInterests are what sequences register. The last few are refused. (The
// order of all these lists is part of the seeds of FuzzBackendsAgree.)
var modelInterests = []selectors.Event{
	selectors.EventRead,
	selectors.EventWrite,
	selectors.EventRead | selectors.EventWrite,
	selectors.EventPriority,
	selectors.EventRead | selectors.OneShot,
	selectors.EventWrite | selectors.OneShot,
	selectors.EventRead | selectors.EventWrite | selectors.OneShot,
	selectors.EventPriority | selectors.OneShot,
	selectors.EventRead | selectors.EventPriority,
	selectors.EventWrite | selectors.EventPriority,
	selectors.EventReadClosed,
	selectors.EventRead | selectors.EventReadClosed,
	selectors.EventWrite | selectors.EventReadClosed | selectors.OneShot,
	0,
	selectors.OneShot,
	selectors.EventRead | selectors.EventHangup,
}

type modelVerb struct{ verb, args string }

// modelVerbs are the verbs of a random sequence, more than once what should
// come more often, with their arguments: f a file, e an interest, h how to
// shut down.
var modelVerbs = []modelVerb{
	{"select", ""}, {"select", ""}, {"select", ""}, {"select", ""}, {"select", ""}, {"select", ""},
	{"register", "fe"}, {"register", "fe"}, {"register", "fe"}, {"register", "fe"}, {"register", "fe"},
	{"modify", "fe"}, {"modify", "fe"}, {"modify", "fe"},
	{"unregister", "f"}, {"unregister", "f"},
	{"pipe", "ff"}, {"pipe", "ff"},
	{"unix", "ff"}, {"unix", "ff"},
	{"eventfd", "f"}, {"device", "f"},
	{"close", "f"}, {"close", "f"}, {"close", "f"},
	{"dup2", "ff"}, {"dup2", "ff"},
	{"write", "f"}, {"write", "f"},
	{"read", "f"}, {"fill", "f"}, {"drain", "f"},
	{"shutdown", "fh"}, {"wake", ""}, {"keys", ""},
}

var modelShutdowns = []string{"read", "write", "both"}

// operation makes the next one, with the first names only.
func (choose chooser) operation(names int) operation {
	v := modelVerbs[choose(len(modelVerbs))]
	op := operation{verb: v.verb}
	for _, arg := range v.args {
		switch arg {
		case 'f':
			n := choose(names)
			op.args = append(op.args, modelNames[n:n+1])
		case 'e':
			op.args = append(op.args, modelInterests[choose(len(modelInterests))].String())
		case 'h':
			op.args = append(op.args, modelShutdowns[choose(len(modelShutdowns))])
		}
	}
	if op.verb == "device" {
		op.args = append(op.args, "null")
	}
	return op
}

var seed = flag.Int64("seed", 0, "the random sequence to run, or -1 for new ones; 0 is the same thousand each time")

// TestModel runs random sequences over all backends and the model.
func TestModel(t *testing.T) {
	first, count := *seed, 1
	switch *seed {
	case -1:
		first, count = time.Now().UnixNano(), 1000
	case 0:
		count = 1000
	}
	if testing.Short() {
		count = min(count, 100)
	}
	for n := first; n < first+int64(count); n++ {
		r := rand.New(rand.NewPCG(uint64(n), 0))
		// With few names there is much to do for each number.
		names := 2 + r.IntN(len(modelNames)-1)
		var ops []operation
		for range 10 + r.IntN(90) {
			ops = append(ops, chooser(r.IntN).operation(names))
		}
		compareWithModel(t, fmt.Sprintf("again with: go test -run TestModel -seed %d", n), ops, contenderKinds())
	}
}

// TestShrink checks that a failure comes out as small as it can be.
func TestShrink(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var ops []operation
	for range 60 {
		ops = append(ops, chooser(r.IntN).operation(len(modelNames)))
	}
	ops[10] = operation{"register", []string{"a", "Read|Write|OneShot"}}
	ops[40] = operation{"close", []string{"a"}}
	ops = shrink(ops, func(ops []operation) bool {
		seen := 0
		for _, op := range ops {
			if seen == 0 && op.verb == "register" && op.args[0] == "a" && strings.Contains(op.args[1], "Write") {
				seen = 1
			}
			if seen == 1 && op.verb == "close" && op.args[0] == "a" {
				seen = 2
			}
		}
		return seen == 2
	})
	if got := fmt.Sprint(ops); got != "[register a Write close a]" {
		t.Errorf("shrunk to %s", got)
	}
}
