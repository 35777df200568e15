//go:build linux

package comparetest_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// A contender is one selector that runs a sequence of operations side by side
// with the others.
type contender struct {
	selectors.Selector
	name string // of the backend, as in the sections of a script

	mu    sync.Mutex
	keys  map[string]*selectors.SelectorKey // what Register and Modify last returned
	woken bool                              // Wake was called after the last Select
}

// world is what a sequence of operations works on: files under names, and
// contenders that watch them all at the same time. Each name has a descriptor
// number of its own for as long as the world stands, far above the numbers that
// the Go runtime and the other tests get. So `close a` followed by `pipe a b` is
// the story of a number that comes back with another file, and a number that is
// closed stays closed.
type world struct {
	contenders []*contender
	dir        string // for files; empty: none can be made

	mu      sync.Mutex
	base    int
	numbers map[string]int
	kinds   map[string]fileKind
	cmds    map[string]*exec.Cmd

	laters   sync.WaitGroup
	laterErr error // of what ran in the background
	waited   bool  // something ran in the background since the last select
}

// fileKind says what read and write mean for a file.
type fileKind uint8

const (
	bytesFile   fileKind = iota
	counterFile          // eventfd, timerfd: reads and writes are eight bytes
	endlessFile          // takes and gives without end: /dev/null and the like
)

const (
	worldBase  = 900 // the lowest number a world takes
	worldNames = 48  // the most names one world can have
	tooLong    = 10 * time.Second
)

// newWorld opens one contender for each entry of backends.
func newWorld(backends []contenderKind) (*world, error) {
	w := &world{numbers: map[string]int{}, kinds: map[string]fileKind{}, cmds: map[string]*exec.Cmd{}}
	for w.base = worldBase; ; w.base += worldNames {
		free := true
		for n := w.base; n < w.base+worldNames && free; n++ {
			_, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0)
			free = err == unix.EBADF
		}
		if free {
			break
		}
	}
	for _, b := range backends {
		s, err := b.open()
		if err != nil {
			w.close()
			return nil, err
		}
		w.contenders = append(w.contenders, &contender{Selector: s, name: b.name, keys: map[string]*selectors.SelectorKey{}})
	}
	return w, nil
}

// contenderKind makes contenders.
type contenderKind struct {
	name string
	open func() (selectors.Selector, error)
}

// contenderKinds lists all backends, those that wait in several ways once more.
func contenderKinds() (kinds []contenderKind) {
	for _, b := range selectors.Backends() {
		kinds = append(kinds, contenderKind{b.Name, func() (selectors.Selector, error) { return b.New() }})
		if b.Features&selectors.FeatureParked != 0 {
			kinds = append(kinds, contenderKind{b.Name, func() (selectors.Selector, error) {
				return b.New(selectors.WithBlockingWait())
			}})
		}
	}
	return kinds
}

// close closes every selector and every file that is still open.
func (w *world) close() error {
	w.laters.Wait()
	err := w.laterErr
	for _, c := range w.contenders {
		err = errors.Join(err, c.Close())
	}
	for _, n := range w.numbers {
		unix.Close(n)
	}
	for _, cmd := range w.cmds {
		cmd.Process.Kill()
		cmd.Wait()
	}
	return err
}

// number returns the descriptor of a name.
func (w *world) number(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, ok := w.numbers[name]
	if !ok {
		n = w.base + len(w.numbers)
		if len(w.numbers) == worldNames {
			panic("too many names in one script")
		}
		w.numbers[name] = n
	}
	return n
}

// place moves a new file to the number of a name; a file that was there is
// closed by that, in one step, as dup2(2) does.
func (w *world) place(name string, fd int, kind fileKind) error {
	defer unix.Close(fd)
	if err := unix.Dup3(fd, w.number(name), unix.O_CLOEXEC); err != nil {
		return err
	}
	w.setKind(name, kind)
	return nil
}

func (w *world) setKind(name string, kind fileKind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kinds[name] = kind
}

func (w *world) kind(name string) fileKind {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.kinds[name]
}

// A result is what one operation came to for one contender: a batch for those
// that look at the selector, else a text, "ok" or the error's.
type result struct {
	text  string
	batch report
}

