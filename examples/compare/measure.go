package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/term"

	"goselectors/selectors"
)

// messageSize is how much every message holds. It is small: what is compared
// is the waiting, and all else is the same for all.
const messageSize = 64

// patience is when a message counts as lost. Loopback loses none.
const patience = 10 * time.Second

// A setting is what is measured as one: a line of the table.
type setting struct {
	backend  selectors.Backend
	conns    int
	active   int
	activity activity // what active was computed from
}

// fds is the number of watched descriptors.
func (s setting) fds() int { return 2 * s.conns }

// A sample is the outcome of one window of measuring: times are microseconds,
// and all but events are per event.
type sample struct {
	events          int
	wall, user, sys float64
	allocs          float64
}

// A result sums up the samples of one setting: medians, but for the processor
// time. Kernels divide that into user's and system's in steps of a clock's
// tick, which is coarse, so it is the mean of all samples.
type result struct {
	setting
	sample
	fastest, slowest float64 // wall, of all samples
}

// measureAll measures every setting round by round. The backends take turns
// within a round, and begin in turn, so that whatever else the machine does
// meanwhile meets all of them.
func measureAll(c *config, p *progress) ([]result, error) {
	defer p.done()
	links, err := connect(slices.Max(c.conns))
	if err != nil {
		return nil, fmt.Errorf("connecting on loopback: %w", err)
	}
	defer disconnect(links)

	settings := c.settings()
	samples := make([][]sample, len(settings))
	p.total = c.rounds * len(settings)
	for round := range c.rounds {
		for at := 0; at < len(settings); at += len(c.backends) {
			for i := range c.backends {
				i = at + (i+round)%len(c.backends)
				p.step(settings[i])
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
		results[i].take(samples[i])
	}
	return results, nil
}

// take sums the samples up.
func (r *result) take(samples []sample) {
	median := func(of func(sample) float64) float64 {
		v := make([]float64, len(samples))
		for i, s := range samples {
			v[i] = of(s)
		}
		slices.Sort(v)
		return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
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

// callback is the data of every key.
type callback func(fd int) error

// A loop is a selector that watches both ends of all connections. On each
// active connection one message goes to and fro: an end that gets it sends it
// back, like two echo servers that talk to each other. So everything that
// happens, at either end, happens because the selector said so. One event is
// one message: its share of a Select, the callback, a read and a write.
type loop struct {
	sel     selectors.Selector
	batch   []selectors.Ready
	message [messageSize]byte
	events  int
	ending  bool // messages are kept, no longer sent back
	kept    int
}

// echo is the callback. It uses bare system calls, which cost least, to leave
// the selector the larger part of what is measured.
func (l *loop) echo(fd int) error {
	if n, err := read(fd, l.message[:]); n != messageSize {
		return fmt.Errorf("read %d of %d bytes: %w", n, messageSize, cmp.Or(err, io.ErrUnexpectedEOF))
	}
	l.events++
	if l.ending {
		l.kept++
		return nil
	}
	return l.send(fd)
}

func (l *loop) send(fd int) error {
	if n, err := write(fd, l.message[:]); n != messageSize {
		return fmt.Errorf("wrote %d of %d bytes: %w", n, messageSize, cmp.Or(err, io.ErrShortWrite))
	}
	return nil
}

// turn waits once and dispatches.
func (l *loop) turn() (err error) {
	if l.batch, err = l.sel.SelectInto(l.batch[:0], patience); err != nil {
		return err
	}
	if len(l.batch) == 0 {
		return errors.New("a message got lost")
	}
	for _, ready := range l.batch {
		if err := ready.Key.Data.(callback)(ready.Key.FD); err != nil {
			return err
		}
	}
	return nil
}

// turns goes on for a while.
func (l *loop) turns(d time.Duration) error {
	for start := time.Now(); time.Since(start) < d; {
		if err := l.turn(); err != nil {
			return err
		}
	}
	return nil
}

// measure takes one sample. It leaves the connections as they were: silent.
func (s setting) measure(links []link, window time.Duration) (sample, error) {
	sel, err := s.backend.New()
	if err != nil {
		return sample{}, err
	}
	defer sel.Close()
	l := &loop{sel: sel}
	for _, link := range links[:s.conns] {
		for _, fd := range link {
			if _, err := sel.Register(fd, selectors.EventRead, callback(l.echo)); err != nil {
				return sample{}, err
			}
		}
	}
	for i := range s.active { // evenly spread
		if err := l.send(links[i*s.conns/s.active][0]); err != nil {
			return sample{}, err
		}
	}
	if err := l.turns(window / 5); err != nil { // warm up
		return sample{}, err
	}

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	warm := l.events
	user, sys := processorTime()
	start := time.Now()
	err = l.turns(window)
	wall := time.Since(start)
	user2, sys2 := processorTime()
	events := l.events - warm
	runtime.ReadMemStats(&after)

	l.ending = true
	for l.kept < s.active && err == nil {
		err = l.turn()
	}
	each := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) / float64(events) }
	return sample{
		events: events,
		wall:   each(wall),
		user:   each(user2 - user),
		sys:    each(sys2 - sys),
		allocs: float64(after.Mallocs-before.Mallocs) / float64(events),
	}, err
}

// progress tells a terminal how far the work is, and nobody else.
type progress struct {
	out       *os.File // nil for nobody
	start     time.Time
	at, total int
}

func newProgress(out *os.File) *progress {
	p := &progress{start: time.Now()}
	if term.IsTerminal(int(out.Fd())) {
		p.out = out
	}
	return p
}

func (p *progress) step(s setting) {
	p.at++
	if p.out != nil {
		fmt.Fprintf(p.out, "\r\x1b[K%3d %%  %s, %d descriptors, %d active", 100*(p.at-1)/p.total, s.backend.Name, s.fds(), s.active)
	}
}

func (p *progress) done() {
	if p.out != nil {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
