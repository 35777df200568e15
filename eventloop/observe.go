package eventloop

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"runtime/debug"
	"runtime/trace"
	"strconv"
	"sync/atomic"
	"time"

	"goselectors/selectors"
)

// Stats says what a loop has done since New.
type Stats struct {
	Turns      uint64 // rounds of the loop
	Callbacks  uint64 // functions called, of all kinds
	Wakes      uint64 // times that Post, Stop, Close or a context had to wake a waiting loop
	Timers     uint64 // timers called
	LateTimers uint64 // of these, by LateAfter or more behind their deadline

	// LatestTimer is the longest that one was behind.
	LatestTimer time.Duration

	// LongestCallback is measured only with WithSlowCallback or WithDebug.
	LongestCallback time.Duration
}

// LateAfter is how far a timer may be behind its deadline before Stats counts
// it as late.
const LateAfter = 10 * time.Millisecond

// Stats may be called from any goroutine. The figures are those of the end of
// the last turn, more or less: they are not taken all at one moment.
func (l *Loop) Stats() Stats {
	return Stats{
		Turns:           l.stats.turns.Load(),
		Callbacks:       l.stats.callbacks.Load(),
		Wakes:           l.stats.wakes.Load(),
		Timers:          l.stats.timers.Load(),
		LateTimers:      l.stats.late.Load(),
		LatestTimer:     time.Duration(l.stats.latest.Load()),
		LongestCallback: time.Duration(l.stats.longest.Load()),
	}
}

// counters are written by the loop alone, but for wakes, and read by anybody.
// They are counted without locking and published turn by turn.
type counters struct {
	turns, callbacks, wakes, timers, late atomic.Uint64
	latest, longest                       atomic.Int64

	own struct {
		turns, timers, late uint64
		latest              time.Duration
	}
}

func (c *counters) fired(behind time.Duration) {
	c.own.timers++
	if behind >= LateAfter {
		c.own.late++
	}
	c.own.latest = max(c.own.latest, behind)
}

func (c *counters) publish(callbacks uint64) {
	c.turns.Store(c.own.turns)
	c.callbacks.Store(callbacks)
	if c.own.timers != c.timers.Load() {
		c.timers.Store(c.own.timers)
		c.late.Store(c.own.late)
		c.latest.Store(int64(c.own.latest))
	}
}

// An observer is the part of a loop that watches its callbacks. It costs
// nothing unless it is asked for.
type observer struct {
	observing bool                               // measures each callback, or traces it
	sites     map[*selectors.SelectorKey]uintptr // where files were registered; nil if nobody wants to know
	sited     bool

	current   origin
	began     time.Duration
	region    *trace.Region
	goroutine uint64 // that runs the loop, with WithDebug; else 0
}

// An origin is where a callback comes from.
type origin struct {
	kind string
	fn   any
	site uintptr
	fd   int
}

func (o *observer) init(l *Loop) {
	o.sited = l.slow > 0 || l.debug
	o.observing = l.slow > 0 || l.trace || l.panics != nil
	if o.sited {
		o.sites = make(map[*selectors.SelectorKey]uintptr)
	}
}

// begin and end stand round each callback.
func (l *Loop) begin(kind string, site uintptr, fn any, fd int) {
	l.current, l.region = origin{kind, fn, site, fd}, nil
	if l.trace && trace.IsEnabled() {
		l.region = trace.StartRegion(context.Background(), l.current.name())
	}
	if l.slow > 0 {
		l.began = l.clock()
	}
}

// calls says which function of the user's the present callback, which is one of
// ours, stands for.
func (l *Loop) calls(fn any) {
	if !l.observing {
		return
	}
	l.current.fn = fn
	if l.region != nil {
		l.region.End()
		l.region = trace.StartRegion(context.Background(), l.current.name())
	}
}