func (r result) String() string {
	if r.batch != nil {
		return r.batch.String()
	}
	return r.text
}

// entries is the result in a form for go-cmp to show.
func (r result) entries() any {
	if r.batch != nil {
		return r.batch
	}
	return r.text
}

// A report is what a Select reported, by name.
type report map[string]selectors.Event

// String gives the entries by name, "a Read, b Write|Hangup".
func (b report) String() string {
	if len(b) == 0 {
		return "nothing"
	}
	var entries []string
	for name, events := range b {
		entries = append(entries, name+" "+events.String())
	}
	sort.Strings(entries)
	return strings.Join(entries, ", ")
}

// told is the part of a report that a selector with these features can tell.
func (b report) told(have selectors.Feature) report {
	part := report{}
	for name, events := range b {
		if events = toldEvents(events, have); events != 0 {
			part[name] = events
		}
	}
	return part
}

func toldEvents(events selectors.Event, have selectors.Feature) selectors.Event {
	if events&selectors.EventInvalid != 0 {
		if have&selectors.FeatureInvalid == 0 {
			return 0
		}
		return events
	}
	if have&selectors.FeatureHangup == 0 {
		events &^= selectors.EventHangup | selectors.EventError
	}
	if have&selectors.FeatureReadClosed == 0 {
		events &^= selectors.EventReadClosed
	}
	return events
}

// errorText is how scripts write an error.
func errorText(err error) string {
	var errno unix.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, selectors.ErrRegistered):
		return "already registered"
	case errors.Is(err, selectors.ErrNotRegistered):
		return "not registered"
	case errors.Is(err, selectors.ErrInvalidEvents):
		return "invalid events"
	case errors.Is(err, selectors.ErrInvalidFileObj):
		return "invalid file object"
	case errors.Is(err, selectors.ErrClosed):
		return "selector is closed"
	case errors.Is(err, errors.ErrUnsupported):
		return "not supported"
	case err == io.EOF:
		return "end of file"
	case err == unix.EAGAIN:
		return "would block"
	case errors.As(err, &errno):
		return errno.Error()
	}
	return err.Error()
}

// An operation is one line of a script: a verb and its arguments.
type operation struct {
	verb string
	args []string
}

func (op operation) String() string { return strings.Join(append([]string{op.verb}, op.args...), " ") }

// arg is the i-th argument, or what stands for it if it was left out.
func (op operation) arg(i int, otherwise string) string {
	if i < len(op.args) {
		return op.args[i]
	}
	return otherwise
}

// do runs an operation. The results are one for each contender. The error is
// not a result but says that the operation makes no sense or that the machine
// cannot do it.
func (w *world) do(op operation) ([]result, error) {
	if f, ok := fileVerbs[op.verb]; ok {
		if err := checkArgs(op, f.args); err != nil {
			return nil, err
		}
		return w.all(result{text: errorText(f.do(w, op))}), nil
	}
	f, ok := selectorVerbs[op.verb]
	if !ok {
		return nil, fmt.Errorf("unknown operation %q", op.verb)
	}
	if err := checkArgs(op, f.args); err != nil {
		return nil, err
	}
	return f.do(w, op)
}

// checkArgs counts arguments. The usage names them; what stands in brackets may
// be left out.
func checkArgs(op operation, usage string) error {
	fields := strings.Fields(usage)
	most := len(fields)
	least := most - strings.Count(usage, "[")
	if strings.HasSuffix(usage, "...]") {
		most = 99
	}
	if len(op.args) < least || len(op.args) > most {
		return fmt.Errorf("usage: %s %s", op.verb, usage)
	}
	return nil
}

// all is the results of an operation that has the same one for everybody.
func (w *world) all(r result) []result {
	results := make([]result, len(w.contenders))
	for i := range results {
		results[i] = r
	}
	return results
}

// each is the results of f for every contender, in turn.
func (w *world) each(f func(c *contender) result) []result {
	results := make([]result, len(w.contenders))
	for i, c := range w.contenders {
		results[i] = f(c)
	}
	return results
}

