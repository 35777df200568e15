//go:build unix

package eventloop_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"goselectors/eventloop"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// The random sequences against the model of watchers_model_test.go. A sequence is
// a list of bytes: each operation takes two of them, its verb and its argument. The
// functions that the loop calls take their operations from the same list.

var watcherSequences = flag.Int("watcher-sequences", 300, "random sequences of TestWatchersModel for each kind of loop")

// An operation of a sequence, on file i; arg is the rest of the argument.
type watcherVerb struct {
	name string
	do   func(r *watcherRun, i, arg int)
}

var watcherVerbs []watcherVerb

func init() { // not an initializer, because the verbs use the list
	watcherVerbs = []watcherVerb{
		{"add reader", func(r *watcherRun, i, _ int) { r.add(i, modelReading, false) }},
		{"add writer", func(r *watcherRun, i, _ int) { r.add(i, modelWriting, false) }},
		{"once readable", func(r *watcherRun, i, _ int) { r.add(i, modelReading, true) }},
		{"once readable again", func(r *watcherRun, i, _ int) { r.add(i, modelReading, true) }},
		{"once writable", func(r *watcherRun, i, _ int) { r.add(i, modelWriting, true) }},
		{"once writable again", func(r *watcherRun, i, _ int) { r.add(i, modelWriting, true) }},
		{"remove reader", func(r *watcherRun, i, _ int) {
			r.same("RemoveReader", r.loop.RemoveReader(r.files[i].object()), r.model.removePermanent(r.model.files[i], modelReading))
		}},
		{"remove writer", func(r *watcherRun, i, _ int) {
			r.same("RemoveWriter", r.loop.RemoveWriter(r.files[i].object()), r.model.removePermanent(r.model.files[i], modelWriting))
		}},
		{"cancel", func(r *watcherRun, i, arg int) {
			if len(r.waiters) == 0 {
				return
			}
			w := r.waiters[len(r.waiters)-1-arg%min(len(r.waiters), 4)]
			r.same("Cancel", w.real.Cancel(), r.model.cancel(w.model))
		}},
		{"unregister", func(r *watcherRun, i, _ int) {
			_, err := r.loop.Unregister(r.files[i].object())
			r.same("Unregister", err == nil, r.model.unregister(r.model.files[i]))
		}},
		{"register", func(r *watcherRun, i, _ int) {
			_, err := r.loop.Register(r.files[i].object(), read, func(any, selectors.Event) { r.fail("a callback of Register was called") })
			r.same("Register", errors.Is(err, selectors.ErrRegistered), r.model.files[i].isRegistered())
			if err == nil {
				_, err = r.loop.Unregister(r.files[i].object())
				check(err)
			}
		}},
		{"replace", func(r *watcherRun, i, _ int) {
			if r.model.files[i].isRegistered() {
				_, err := r.loop.Replace(r.files[i].object(), write, func(any, selectors.Event) {})
				r.same("Replace", errors.Is(err, selectors.ErrRegistered), true)
			}
		}},
		{"reuse the number for a reader", func(r *watcherRun, i, _ int) { r.reuse(i); r.add(i, modelReading, false) }},
		{"reuse the number for a write waiter", func(r *watcherRun, i, _ int) { r.reuse(i); r.add(i, modelWriting, true) }},
		{"reuse the number for a callback", func(r *watcherRun, i, _ int) {
			r.reuse(i)
			must(r.loop.Register(r.files[i].object(), read, func(any, selectors.Event) { r.fail("a callback of Register was called") }))
			must(r.loop.Unregister(r.files[i].object()))
		}},
		{"send", func(r *watcherRun, i, _ int) { r.files[i].send(); r.setReady(i) }},
		{"receive", func(r *watcherRun, i, _ int) { r.files[i].receive(); r.setReady(i) }},
		{"fill", func(r *watcherRun, i, _ int) { r.files[i].fill(); r.setReady(i) }},
		{"make room", func(r *watcherRun, i, _ int) { r.files[i].makeRoom(); r.setReady(i) }},
		{"the peer closes", func(r *watcherRun, i, _ int) { r.files[i].closePeer(); r.setReady(i) }},
		{"panic", func(r *watcherRun, i, _ int) {
			if r.calling {
				panic(errWatcherPanic)
			}
		}},
		{"turn", func(r *watcherRun, i, _ int) { r.turn() }},
		{"turn again", func(r *watcherRun, i, _ int) { r.turn() }},
		{"and again", func(r *watcherRun, i, _ int) { r.turn() }},
	}
}

