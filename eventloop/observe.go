package eventloop

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"runtime/debug"
	"runtime/trace"
	"strconv"
	"strings"
	"time"

	"goselectors/selectors"
)

// An observer is the part of a loop that measures, traces and names its
// callbacks. It costs nothing unless an option enables it.
type observer struct {
	observing         bool                               // call beginCallback and endCallback around each callback
	recordSites       bool                               // record where callbacks are registered
	filesRegisteredAt map[*selectors.SelectorKey]uintptr // by key, the program counter; nil unless recordSites

	current   callbackOrigin // of the running callback
	startedAt time.Duration  // of the running callback
	region    *trace.Region
	goroutine uint64 // number of the goroutine that runs the loop, with WithDebug; else 0
}

// A callbackOrigin describes a callback for logs, traces and panics.
type callbackOrigin struct {
	kind         string  // Panic.Kind
	fn           any     // a function or a FileHandler
	registeredAt uintptr // program counter; 0 if not recorded
	fd           int     // of a file; else -1
	subject      any     // Panic.Subject
}

func (o *observer) init(l *Loop) {
	o.recordSites = l.slowThreshold > 0 || l.debug
	o.observing = l.slowThreshold > 0 || l.trace || l.panicHandler != nil
	if o.recordSites {
		o.filesRegisteredAt = make(map[*selectors.SelectorKey]uintptr)
	}
}

// beginCallback is called before each callback if the loop is observing.
func (l *Loop) beginCallback(origin callbackOrigin) {
	l.current, l.region = origin, nil
	if l.trace && trace.IsEnabled() {
		l.region = trace.StartRegion(context.Background(), l.current.name())
	}
	if l.slowThreshold > 0 {
		l.startedAt = l.clock()
	}
}

// standsFor records that the running callback, a closure of this package, stands
// for the user's function fn.
func (l *Loop) standsFor(fn any) {
	if !l.observing {
		return
	}
	l.current.fn = fn
	if l.region != nil {
		l.region.End()
		l.region = trace.StartRegion(context.Background(), l.current.name())
	}
}

// SetSubject names what the running callback is about, such as a connection or a
// request. [Panic] and the log of slow callbacks report it. It holds until the
// callback returns or SetSubject is called again. Without a call the subject of a
// callback for a file is the file object, and others have none. It is for callbacks
// of the loop; elsewhere it does nothing. Without WithPanicHandler,
// WithSlowCallback, WithTrace and WithDebug it costs nothing and stores nothing.
func (l *Loop) SetSubject(subject any) {
	if l != nil && l.observing && l.current.kind != "" {
		l.current.subject = subject
	}
}

// endCallback is called after each callback if the loop is observing.
func (l *Loop) endCallback() {
	if l.slowThreshold > 0 {
		took := l.clock() - l.startedAt
		if int64(took) > l.stats.longestCallback.Load() {
			l.stats.longestCallback.Store(int64(took))
		}
		if took >= l.slowThreshold {
			l.log.LogAttrs(context.Background(), slog.LevelWarn, "eventloop: slow callback",
				append(l.current.attrs(), slog.Duration("took", took))...)
		}
	}
	if l.region != nil {
		l.region.End()
		l.region = nil
	}
	l.current = callbackOrigin{}
}

// name returns the name of the callback's function, or of the type of a
// FileHandler.
func (o callbackOrigin) name() string {
	if _, ok := o.fn.(FileHandler); ok {
		return fmt.Sprintf("%T", o.fn)
	}
	if v := reflect.ValueOf(o.fn); v.Kind() == reflect.Func {
		if f := runtime.FuncForPC(v.Pointer()); f != nil {
			return f.Name()
		}
	}
	return "unknown"
}

// subjectText describes the subject for a log. It reads only values that cannot
// change, and those that describe themselves.
func (o callbackOrigin) subjectText() string {
	switch o.subject.(type) {
	case fmt.Stringer, error:
		return fmt.Sprint(o.subject)
	}
	switch reflect.ValueOf(o.subject).Kind() {
	case reflect.Pointer, reflect.Struct, reflect.Map, reflect.Slice, reflect.Array, reflect.Chan, reflect.Func:
		return fmt.Sprintf("%T", o.subject)
	}
	return fmt.Sprint(o.subject)
}

func (o callbackOrigin) attrs() []slog.Attr {
	attrs := []slog.Attr{slog.String("kind", o.kind), slog.String("callback", o.name())}
	if o.fd >= 0 {
		attrs = append(attrs, slog.Int("fd", o.fd))
	}
	if o.subject != nil {
		attrs = append(attrs, slog.String("subject", o.subjectText()))
	}
	if o.registeredAt != 0 {
		attrs = append(attrs, slog.String("from", fileLine(o.registeredAt)))
	}
	return attrs
}