func (l *Loop) end() {
	if l.slow > 0 {
		took := l.clock() - l.began
		if int64(took) > l.stats.longest.Load() {
			l.stats.longest.Store(int64(took))
		}
		if took >= l.slow {
			l.log.LogAttrs(context.Background(), slog.LevelWarn, "eventloop: slow callback",
				append(l.current.attrs(), slog.Duration("took", took))...)
		}
	}
	if l.region != nil {
		l.region.End()
		l.region = nil
	}
	l.current = origin{}
}

// name is that of the callback's function.
func (o origin) name() string {
	if o.fn == nil {
		return "unknown"
	}
	if f := runtime.FuncForPC(reflect.ValueOf(o.fn).Pointer()); f != nil {
		return f.Name()
	}
	return "unknown"
}

func (o origin) attrs() []slog.Attr {
	attrs := []slog.Attr{slog.String("kind", o.kind), slog.String("callback", o.name())}
	if o.fd >= 0 {
		attrs = append(attrs, slog.Int("fd", o.fd))
	}
	if o.site != 0 {
		attrs = append(attrs, slog.String("from", line(o.site)))
	}
	return attrs
}

// A Panic is what a handler of panics gets: see [WithPanicHandler].
type Panic struct {
	Value    any    // what the callback panicked with
	Stack    []byte // and where
	Kind     string // "file", "timer", "soon", "post", "signal" or "work"
	Callback string // the name of its function
}

// runGuarded is runAll, one panic at most; it reports whether all is done.
func (l *Loop) runGuarded() (done bool) {
	defer func() {
		if done {
			return
		}
		v := recover()
		if v == nil { // runtime.Goexit: let it go on
			return
		}
		p := Panic{Value: v, Stack: debug.Stack(), Kind: l.current.kind, Callback: l.current.name()}
		l.end()
		l.panics(p)
	}()
	l.runAll()
	return true
}

// site is where the caller of an exported method was called, if that is wanted.
func (l *Loop) site() uintptr {
	if !l.sited {
		return 0
	}
	return caller()
}

// caller is the innermost place on the stack that is not in this package.
func caller() uintptr {
	var pcs [8]uintptr
	n := runtime.Callers(2, pcs[:])
	frames := runtime.CallersFrames(pcs[:n])
	for i := range n {
		frame, _ := frames.Next()
		if !ours(frame.Function) {
			return pcs[i]
		}
	}
	return 0
}

func ours(function string) bool {
	const path = "goselectors/eventloop."
	return len(function) > len(path) && function[:len(path)] == path
}

// line is file:line of a place in the program.
func line(pc uintptr) string {
	frame, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	return frame.File + ":" + strconv.Itoa(frame.Line)
}

// reportLeaks logs what is still registered.
func (l *Loop) reportLeaks() {
	for key := range l.sel.Keys() {
		callback, _ := callbackOf(key)
		o := origin{kind: "file", fd: key.FD, site: l.sites[key]}
		if callback != nil {
			o.fn = callback
		}
		l.log.LogAttrs(context.Background(), slog.LevelWarn, "eventloop: still registered at Close",
			append(o.attrs(), slog.String("events", key.Events.String()), slog.String("object", fmt.Sprintf("%T", key.FileObj)))...)
	}
	for _, t := range l.timers.owner {
		if t == nil {
			continue
		}
		o := origin{kind: "timer", fn: t.fn, site: t.site, fd: -1}
		l.log.LogAttrs(context.Background(), slog.LevelWarn, "eventloop: still running at Close",
			append(o.attrs(), slog.Duration("when", t.when))...)
	}
}

// home notes the goroutine that runs the loop.
func (l *Loop) home() {
	if l.debug {
		l.goroutine = goroutine()
	}
}

func (l *Loop) atHome() bool {
	l.mu.Lock()
	running, home := l.running, l.goroutine
	l.mu.Unlock()
	return !running || goroutine() == home
}

// goroutine is the number of this goroutine. The runtime tells it in stack
// traces only; it is for finding mistakes, nothing else.
func goroutine() (n uint64) {
	var buf [64]byte
	s := bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine "))
	for _, c := range s {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}