var errWatcherPanic = errors.New("panic of a watcher")

// A pairFile is one end of a pair of sockets, and what can be done to it.
type pairFile struct {
	fd, peer   int
	byObject   *file // nil: the file object is the number
	data, full bool
	peerClosed bool
}

func (f *pairFile) object() any {
	if f.byObject != nil {
		return f.byObject
	}
	return f.fd
}

func (f *pairFile) send() {
	if !f.peerClosed {
		must(retryEINTR(func() (int, error) { return unix.Write(f.peer, []byte("x")) }))
		f.data = true
	}
}

func (f *pairFile) receive() {
	drainFD(f.fd)
	f.data = false
}

func (f *pairFile) fill() {
	if f.peerClosed {
		return
	}
	for f.full = true; ; {
		if _, err := retryEINTR(func() (int, error) { return unix.Write(f.fd, make([]byte, 4096)) }); err != nil {
			return
		}
	}
}

func (f *pairFile) makeRoom() {
	if !f.peerClosed {
		drainFD(f.peer)
	}
	f.full = false
}

func (f *pairFile) closePeer() {
	if !f.peerClosed {
		check(unix.Close(f.peer))
	}
	f.peerClosed = true
}

// drainFD reads all that a non-blocking descriptor has.
func drainFD(fd int) {
	for buf := make([]byte, 1<<16); ; {
		if n, err := retryEINTR(func() (int, error) { return unix.Read(fd, buf) }); n <= 0 || err != nil {
			return
		}
	}
}

// retryEINTR repeats a system call that a signal has interrupted.
func retryEINTR(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); err != unix.EINTR {
			return n, err
		}
	}
}

// A watcherRun is one sequence on one loop.
type watcherRun struct {
	t       testing.TB
	loop    *eventloop.Loop
	model   watchersModel
	files   []*pairFile
	input   []byte
	trace   []string
	waiters []modelWaiter
	calling bool
	failed  bool
	handled bool // the loop has a panic handler
}

type modelWaiter struct {
	real  *eventloop.Waiter
	model *modelWatcher
}

const watcherFiles = 3

// runWatcherSequence runs a sequence and reports the first difference.
func runWatcherSequence(t testing.TB, k loopKind, input []byte) {
	t.Helper()
	r := &watcherRun{t: t, input: input}
	var opts []eventloop.Option
	if len(input)%2 == 1 {
		r.handled = true
		opts = append(opts, eventloop.WithPanicHandler(func(p eventloop.Panic) {
			if p.Value != errWatcherPanic {
				panic(p.Value)
			}
		}))
	}
	sel := must(k.New())
	r.loop = must(eventloop.New(append(opts, eventloop.WithSelector(sel))...))
	defer func() {
		r.loop.Close()
		for _, f := range r.files {
			unix.Close(f.fd)
			f.closePeer()
		}
	}()
	for i := range watcherFiles {
		p := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0))
		r.files = append(r.files, newPairFile(p, i == 1))
		r.model.files = append(r.model.files, &modelFile{name: fmt.Sprint("file ", i), ready: [2]bool{modelWriting: true}})
	}
	for len(r.input) > 0 && !r.failed {
		r.step()
	}
	r.turn()
	r.turn()
	for i := range r.files { // a file without watchers has no key
		_, err := r.loop.Selector().Key(r.files[i].object())
		r.same("Key", err == nil, r.model.files[i].isRegistered())
	}
}