// selectorVerbs are the operations on the selectors: each contender does them.
var selectorVerbs map[string]struct {
	args string
	do   func(w *world, op operation) ([]result, error)
}

func init() { // not in the declaration: `later` runs operations
	type verb = struct {
		args string
		do   func(w *world, op operation) ([]result, error)
	}
	selectorVerbs = map[string]verb{
		"register":   {"FILE EVENTS", (*world).register},
		"modify":     {"FILE EVENTS", (*world).register},
		"unregister": {"FILE", (*world).unregister},
		"select":     {"[TIMEOUT]", (*world).selectAll},
		"keys":       {"", (*world).listKeys},
		"wake":       {"", (*world).wake},
		"quit":       {"", (*world).quit},
		"later":      {"DELAY OPERATION [ARGUMENT...]", (*world).later},
	}
}

func (w *world) register(op operation) ([]result, error) {
	name := op.args[0]
	events, err := parseEvents(op.args[1])
	if err != nil {
		return nil, err
	}
	n := w.number(name)
	return w.each(func(c *contender) result {
		change := c.Register
		if op.verb == "modify" {
			change = c.Modify
		}
		key, err := change(n, events, name)
		if err == nil {
			if key.FD != n || key.Events != events || key.Data != any(name) {
				return result{text: fmt.Sprintf("a wrong key: %+v", key)}
			}
			c.mu.Lock()
			c.keys[name] = key
			c.mu.Unlock()
		}
		return result{text: errorText(err)}
	}), nil
}

func (w *world) unregister(op operation) ([]result, error) {
	name := op.args[0]
	n := w.number(name)
	return w.each(func(c *contender) result {
		key, err := c.Unregister(n)
		if err == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			if key != c.keys[name] {
				return result{text: fmt.Sprintf("a wrong key: %+v", key)}
			}
			delete(c.keys, name)
		}
		return result{text: errorText(err)}
	}), nil
}

// wake is Wake of all.
func (w *world) wake(operation) ([]result, error) {
	return w.each(func(c *contender) result {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.woken = true
		return result{text: errorText(c.Wake())}
	}), nil
}

// quit is Close of all.
func (w *world) quit(operation) ([]result, error) {
	return w.each(func(c *contender) result { return result{text: errorText(c.Close())} }), nil
}

// listKeys gives the interests, as Keys and Len have them.
func (w *world) listKeys(operation) ([]result, error) {
	return w.each(func(c *contender) result { return c.listKeys() }), nil
}

func (c *contender) listKeys() result {
	list, last := report{}, -1
	for key := range c.Keys() {
		name, _ := key.Data.(string)
		if key != c.keys[name] || key.FD <= last {
			return result{text: fmt.Sprintf("a wrong key after descriptor %d: %+v", last, key)}
		}
		last = key.FD
		list[name] = key.Events
	}
	if c.Len() != len(list) {
		return result{text: fmt.Sprintf("Len is %d, but there are %d keys", c.Len(), len(list))}
	}
	return result{batch: list}
}

