package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/term"

	"goselectors/selectors"
)

// messageSize is the size of a message in bytes. It is small, because the backends
// differ only in the cost of waiting.
const messageSize = 64

// messageTimeout is the time without a message after which a measurement fails.
// Loopback does not lose messages, so it does not happen.
const messageTimeout = 10 * time.Second

// A setting is one row of the table.
type setting struct {
	backend  selectors.Backend
	conns    int
	active   int      // number of busy connections
	activity activity // the flag value that active was computed from
}

// fds is the number of watched descriptors.
func (s setting) fds() int { return 2 * s.conns }

// A sample is one measurement of a setting.
type sample struct {
	events          int
	wall, user, sys float64 // microseconds per event: elapsed time, processor time
	allocs          float64 // per event
}

// A result summarizes the samples of one setting. events is the sum, and wall and
// allocs are medians. user and sys are means over all events: kernels divide
// processor time between user and system in steps of a clock tick, which is too
// coarse for a single sample.
type result struct {
	setting
	sample
	fastest, slowest float64 // lowest and highest wall of the samples
}

// measureAll measures every setting once per round. Each round measures the
// backends of a setting one after the other, and starts with a different backend
// than the round before. So other load on the machine affects all backends.
func measureAll(c *config, p *progress) ([]result, error) {
	defer p.clear()
	links, err := connect(slices.Max(c.conns))
	if err != nil {
		return nil, fmt.Errorf("connecting on loopback: %w", err)
	}
	defer disconnect(links)

	settings := c.settings()
	samples := make([][]sample, len(settings))
	p.total = c.rounds * len(settings)
	for round := range c.rounds {
		for first := 0; first < len(settings); first += len(c.backends) {
			for i := range c.backends {
				i = first + (i+round)%len(c.backends)
				p.next(settings[i])
				s, err := settings[i].measure(links, c.window)
				if err != nil {
					return nil, fmt.Errorf("%s, %d connections, %d active: %w",
						settings[i].backend.Name, settings[i].conns, settings[i].active, err)
				}
				samples[i] = append(samples[i], s)
			}
		}
	}
	results := make([]result, len(settings))
	for i := range settings {
		results[i] = result{setting: settings[i]}
		results[i].summarize(samples[i])
	}
	return results, nil
}

// summarize computes the result of samples, of which there is at least one.
func (r *result) summarize(samples []sample) {
	median := func(value func(sample) float64) float64 {
		values := make([]float64, len(samples))
		for i, s := range samples {
			values[i] = value(s)
		}
		slices.Sort(values)
		return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
	}
	r.wall = median(func(s sample) float64 { return s.wall })
	r.allocs = median(func(s sample) float64 { return s.allocs })
	byWall := func(a, b sample) int { return cmp.Compare(a.wall, b.wall) }
	r.fastest, r.slowest = slices.MinFunc(samples, byWall).wall, slices.MaxFunc(samples, byWall).wall
	for _, s := range samples {
		r.events += s.events
		r.user += s.user * float64(s.events)
		r.sys += s.sys * float64(s.events)
	}
	r.user /= float64(r.events)
	r.sys /= float64(r.events)
}

// A callback is the data of every key. The loop calls it when fd is readable.
type callback func(fd int) error

// A loop is a selector that watches both ends of all connections. On each active
// connection there is one message. An end that receives it sends it back, as if
// two echo servers were connected. So the selector reports each message, at both
// ends. An event is one message: a share of a Select, the callback, a read and a
// write.
type loop struct {
	sel      selectors.Selector
	ready    []selectors.Ready // buffer for SelectInto
	message  [messageSize]byte
	events   int  // messages received
	draining bool // messages are received and not sent back
	drained  int  // messages received while draining
}

// register watches both ends of all links.
func (l *loop) register(links []link) error {
	for _, link := range links {
		for _, fd := range link {
			if _, err := l.sel.Register(fd, selectors.EventRead, callback(l.echo)); err != nil {
				return err
			}
		}
	}
	return nil
}