// A Panic describes a recovered panic: see [WithPanicHandler].
type Panic struct {
	Value    any    // the value the callback panicked with
	Stack    []byte // the stack at the panic
	Kind     string // "file", "waiter", "timer", "soon", "post", "signal", "work" or "hook"
	Callback string // the name of the callback's function, or of the type of a FileHandler
	Subject  any    // what the callback was about: see SetSubject
}

// runUntilPanic calls run. It returns false after a panic, which it has passed to
// the panic handler.
func (l *Loop) runUntilPanic(run func(*Loop)) (done bool) {
	defer func() {
		if done {
			return
		}
		v := recover()
		if v == nil { // runtime.Goexit: do not interfere
			return
		}
		p := Panic{Value: v, Stack: debug.Stack(), Kind: l.current.kind, Callback: l.current.name(), Subject: l.current.subject}
		l.endCallback()
		l.panicHandler(p)
	}()
	run(l)
	return true
}

// callSite returns the program counter of the user's call into this package, or
// 0 if the loop does not record it.
func (l *Loop) callSite() uintptr {
	if !l.recordSites {
		return 0
	}
	return callerPC()
}

// callerPC returns the program counter of the innermost frame that is neither in
// this package nor in package stream, which makes its calls for a user. If the
// loop has called package stream, which no user's function has, it is a frame of
// that package.
func callerPC() uintptr {
	var pcs [8]uintptr
	var inStream uintptr
	for skip := 2; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs[:])
		frames := runtime.CallersFrames(pcs[:n])
		for i := range n {
			frame, _ := frames.Next()
			name, isOwn := strings.CutPrefix(frame.Function, "goselectors/eventloop")
			switch {
			case isOwn && strings.HasPrefix(name, "/stream."):
				inStream = cmp.Or(inStream, pcs[i])
			case isOwn && name == ".(*Loop).guard": // it calls all callbacks
				return inStream
			case !isOwn || !strings.HasPrefix(name, "."):
				return pcs[i]
			}
		}
		if n < len(pcs) {
			return inStream
		}
	}
}

// fileLine returns file:line of a program counter.
func fileLine(pc uintptr) string {
	frame, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	return frame.File + ":" + strconv.Itoa(frame.Line)
}

// reportLeaks logs the files and timers that are still registered.
func (l *Loop) reportLeaks() {
	for key := range l.sel.Keys() {
		if w, ok := key.Data.(*fileWatchers); ok {
			l.reportWatchers(key, w)
			continue
		}
		o := callbackOrigin{kind: "file", fn: key.Data, fd: key.FD, registeredAt: l.filesRegisteredAt[key]}
		l.log.LogAttrs(context.Background(), slog.LevelWarn, "eventloop: file still registered at Close",
			append(o.attrs(), slog.String("events", key.Events.String()), slog.String("object", fmt.Sprintf("%T", key.FileObj)))...)
	}
	for _, t := range l.timers.owner {
		if t == nil {
			continue
		}
		o := callbackOrigin{kind: "timer", fn: t.fn, registeredAt: t.registeredAt, fd: -1}
		l.log.LogAttrs(context.Background(), slog.LevelWarn, "eventloop: timer still active at Close",
			append(o.attrs(), slog.Duration("when", t.when))...)
	}
}

// reportWatchers logs the readers, writers and waiters of a file.
func (l *Loop) reportWatchers(key *selectors.SelectorKey, w *fileWatchers) {
	report := func(kind string, d direction, x watcher) {
		o := callbackOrigin{kind: kind, fn: x.fn, registeredAt: x.registeredAt, fd: key.FD}
		l.log.LogAttrs(context.Background(), slog.LevelWarn, "eventloop: file still registered at Close",
			append(o.attrs(), slog.String("events", d.interest().String()), slog.String("object", fmt.Sprintf("%T", x.fileobj)))...)
	}
	for d := range numDirections {
		side := &w.sides[d]
		if side.permanent.fn != nil {
			report("file", d, side.permanent)
		}
		for x := side.first; x != nil; x = x.next {
			report("waiter", d, x.watcher)
		}
	}
}

// bindGoroutine records the goroutine that runs the loop.
func (l *Loop) bindGoroutine() {
	if l.debug {
		l.goroutine = goroutineID()
	}
}

// onLoopGoroutine reports whether the caller is on the goroutine that runs the
// loop. It is true if the loop does not run.
func (l *Loop) onLoopGoroutine() bool {
	l.mu.Lock()
	running, bound := l.running, l.goroutine
	l.mu.Unlock()
	return !running || goroutineID() == bound
}

// goroutineID returns the number of the calling goroutine. The runtime reports
// it only in stack traces. It is used for debug checks only.
func goroutineID() (id uint64) {
	var buf [64]byte
	s := bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine "))
	for _, c := range s {
		if c < '0' || c > '9' {
			break
		}
		id = id*10 + uint64(c-'0')
	}
	return id
}