// later does an operation in a while, in the background; the next select waits
// for it to be done.
func (w *world) later(op operation) ([]result, error) {
	delay, err := time.ParseDuration(op.args[0])
	if err != nil {
		return nil, err
	}
	op = operation{op.args[1], op.args[2:]}
	w.waited = true
	w.laters.Add(1)
	go func() {
		defer w.laters.Done()
		time.Sleep(delay)
		results, err := w.do(op)
		for _, r := range results {
			if r.String() != "ok" {
				err = errors.Join(err, fmt.Errorf("%v, later: %v", op, r))
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.laterErr = errors.Join(w.laterErr, err)
	}()
	return w.all(result{text: "ok"}), nil
}

// selectAll lets all contenders select: in turn if they do not wait, else all
// at the same time.
func (w *world) selectAll(op operation) ([]result, error) {
	var timeout time.Duration
	switch limit := op.arg(0, "0s"); limit {
	case "forever":
		timeout = -1
	default:
		var err error
		if timeout, err = time.ParseDuration(limit); err != nil {
			return nil, err
		}
	}
	if timeout == 0 && !w.waited {
		return w.each(func(c *contender) result {
			ready, err := c.Select(0)
			return c.took(ready, err, true)
		}), nil
	}

	results := make([]result, len(w.contenders))
	errs := make([]error, len(w.contenders))
	var wg sync.WaitGroup
	begun, burnt := time.Now(), processorTime()
	hung := time.AfterFunc(max(timeout, 0)+tooLong, func() {
		for _, c := range w.contenders {
			c.Close()
		}
	})
	for i, c := range w.contenders {
		wg.Add(1)
		go func() {
			defer wg.Done()
			ready, err := c.Select(timeout)
			took := time.Since(begun)
			c.mu.Lock()
			woken := c.woken
			c.mu.Unlock()
			switch {
			case timeout > 0 && took < timeout && len(ready) == 0 && err == nil && !woken:
				errs[i] = fmt.Errorf("%s: Select(%v) came back with nothing after %v", c.name, timeout, took)
			case timeout >= tooLong && took > timeout/2:
				errs[i] = fmt.Errorf("%s: Select(%v) was not woken, it took %v", c.name, timeout, took)
			}
			w.laters.Wait()
			results[i] = c.took(ready, err, !w.waited)
		}()
	}
	wg.Wait()
	w.waited = false
	if !hung.Stop() {
		return nil, errors.New("Select hung")
	}
	// A wait that spins takes a whole processor.
	if took := time.Since(begun); took > 100*time.Millisecond {
		if burnt = processorTime() - burnt; burnt > took/2 {
			errs = append(errs, fmt.Errorf("a wait of %v took %v of processor time", took, burnt))
		}
	}
	return results, errors.Join(append(errs, w.laterErr)...)
}

// processorTime is what the process has used of all processors.
func processorTime() time.Duration {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// took makes a batch of what Select returned. With sure set the keys are
// compared with those that are registered.
func (c *contender) took(ready []selectors.Ready, err error, sure bool) result {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.woken = false
	if err != nil {
		return result{text: errorText(err)}
	}
	b := make(report, len(ready))
	for _, r := range ready {
		name, _ := r.Key.Data.(string)
		switch {
		case sure && r.Key != c.keys[name]:
			return result{text: fmt.Sprintf("a key that is not registered: %+v", r.Key)}
		case b[name] != 0:
			return result{text: fmt.Sprintf("two entries for %s: %v and %v", name, b[name], r.Events)}
		case r.Events == 0:
			return result{text: fmt.Sprintf("an entry without events for %s", name)}
		}
		b[name] = r.Events
	}
	// Hints beyond what Features promises are welcome, but need not be there.
	return result{batch: b.told(c.Features())}
}

var eventsByName = func() map[string]selectors.Event {
	names := map[string]selectors.Event{"0": 0}
	for bit := selectors.Event(1); bit != 0; bit <<= 1 {
		names[bit.String()] = bit
	}
	return names
}()

// parseEvents reads what Event.String writes.
func parseEvents(text string) (events selectors.Event, err error) {
	for name := range strings.SplitSeq(text, "|") {
		bit, ok := eventsByName[name]
		if !ok {
			return 0, fmt.Errorf("unknown event %q", name)
		}
		events |= bit
	}
	return events, nil
}

// fileVerbs are the operations on files. They are done once, whatever the
// number of contenders.
var fileVerbs = map[string]struct {
	args string
	do   func(w *world, op operation) error
}{
	"pipe":     {"FILE FILE", (*world).pipe},
	"unix":     {"FILE FILE", func(w *world, op operation) error { return w.pair(op, unix.SOCK_STREAM) }},
	"dgram":    {"FILE FILE", func(w *world, op operation) error { return w.pair(op, unix.SOCK_DGRAM) }},
	"listen":   {"FILE", (*world).listen},
	"connect":  {"FILE FILE", (*world).connect},
	"accept":   {"FILE FILE", (*world).accept},
	"tcp":      {"FILE FILE", (*world).tcp},
	"socket":   {"FILE", (*world).socket},
	"udp":      {"FILE FILE", (*world).udp},
	"deaf":     {"FILE", (*world).deaf},
	"pty":      {"FILE FILE", (*world).pty},
	"eventfd":  {"FILE", (*world).eventfd},
	"timerfd":  {"FILE DURATION", (*world).timerfd},
	"epollfd":  {"FILE FILE", (*world).epollfd},
	"file":     {"FILE", (*world).file},
	"dir":      {"FILE", (*world).directory},
	"device":   {"FILE PATH", (*world).device},
	"child":    {"FILE", (*world).child},
	"kill":     {"FILE", (*world).kill},
	"reap":     {"FILE", (*world).reap},
	"write":    {"FILE [COUNT]", (*world).write},
	"oob":      {"FILE", (*world).oob},
	"read":     {"FILE [COUNT]", (*world).read},
	"readoob":  {"FILE", (*world).readoob},
	"fill":     {"FILE", (*world).fill},
	"drain":    {"FILE", (*world).drain},
	"shutdown": {"FILE HOW", (*world).shutdown},
	"reset":    {"FILE", (*world).reset},
	"close":    {"FILE", func(w *world, op operation) error { return unix.Close(w.number(op.args[0])) }},
	"dup":      {"FILE FILE", (*world).dup},
	"dup2":     {"FILE FILE", (*world).dup},
	"await":    {"FILE MASK", (*world).await},
	"sleep":    {"DURATION", (*world).sleep},
}

func (w *world) pair(op operation, kind int) error {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	// Room for a few dozen single bytes with the socket still writable, and
	// full after a few pages.
	for _, fd := range fds {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 64<<10); err != nil {
			return err
		}
	}
	return w.placeTwo(op, fds[0], fds[1])
}

func (w *world) placeTwo(op operation, a, b int) error {
	return errors.Join(w.place(op.args[0], a, bytesFile), w.place(op.args[1], b, bytesFile))
}

// pipe makes a pipe that holds two pages, so that it is full soon.
func (w *world) pipe(op operation) error {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return err
	}
	if _, err := unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, pipeSlots*os.Getpagesize()); err != nil {
		return err
	}
	return w.placeTwo(op, fds[0], fds[1])
}