// echo receives a message and sends it back. It uses system calls directly. They
// cost least, so the selector is the larger part of the measured time.
func (l *loop) echo(fd int) error {
	if n, err := read(fd, l.message[:]); n != messageSize {
		return fmt.Errorf("read %d of %d bytes: %w", n, messageSize, cmp.Or(err, io.ErrUnexpectedEOF))
	}
	l.events++
	if l.draining {
		l.drained++
		return nil
	}
	return l.send(fd)
}

// send sends the message.
func (l *loop) send(fd int) error {
	if n, err := write(fd, l.message[:]); n != messageSize {
		return fmt.Errorf("wrote %d of %d bytes: %w", n, messageSize, cmp.Or(err, io.ErrShortWrite))
	}
	return nil
}

// runOnce waits once and calls the callbacks.
func (l *loop) runOnce() (err error) {
	if l.ready, err = l.sel.SelectInto(l.ready[:0], messageTimeout); err != nil {
		return err
	}
	if len(l.ready) == 0 {
		return fmt.Errorf("no message for %v", messageTimeout)
	}
	for _, ready := range l.ready {
		if err := ready.Key.Data.(callback)(ready.Key.FD); err != nil {
			return err
		}
	}
	return nil
}

// runFor runs the loop for at least d.
func (l *loop) runFor(d time.Duration) error {
	for start := time.Now(); time.Since(start) < d; {
		if err := l.runOnce(); err != nil {
			return err
		}
	}
	return nil
}

// drain receives the given number of messages without sending them back.
func (l *loop) drain(messages int) error {
	l.draining = true
	for l.drained < messages {
		if err := l.runOnce(); err != nil {
			return err
		}
	}
	return nil
}

// measure takes one sample, after a warm-up of a fifth of window. On success, no
// message is left on any connection.
func (s setting) measure(links []link, window time.Duration) (sample, error) {
	sel, err := s.backend.New()
	if err != nil {
		return sample{}, err
	}
	defer sel.Close()
	l := &loop{sel: sel}
	if err := l.register(links[:s.conns]); err != nil {
		return sample{}, err
	}
	for i := range s.active { // evenly spread over the connections
		if err := l.send(links[i*s.conns/s.active][0]); err != nil {
			return sample{}, err
		}
	}
	if err := l.runFor(window / 5); err != nil { // warm up
		return sample{}, err
	}

	var memBefore, memAfter runtime.MemStats
	runtime.ReadMemStats(&memBefore)
	eventsBefore := l.events
	userBefore, sysBefore := processorTime()
	start := time.Now()
	err = l.runFor(window)
	wall := time.Since(start)
	userAfter, sysAfter := processorTime()
	events := l.events - eventsBefore
	runtime.ReadMemStats(&memAfter)

	if err == nil {
		err = l.drain(s.active)
	}
	microsPerEvent := func(d time.Duration) float64 {
		return float64(d) / float64(time.Microsecond) / float64(events)
	}
	return sample{
		events: events,
		wall:   microsPerEvent(wall),
		user:   microsPerEvent(userAfter - userBefore),
		sys:    microsPerEvent(sysAfter - sysBefore),
		allocs: float64(memAfter.Mallocs-memBefore.Mallocs) / float64(events),
	}, err
}

// A progress shows on a terminal how many measurements are done. It prints nothing
// to other files.
type progress struct {
	out            *os.File // nil if it is not a terminal
	started, total int      // measurements
}

func newProgress(out *os.File) *progress {
	p := &progress{}
	if term.IsTerminal(int(out.Fd())) {
		p.out = out
	}
	return p
}

// next shows that the measurement of s starts.
func (p *progress) next(s setting) {
	p.started++
	if p.out != nil {
		fmt.Fprintf(p.out, "\r\x1b[K%3d %%  %s, %d descriptors, %d active", 100*(p.started-1)/p.total, s.backend.Name, s.fds(), s.active)
	}
}

// clear erases the line.
func (p *progress) clear() {
	if p.out != nil {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
