//go:build linux

package comparetest_test

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sort"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// An instance is one selector that runs a sequence of operations side by side
// with the others.
type instance struct {
	selectors.Selector
	name string // of the backend, as in the overrides of a script

	mu    sync.Mutex
	keys  map[string]*selectors.SelectorKey // what Register and Modify last returned
	woken bool                              // Wake was called after the last Select
}

// An env is what a sequence of operations works on: named files, and instances
// that all watch the same files. Each name has one descriptor number for the
// life of the env, above the numbers that the Go runtime and other tests get.
// Therefore `close a` followed by `pipe a b` reuses a number for another file,
// and a number that is closed stays closed.
type env struct {
	instances []*instance
	dir       string // where files are created

	mu      sync.Mutex
	base    int
	numbers map[string]int
	kinds   map[string]fileKind
	cmds    map[string]*exec.Cmd

	background    sync.WaitGroup
	backgroundErr error // errors of operations in the background
	hadBackground bool  // an operation was started in the background since the last select

	shortOfDescriptors bool // selectors cannot open any
}

// fileKind says what read and write mean for a file.
type fileKind uint8

const (
	bytesFile   fileKind = iota
	counterFile          // eventfd, timerfd: reads and writes are eight bytes
	endlessFile          // reads and writes never block: /dev/null and the like
)

const (
	firstNumber = 900 // the lowest number of an env
	maxNames    = 48  // of one env
)

// newEnv opens one instance for each config.
func newEnv(backends []config) (*env, error) {
	e := &env{numbers: map[string]int{}, kinds: map[string]fileKind{}, cmds: map[string]*exec.Cmd{}}
	for e.base = firstNumber; ; e.base += maxNames {
		free := true
		for n := e.base; n < e.base+maxNames && free; n++ {
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
			e.close()
			return nil, err
		}
		e.instances = append(e.instances, &instance{Selector: s, name: b.name, keys: map[string]*selectors.SelectorKey{}})
	}
	return e, nil
}

// A config makes instances.
type config struct {
	name string
	open func() (selectors.Selector, error)
}

// allConfigs lists all backends. Those that can wait in two ways are listed twice.
func allConfigs() (configs []config) {
	for _, b := range selectors.Backends() {
		configs = append(configs, config{b.Name, func() (selectors.Selector, error) { return b.New() }})
		if b.Features&selectors.FeatureParked != 0 {
			configs = append(configs, config{b.Name, func() (selectors.Selector, error) {
				return b.New(selectors.WithBlockingWait())
			}})
		}
	}
	return configs
}

// close closes every selector and every file that is still open.
func (e *env) close() error {
	e.background.Wait()
	err := e.backgroundErr
	for _, inst := range e.instances {
		err = errors.Join(err, inst.Close())
	}
	for _, n := range e.numbers {
		unix.Close(n)
	}
	for _, cmd := range e.cmds {
		cmd.Process.Kill()
		cmd.Wait()
	}
	return err
}

// number returns the descriptor of a name.
func (e *env) number(name string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, ok := e.numbers[name]
	if !ok {
		n = e.base + len(e.numbers)
		if len(e.numbers) == maxNames {
			panic("too many names in one script")
		}
		e.numbers[name] = n
	}
	return n
}

// assign moves a new file to the number of a name. The former file of that
// number is closed in the same step, as by dup2(2).
func (e *env) assign(name string, fd int, kind fileKind) error {
	defer unix.Close(fd)
	if err := unix.Dup3(fd, e.number(name), unix.O_CLOEXEC); err != nil {
		return err
	}
	e.setKind(name, kind)
	return nil
}

func (e *env) setKind(name string, kind fileKind) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kinds[name] = kind
}

func (e *env) kind(name string) fileKind {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.kinds[name]
}

// A result is the outcome of one operation for one instance: a batch for select
// and keys, otherwise a text, which is "ok" or an error.
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