const pipeSlots = 2

func newSocket(kind int) (int, error) {
	return unix.Socket(unix.AF_INET, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

func newBoundSocket(kind int) (int, error) {
	fd, err := newSocket(kind)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	return fd, err
}

// socket makes a TCP socket that has an address and nothing else.
func (w *world) socket(op operation) error {
	fd, err := newBoundSocket(unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	return w.place(op.args[0], fd, bytesFile)
}

func (w *world) listen(op operation) error {
	fd, err := newBoundSocket(unix.SOCK_STREAM)
	if err == nil {
		err = unix.Listen(fd, 16)
	}
	if err != nil {
		return err
	}
	return w.place(op.args[0], fd, bytesFile)
}

func (w *world) connect(op operation) error {
	to, err := unix.Getsockname(w.number(op.args[1]))
	if err != nil {
		return err
	}
	fd, err := newSocket(unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	if err := unix.Connect(fd, to); err != nil && err != unix.EINPROGRESS {
		return err
	}
	return w.place(op.args[0], fd, bytesFile)
}

func (w *world) accept(op operation) error {
	if err := pollFor(w.number(op.args[1]), unix.POLLIN); err != nil {
		return err
	}
	fd, _, err := unix.Accept4(w.number(op.args[1]), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		return err
	}
	return w.place(op.args[0], fd, bytesFile)
}

// tcp makes an established connection.
func (w *world) tcp(op operation) error {
	const listener = "(listener)"
	client, server := op.args[0], op.args[1]
	return errors.Join(
		w.listen(operation{"listen", []string{listener}}),
		w.connect(operation{"connect", []string{client, listener}}),
		w.accept(operation{"accept", []string{server, listener}}),
		unix.Close(w.number(listener)),
		pollFor(w.number(client), unix.POLLOUT),
	)
}

// udp makes two sockets that are connected to each other.
func (w *world) udp(op operation) error {
	var fds [2]int
	var names [2]unix.Sockaddr
	for i := range fds {
		var err error
		if fds[i], err = newBoundSocket(unix.SOCK_DGRAM); err != nil {
			return err
		}
		if names[i], err = unix.Getsockname(fds[i]); err != nil {
			return err
		}
	}
	return errors.Join(unix.Connect(fds[0], names[1]), unix.Connect(fds[1], names[0]), w.placeTwo(op, fds[0], fds[1]))
}

// deaf makes a UDP socket that is connected to a port where nobody listens.
func (w *world) deaf(op operation) error {
	gone, err := newBoundSocket(unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	to, err := unix.Getsockname(gone)
	if err != nil {
		return err
	}
	fd, err := newBoundSocket(unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	return errors.Join(unix.Connect(fd, to), unix.Close(gone), w.place(op.args[0], fd, bytesFile))
}

// pty makes a pseudo-terminal in raw mode: master, slave.
func (w *world) pty(op operation) error {
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return err
	}
	n, err := unix.IoctlGetUint32(master, unix.TIOCGPTN) // 32 bits, in the machine's order
	if err != nil {
		return err
	}
	slave, err := unix.Open("/dev/pts/"+strconv.Itoa(int(n)), unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	mode, err := unix.IoctlGetTermios(slave, unix.TCGETS)
	if err != nil {
		return err
	}
	mode.Iflag, mode.Oflag, mode.Lflag = 0, 0, 0
	mode.Cc[unix.VMIN], mode.Cc[unix.VTIME] = 1, 0
	return errors.Join(unix.IoctlSetTermios(slave, unix.TCSETS, mode), w.placeTwo(op, master, slave))
}

func (w *world) eventfd(op operation) error {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return err
	}
	return w.place(op.args[0], fd, counterFile)
}

// timerfd makes a timer that goes off once.
func (w *world) timerfd(op operation) error {
	d, err := time.ParseDuration(op.args[1])
	if err != nil {
		return err
	}
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return err
	}
	err = unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}, nil)
	return errors.Join(err, w.place(op.args[0], fd, counterFile))
}

// epollfd makes an epoll set of somebody else's that watches a file for reading.
func (w *world) epollfd(op operation) error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	err = unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, w.number(op.args[1]), &unix.EpollEvent{Events: unix.EPOLLIN})
	return errors.Join(err, w.place(op.args[0], fd, bytesFile))
}