func newPairFile(p [2]int, byObject bool) *pairFile {
	check(unix.SetNonblock(p[0], true))
	check(unix.SetNonblock(p[1], true))
	f := &pairFile{fd: p[0], peer: p[1]}
	if byObject {
		f.byObject = &file{fd: p[0]}
	}
	return f
}

// step does one operation.
func (r *watcherRun) step() {
	if len(r.input) < 2 || r.failed {
		r.input = nil
		return
	}
	verb, arg := watcherVerbs[int(r.input[0])%len(watcherVerbs)], int(r.input[1])
	r.input = r.input[2:]
	r.trace = append(r.trace, fmt.Sprintf("%s, file %d", verb.name, arg%watcherFiles))
	verb.do(r, arg%watcherFiles, arg/watcherFiles)
}

func (r *watcherRun) fail(format string, args ...any) {
	if !r.failed {
		r.failed = true
		r.trace = append(r.trace, fmt.Sprintf(format, args...))
		for _, line := range r.trace {
			r.t.Log(line)
		}
		r.t.Errorf(format, args...)
	}
}

func (r *watcherRun) same(what string, got, want bool) {
	if got != want {
		r.fail("%s: %v, want %v", what, got, want)
	}
}

// add adds a watcher. When the loop calls it, it does up to three operations.
func (r *watcherRun) add(i, direction int, once bool) {
	l, object := r.loop, r.files[i].object()
	var watcher *modelWatcher
	fn := func(fileobj any, events selectors.Event) {
		r.trace = append(r.trace, fmt.Sprint("  called: ", watcher))
		own, other := read, write
		if direction == modelWriting {
			own, other = write, read
		}
		if fileobj != object || events&own == 0 || events&other != 0 {
			r.fail("%v got %v, %v", watcher, fileobj, events)
		}
		if err := r.model.call(watcher); err != nil {
			r.fail("%v", err)
		}
		r.calling = true
		defer func() { r.calling = false }()
		if len(r.input) > 0 {
			n := int(r.input[0]) % 4
			r.input = r.input[1:]
			for range n {
				r.step()
			}
		}
	}
	var err error
	var waiter *eventloop.Waiter
	switch {
	case once && direction == modelReading:
		waiter, err = l.OnceReadable(object, fn)
	case once:
		waiter, err = l.OnceWritable(object, fn)
	case direction == modelReading:
		err = l.AddReader(object, fn)
	default:
		err = l.AddWriter(object, fn)
	}
	if err != nil {
		r.fail("%v", err)
		return
	}
	watcher = r.model.add(r.model.files[i], direction, once)
	if once {
		r.waiters = append(r.waiters, modelWaiter{waiter, watcher})
	}
}

// reuse closes a file and gives its number to another one. The watchers of the old
// one end when the new one is added.
func (r *watcherRun) reuse(i int) {
	f := r.files[i]
	f.closePeer()
	p := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0))
	check(dup2(p[0], f.fd))
	check(unix.Close(p[0]))
	if f.byObject != nil {
		f.byObject.fd = -1
	}
	r.files[i] = newPairFile([2]int{f.fd, p[1]}, f.byObject != nil)
	r.model.unregister(r.model.files[i])
	for n, report := range r.model.reports {
		if report.file == r.model.files[i] {
			r.model.reports = append(r.model.reports[:n:n], r.model.reports[n+1:]...)
			break
		}
	}
	r.model.files[i] = &modelFile{name: r.model.files[i].name + "'", ready: [2]bool{modelWriting: true}}
}

func (r *watcherRun) setReady(i int) {
	f := r.files[i]
	r.model.files[i].ready = [2]bool{f.data || f.peerClosed, !f.full || f.peerClosed}
}