// entries returns the result in a form that go-cmp can print.
func (r result) entries() any {
	if r.batch != nil {
		return r.batch
	}
	return r.text
}

// A report is what a Select reported, by name.
type report map[string]selectors.Event

// String returns the entries sorted by name, like "a Read, b Write|Hangup".
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

// reportable returns the part of a report that a selector with these features
// can report.
func (b report) reportable(have selectors.Feature) report {
	part := report{}
	for name, events := range b {
		if events = reportableEvents(events, have); events != 0 {
			part[name] = events
		}
	}
	return part
}

func reportableEvents(events selectors.Event, have selectors.Feature) selectors.Event {
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

// errorText returns an error as scripts write it.
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

// arg returns the i-th argument, or byDefault if it was left out.
func (op operation) arg(i int, byDefault string) string {
	if i < len(op.args) {
		return op.args[i]
	}
	return byDefault
}

// do runs an operation and returns one result for each instance. An error means
// that the operation is not valid or that the machine cannot do it.
func (e *env) do(op operation) ([]result, error) {
	if f, ok := fileVerbs[op.verb]; ok {
		if err := checkArgs(op, f.args); err != nil {
			return nil, err
		}
		return e.forAll(result{text: errorText(f.do(e, op))}), nil
	}
	f, ok := selectorVerbs[op.verb]
	if !ok {
		return nil, fmt.Errorf("unknown operation %q", op.verb)
	}
	if err := checkArgs(op, f.args); err != nil {
		return nil, err
	}
	e.mu.Lock()
	short := e.shortOfDescriptors
	e.mu.Unlock()
	if !short {
		return f.do(e, op)
	}
	var results []result
	var err error
	if limitErr := withoutDescriptors(func() { results, err = f.do(e, op) }); limitErr != nil {
		return nil, limitErr
	}
	return results, err
}

// shortage begins or ends a shortage of descriptors. Only operations on selectors
// are affected: between them files can still be opened.
func (e *env) shortage(op operation) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.shortOfDescriptors = op.args[0] == "begins"
	return nil
}

// lowered is the limit of descriptors while it is lowered. Several operations may
// need that at the same time, one in the background.
var lowered struct {
	sync.Mutex
	users    int
	original unix.Rlimit
}

// withoutDescriptors runs f while no descriptor can be opened: the limit is the
// lowest number that is free.
func withoutDescriptors(f func()) error {
	if err := changeLimit(1); err != nil {
		return err
	}
	f()
	return changeLimit(-1)
}

// changeLimit adds to the number of users of the lowered limit.
func changeLimit(users int) error {
	lowered.Lock()
	defer lowered.Unlock()
	before := lowered.users
	lowered.users += users
	switch {
	case lowered.users == 0:
		return unix.Prlimit(0, unix.RLIMIT_NOFILE, &lowered.original, nil)
	case before > 0:
		return nil
	}
	free, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	unix.Close(free)
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &lowered.original); err != nil {
		return err
	}
	return unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(free), Max: lowered.original.Max}, nil)
}

// checkArgs checks the number of arguments. The usage names them; those in
// brackets are optional.
func checkArgs(op operation, usage string) error {
	fields := strings.Fields(usage)
	maxArgs := len(fields)
	minArgs := maxArgs - strings.Count(usage, "[")
	if strings.HasSuffix(usage, "...]") {
		maxArgs = 99
	}
	if len(op.args) < minArgs || len(op.args) > maxArgs {
		return fmt.Errorf("usage: %s %s", op.verb, usage)
	}
	return nil
}

// forAll returns the same result for every instance.
func (e *env) forAll(r result) []result {
	results := make([]result, len(e.instances))
	for i := range results {
		results[i] = r
	}
	return results
}

// forEach calls f for every instance, in turn.
func (e *env) forEach(f func(inst *instance) result) []result {
	results := make([]result, len(e.instances))
	for i, inst := range e.instances {
		results[i] = f(inst)
	}
	return results
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