func (w *world) file(op operation) error {
	fd, err := unix.Open(w.dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil { // not every file system has nameless files
		fd, err = unix.Open(w.dir+"/"+op.args[0], unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	}
	if err != nil {
		return err
	}
	return w.place(op.args[0], fd, endlessFile)
}

func (w *world) directory(op operation) error {
	fd, err := unix.Open(w.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return w.place(op.args[0], fd, endlessFile)
}

func (w *world) device(op operation) error {
	fd, err := unix.Open("/dev/"+op.args[1], unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return w.place(op.args[0], fd, endlessFile)
}

// child starts a process and names its pidfd.
func (w *world) child(op operation) error {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		return err
	}
	w.cmds[op.args[0]] = cmd
	fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	if err != nil {
		return err
	}
	return w.place(op.args[0], fd, endlessFile)
}

func (w *world) kill(op operation) error { return w.cmds[op.args[0]].Process.Kill() }

func (w *world) reap(op operation) error {
	var exit *exec.ExitError
	if err := w.cmds[op.args[0]].Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// io is one read or write: again if a signal came between.
func (w *world) io(name string, p []byte, call func(fd int, p []byte) (int, error)) (n int, err error) {
	for {
		if n, err = call(w.number(name), p); err != unix.EINTR {
			return n, err
		}
	}
}

// size is how much a read or write of the script moves.
func (w *world) size(op operation) (int, error) {
	if w.kind(op.args[0]) == counterFile {
		return 8, nil
	}
	return strconv.Atoi(op.arg(1, "1"))
}

func (w *world) write(op operation) error {
	n, err := w.size(op)
	if err != nil {
		return err
	}
	p := make([]byte, n)
	if w.kind(op.args[0]) == counterFile {
		binary.NativeEndian.PutUint64(p, 1)
	}
	_, err = w.io(op.args[0], p, unix.Write)
	return err
}

func (w *world) read(op operation) error {
	n, err := w.size(op)
	if err != nil {
		return err
	}
	n, err = w.io(op.args[0], make([]byte, n), unix.Read)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return err
}

func (w *world) oob(op operation) error {
	return unix.Sendto(w.number(op.args[0]), []byte{'!'}, unix.MSG_OOB, nil)
}

func (w *world) readoob(op operation) error {
	_, _, err := unix.Recvfrom(w.number(op.args[0]), make([]byte, 1), unix.MSG_OOB)
	return err
}

var chunk = make([]byte, 64<<10)

// fill writes until there is no room.
func (w *world) fill(op operation) error {
	name, p := op.args[0], chunk[:os.Getpagesize()]
	if w.kind(name) == counterFile {
		if err := w.drain(op); err != nil {
			return err
		}
		p = make([]byte, 8)
		binary.NativeEndian.PutUint64(p, ^uint64(1))
	}
	for {
		switch _, err := w.io(name, p, unix.Write); {
		case err == unix.EAGAIN:
			return nil
		case err != nil || w.kind(name) == endlessFile:
			return err
		}
	}
}

// drain reads until there is nothing left.
func (w *world) drain(op operation) error {
	p := make([]byte, len(chunk))
	for {
		switch n, err := w.io(op.args[0], p, unix.Read); {
		case err == unix.EAGAIN:
			return nil
		case err != nil:
			return err
		case n == 0:
			return io.EOF
		}
	}
}

func (w *world) shutdown(op operation) error {
	how, ok := map[string]int{"read": unix.SHUT_RD, "write": unix.SHUT_WR, "both": unix.SHUT_RDWR}[op.args[1]]
	if !ok {
		return fmt.Errorf("shutdown of %q", op.args[1])
	}
	return unix.Shutdown(w.number(op.args[0]), how)
}

// reset closes a TCP connection so that the peer gets an RST.
func (w *world) reset(op operation) error {
	n := w.number(op.args[0])
	err := unix.SetsockoptLinger(n, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	return errors.Join(err, unix.Close(n))
}

func (w *world) dup(op operation) error {
	from, to := w.number(op.args[0]), w.number(op.args[1])
	if op.verb == "dup" {
		if _, err := unix.FcntlInt(uintptr(to), unix.F_GETFD, 0); err == nil {
			return fmt.Errorf("%s is open: use dup2", op.args[1])
		}
	}
	if err := unix.Dup3(from, to, unix.O_CLOEXEC); err != nil {
		return err
	}
	w.setKind(op.args[1], w.kind(op.args[0]))
	return nil
}

// await waits until the kernel has got as far as the story: what goes over a
// network, even over loopback, need not arrive at once.
func (w *world) await(op operation) error {
	var mask int16
	for name := range strings.SplitSeq(op.args[1], "|") {
		bit, ok := map[string]int16{"IN": unix.POLLIN, "OUT": unix.POLLOUT, "PRI": unix.POLLPRI,
			"RDHUP": unix.POLLRDHUP, "HUP": unix.POLLHUP, "ERR": unix.POLLERR}[name]
		if !ok {
			return fmt.Errorf("unknown poll event %q", name)
		}
		mask |= bit
	}
	return pollFor(w.number(op.args[0]), mask)
}

// pollFor waits until poll(2) reports all of mask.
func pollFor(fd int, mask int16) error {
	for begun := time.Now(); time.Since(begun) < tooLong; time.Sleep(time.Millisecond) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: mask}}
		if _, err := unix.Poll(fds, 0); err != nil && err != unix.EINTR {
			return err
		}
		if fds[0].Revents&mask == mask {
			return nil
		}
	}
	return fmt.Errorf("poll(2) does not report %#x", mask)
}

func (w *world) sleep(op operation) error {
	d, err := time.ParseDuration(op.args[0])
	time.Sleep(d)
	return err
}

// TestSideBySide compares what all backends say of one file in one state, with
// every interest: whatever the state, they tell the same but for what their
// features say they cannot.
func TestSideBySide(t *testing.T) {
	states := []string{
		"pipe a b", "pipe b a",
		"pipe a b; write b", "pipe a b; write b; close b", "pipe a b; close b",
		"pipe b a; fill a", "pipe b a; fill a; close b", "pipe b a; close b",
		"unix a b", "unix a b; write b", "unix a b; fill a", "unix a b; shutdown a read", "unix a b; shutdown a write",
		"unix a b; shutdown a both", "unix a b; shutdown b write", "unix a b; shutdown b read", "unix a b; shutdown b both",
		"unix a b; close b", "unix a b; write b; close b", "unix a b; write a; close b",
		"dgram a b", "dgram a b; write b", "dgram a b; close b",
		"socket a", "socket b; connect a b; await a ERR", "listen a", "listen a; connect b a; await a IN",
		"tcp a b", "tcp a b; write b; await a IN", "tcp a b; oob b; await a PRI", "tcp a b; shutdown b write; await a RDHUP",
		"tcp a b; shutdown a write", "tcp a b; shutdown a both", "tcp a b; close b; await a RDHUP", "tcp a b; reset b; await a ERR",
		"listen c; connect b c; accept a c; fill a",
		"udp a b", "udp a b; write b; await a IN", "deaf a; write a; await a ERR",
		"pty a b", "pty a b; write b; await a IN", "pty b a", "pty b a; write b; await a IN", "pty a b; close b; await a HUP", "pty b a; close b; await a HUP",
		"eventfd a", "eventfd a; write a", "eventfd a; fill a",
		"timerfd a 1h", "timerfd a 1ns; await a IN",
		"pipe b c; epollfd a b", "pipe b c; epollfd a b; write c",
		"child a", "child a; kill a; await a IN", "child a; kill a; reap a",
		"file a", "dir a", "device a null", "device a zero", "device a urandom",
		"pipe a b; close a",
	}
	interests := []selectors.Event{}
	for e := selectors.EventRead; e < selectors.EventReadClosed; e++ {
		interests = append(interests, e, e|selectors.OneShot)
	}
	for _, state := range states {
		t.Run(strings.ReplaceAll(state, " ", "_"), func(t *testing.T) {
			w, err := newWorld(contenderKinds())
			if err != nil {
				t.Fatal(err)
			}
			w.dir = t.TempDir()
			t.Cleanup(func() {
				if err := w.close(); err != nil {
					t.Error(err)
				}
			})
			do := func(line string) []result {
				t.Helper()
				f := strings.Fields(line)
				results, err := w.do(operation{f[0], f[1:]})
				if err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				return results
			}
			steps := strings.Split(state, "; ")
			closed := steps[len(steps)-1] == "close a"
			if closed {
				steps = steps[:len(steps)-1]
			}
			for _, step := range steps {
				if r := do(step)[0]; r.text != "ok" {
					t.Fatalf("%s: %v", step, r)
				}
			}
			for _, interest := range interests {
				var needs selectors.Feature
				if interest&selectors.EventPriority != 0 {
					needs = selectors.FeaturePriority
				}
				story := []string{"register a " + interest.String(), "select", "select", "modify a Read|Write|OneShot", "select", "select",
					"modify a " + interest.String(), "select", "unregister a", "select"}
				if closed {
					do(steps[0])
					story = []string{"register a " + interest.String(), "close a", "select", "select", "modify a " + (interest ^ selectors.OneShot).String(), "select", "unregister a", "select"}
				}
				for i, line := range story {
					compareResults(t, w, needs, fmt.Sprintf("after %s: %s", state, strings.Join(story[:i+1], "; ")), do(line))
				}
			}
		})
	}
}

// compareResults compares every contender that has what it takes with every
// other, as far as both can tell.
func compareResults(t *testing.T, w *world, needs selectors.Feature, what string, results []result) {
	t.Helper()
	for i, a := range w.contenders {
		for j, b := range w.contenders[:i] {
			both := a.Features() & b.Features()
			if both&needs != needs {
				continue
			}
			x, y := results[i], results[j]
			if x.batch != nil && y.batch != nil {
				x.batch, y.batch = x.batch.told(both), y.batch.told(both)
			}
			if diff := cmp.Diff(x.entries(), y.entries()); diff != "" {
				t.Errorf("%s: -%s +%s\n%s", what, a.name, b.name, diff)
			}
		}
	}
}