// turn runs one turn, unless a watcher asks for it.
func (r *watcherRun) turn() {
	if r.calling || r.failed {
		return
	}
	r.model.beginTurn()
	panicked := func() (panicked bool) {
		defer func() {
			if v := recover(); v != nil {
				if panicked = true; v != errWatcherPanic || r.handled {
					r.fail("panicked with %v", v)
				}
			}
		}()
		if _, err := r.loop.RunOnce(0); err != nil {
			r.fail("%v", err)
		}
		return false
	}()
	if r.failed {
		return
	}
	if panicked {
		r.model.unfinished = true
	} else if err := r.model.endTurn(); err != nil {
		r.fail("%v", err)
	}
}

// TestWatchersModel runs random sequences over every kind of loop.
func TestWatchersModel(t *testing.T) {
	for _, k := range loopKinds() {
		t.Run(k.Name, func(t *testing.T) {
			limitTime(t)
			for range *watcherSequences {
				seed := rand.Uint64()
				random := rand.New(rand.NewPCG(seed, 0))
				input := make([]byte, 2+random.IntN(400))
				for i := range input {
					input[i] = byte(random.Uint32())
				}
				runWatcherSequence(t, k, input)
				if t.Failed() {
					t.Fatalf("seed %d: %v", seed, input)
				}
			}
		})
	}
}

// FuzzWaiters is TestWatchersModel with sequences that the fuzzer chooses.
func FuzzWaiters(f *testing.F) {
	for _, seed := range watcherSeeds {
		f.Add(seed.bytes())
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) > 1000 {
			return
		}
		for _, k := range loopKinds() {
			runWatcherSequence(t, k, input)
		}
	})
}

// A watcherSeed is a sequence by the names of its verbs: "verb i" is verb on file
// i, and a number is that of the operations which the function called next does.
type watcherSeed []string

func (s watcherSeed) bytes() (input []byte) {
	for _, op := range s {
		var n, i int
		if _, err := fmt.Sscanf(op, "%d", &n); err == nil {
			input = append(input, byte(n))
			continue
		}
		name := op[:len(op)-2]
		if _, err := fmt.Sscanf(op[len(op)-1:], "%d", &i); err != nil {
			panic(err)
		}
		found := false
		for v, verb := range watcherVerbs {
			if verb.name == name {
				input, found = append(input, byte(v), byte(i)), true
			}
		}
		if !found {
			panic("no verb " + name)
		}
	}
	return input
}

var watcherSeeds = []watcherSeed{
	// A reader and a writer on one connection.
	{"add reader 0", "add writer 0", "send 0", "turn 0", "0", "0", "receive 0", "turn 0", "0"},
	// Three waiters at one readiness, each of which waits again.
	{"once readable 1", "once readable 1", "once readable 1", "send 1", "turn 1", "1", "once readable 1", "1", "once readable 1", "1", "once readable 1", "turn 1"},
	// The reader removes the writer whose call is pending, and adds another.
	{"add reader 0", "add writer 0", "send 0", "turn 0", "2", "remove writer 0", "add writer 0", "turn 0", "0", "0"},
	// A waiter cancels the next one.
	{"once readable 2", "once readable 2", "send 2", "turn 2", "1", "cancel 0", "turn 2"},
	// A waiter panics; the others still run.
	{"once readable 0", "once readable 0", "once writable 0", "send 0", "turn 0", "1", "panic 0", "turn 0", "0", "0"},
	{"once readable 0", "once readable 0", "once writable 0", "send 0", "turn 0", "1", "panic 0", "0", "0", "turn 0", "0"},
	// The number comes back in the call of the old file's reader.
	{"add reader 0", "once writable 0", "send 0", "turn 0", "1", "reuse the number for a write waiter 0", "turn 0", "0"},
	{"once readable 1", "send 1", "turn 1", "1", "reuse the number for a reader 1", "send 1", "turn 1", "0"},
	// The last waiter registers the file.
	{"once readable 0", "send 0", "turn 0", "1", "register 0", "turn 0"},
	// The peer is gone.
	{"once readable 0", "add writer 0", "fill 0", "turn 0", "the peer closes 0", "turn 0", "0", "1", "unregister 0", "turn 0"},
}
