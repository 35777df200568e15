package main

import (
	"fmt"
	"math"
)

// The plan: what is measured, and of whom. All of it stands here; the runner
// and the report know no workload and no contender by name.

// A program is what contenders are built of.
type program struct {
	name    string
	source  string   // C: in c/; Go: the package
	lib     string   // C: what it is linked with, -l
	tags    string   // Go: what it is built with, -tags
	needs   string   // what to install where it is missing
	command []string // an interpreter and its script, in place of a build
}

var programs = []program{
	{name: "go", source: "./contender"},
	{name: "gnet", source: "./contender", tags: "gnet"},
	{name: "bare", source: "bare.c", needs: "gcc"},
	{name: "load", source: "load.c", needs: "gcc"},
	{name: "libevent", source: "libevent.c", lib: "event", needs: "gcc and libevent-dev"},
	{name: "libev", source: "libev.c", lib: "ev", needs: "gcc and libev-dev"},
	{name: "libuv", source: "libuv.c", lib: "uv", needs: "gcc and libuv1-dev"},
	{name: "python", command: []string{"python3", "py/bench.py"}, needs: "python3"},
}

// A contender takes part in a workload: a program, its arguments, and whether
// it is ours.
type contender struct {
	name    string
	program string
	args    []string
	ours    bool
	bound   bool   // no rival: it does not do all of the work
	aside   bool   // not in the chart, whose scale it would spoil
	most    int    // descriptors that it can have, if there is a limit
	floor   string // by name: what it is compared with; by default the workload's
	env     []string
}

// A shape is one size of a workload.
type shape struct {
	name   string
	args   []string // for the contender, or for the load generator
	server []string // for the contender, where there is a load generator
	env    []string
	fds    int // descriptors that a process needs
	quick  bool

	onlyQuick bool // too small for a full run
}

// A metric is a figure of the report, made of those that a contender printed.
type metric struct {
	name, unit string
	of         func(f figures) float64
	better     float64 // -1: less is; +1: more is; 0: for information
	ratio      bool    // against the floor
	chart      bool    // has a place in the workload's chart
}

type workload struct {
	name, title string
	about       string
	floor       string // the contender that all are compared with
	shapes      []shape
	contenders  []contender
	metrics     []metric
	check       func(f figures, s shape) error // is what was counted what happened?

	load    bool // contenders are servers; the load generator does the measuring
	pinned  bool // server and generator each have a processor of their own
	seconds float64
	quickly float64 // seconds, with -quick
	setup   float64 // seconds that a run takes beside that, more or less
	rounds  int     // at most
	chart   string  // "dots" or "lines"
	xAxis   string  // for lines: the shapes' names are numbers
	columns bool    // the table has metrics for columns, not shapes
}

// figures are what one run printed.
type figures map[string]float64

func perEvent(scale float64) func(f figures) float64 {
	return func(f figures) float64 { return f["seconds"] / f["events"] * scale }
}

func cpuPerEvent(scale float64) func(f figures) float64 {
	return func(f figures) float64 { return (f["user"] + f["sys"]) / f["events"] * scale }
}

func field(name string, scale float64) func(f figures) float64 {
	return func(f figures) float64 {
		if v, ok := f[name]; ok {
			return v * scale
		}
		return math.NaN()
	}
}

func perConn(name string) func(f figures) float64 {
	return func(f figures) float64 { return field(name, 1)(f) / f["conns"] }
}

func perEventOf(name string, scale float64) func(f figures) float64 {
	return func(f figures) float64 { return field(name, scale)(f) / f["events"] }
}

const (
	nano  = 1e9
	micro = 1e6
)

func args(a ...string) []string { return a }

// tokens checks that the ring lost no byte and made none up, so that events are
// bytes that really went round.
func tokens(f figures, s shape) error {
	want := 1.0
	for _, a := range s.args {
		fmt.Sscanf(a, "active=%g", &want)
	}
	if f["tokens"] != want {
		return fmt.Errorf("%g bytes in the ring at the end, %g at the beginning", f["tokens"], want)
	}
	return nil
}

// allRan checks that each post was carried out.
func allRan(f figures, _ shape) error {
	if f["ran"] != f["events"] {
		return fmt.Errorf("%g posts, %g carried out", f["events"], f["ran"])
	}
	return nil
}

func allFired(f figures, _ shape) error {
	if f["fired"] != f["events"] {
		return fmt.Errorf("%g timers, %g fired", f["events"], f["fired"])
	}
	return nil
}

func ringShape(n, active int, quick bool) shape {
	return shape{
		name:  fmt.Sprintf("n=%d a=%d", n, active),
		args:  args(fmt.Sprint("n=", n), fmt.Sprint("active=", active)),
		fds:   2*n + 64,
		quick: quick,
	}
}

func watchedShape(n int, quick bool) shape {
	s := ringShape(n, 1, quick)
	s.name = fmt.Sprint(n)
	return s
}

func echoShape(conns, depth int, quick bool) shape {
	return shape{
		name:  fmt.Sprintf("%d conns ×%d", conns, depth),
		args:  args(fmt.Sprint("conns=", conns), fmt.Sprint("depth=", depth)),
		fds:   conns + 64,
		quick: quick,
	}
}

func idleShape(conns int, quick bool) shape {
	return shape{
		name:  fmt.Sprint(conns, " idle"),
		args:  args(fmt.Sprint("conns=", conns), "active=1", "pause=500", "memory=1"),
		fds:   conns + 64,
		quick: quick,
	}
}

func waitShape(name string, procs int, server, load []string, quick bool) shape {
	return shape{
		name:   fmt.Sprintf("P=%d, %s", procs, name),
		server: server,
		args:   load,
		env:    args(fmt.Sprint("GOMAXPROCS=", procs)),
		fds:    64,
		quick:  quick,
	}
}

// servers are those of the echo and of the idle connections.
var servers = []contender{
	{name: "goselectors stream", program: "go", args: args("stream"), ours: true},
	{name: "goselectors eventloop", program: "go", args: args("eventloop"), ours: true},
	{name: "goselectors selector", program: "go", args: args("selector"), ours: true},
	{name: "Go, bare epoll, raw read and write", program: "go", args: args("epoll-raw")},
	{name: "Go, bare epoll", program: "go", args: args("epoll-unix")},
	{name: "Go net", program: "go", args: args("goroutines")},
	{name: "cloudwego/netpoll", program: "go", args: args("netpoll")},
	{name: "gnet", program: "gnet", args: args("gnet")},
	{name: "nbio", program: "go", args: args("nbio")},
	{name: "evio", program: "go", args: args("evio")},
	{name: "C epoll", program: "bare"},
	{name: "C epoll, threaded", program: "bare", args: args("threaded=1")},
	{name: "libevent", program: "libevent"},
	{name: "libev", program: "libev"},
	{name: "libuv", program: "libuv"},
	{name: "Python selectors", program: "python", args: args("selectors")},
	{name: "asyncio", program: "python", args: args("asyncio")},
}

var waiters = []contender{
	{name: "goselectors", program: "go", args: args("selector"), ours: true},
	{name: "goselectors, blocking", program: "go", args: args("selector", "wait=blocking"), ours: true},
	{name: "Go, bare epoll_wait", program: "go", args: args("epoll-raw")},
	{name: "Go net", program: "go", args: args("goroutines")},
}

var workloads = []workload{
	{
		name:  "ring",
		title: "Pipe ring",
		about: "The shape of libevent's own benchmark: n pipes, in a of which there is a byte. Each byte that is read is " +
			"written on into the next pipe; one event is the read and the write, with whatever it takes to learn of it. " +
			"Processes of more than one thread pay more for each descriptor that the kernel looks up, and a Go program " +
			"always is one, so the floor is C in such a process. Our loop's callbacks use raw read and write calls, as C " +
			"does; the row \"TryRead\" uses what the package offers instead.",
		floor: "C epoll, threaded",
		shapes: []shape{
			ringShape(100, 1, true), ringShape(100, 100, false), ringShape(1000, 1, false), ringShape(1000, 100, true),
			ringShape(1000, 1000, true), ringShape(9000, 1, false), ringShape(9000, 1000, false),
		},
		contenders: []contender{
			{name: "goselectors eventloop", program: "go", args: args("eventloop"), ours: true},
			{name: "goselectors eventloop, TryRead", program: "go", args: args("eventloop", "calls=try"), ours: true},
			{name: "goselectors eventloop, poll", program: "go", args: args("eventloop", "backend=poll"), ours: true, floor: "C poll, threaded", aside: true},
			{name: "goselectors eventloop, select", program: "go", args: args("eventloop", "backend=select"), ours: true, floor: "C select, threaded", aside: true},
			{name: "goselectors selector", program: "go", args: args("selector"), ours: true},
			{name: "Go, bare epoll, raw read and write", program: "go", args: args("epoll-raw")},
			{name: "Go, bare epoll", program: "go", args: args("epoll-unix")},
			{name: "goroutines on os.Pipe", program: "go", args: args("goroutines")},
			{name: "C, no waiting, threaded", program: "bare", args: args("backend=none", "threaded=1"), bound: true},
			{name: "C epoll", program: "bare"},
			{name: "C epoll, threaded", program: "bare", args: args("threaded=1")},
			{name: "C poll", program: "bare", args: args("backend=poll"), aside: true},
			{name: "C poll, threaded", program: "bare", args: args("backend=poll", "threaded=1"), aside: true},
			{name: "C select", program: "bare", args: args("backend=select"), aside: true},
			{name: "C select, threaded", program: "bare", args: args("backend=select", "threaded=1"), aside: true},
			{name: "libevent", program: "libevent"},
			{name: "libev", program: "libev"},
			{name: "libuv", program: "libuv"},
			{name: "libevent, threaded", program: "libevent", args: args("threaded=1")},
			{name: "libev, threaded", program: "libev", args: args("threaded=1")},
			{name: "libuv, threaded", program: "libuv", args: args("threaded=1")},
			{name: "Python selectors", program: "python", args: args("selectors")},
			{name: "asyncio", program: "python", args: args("asyncio")},
		},
		metrics: []metric{
			{name: "time", unit: "ns an event", of: perEvent(nano), better: -1, ratio: true, chart: true},
			{name: "CPU, user+sys", unit: "ns an event", of: cpuPerEvent(nano), better: -1, ratio: true},
		},
		check: tokens, seconds: 0.25, quickly: 0.2, rounds: 9, chart: "dots",
	},
	{
		name:  "watched",
		title: "Cost against watched descriptors",
		about: "The same ring with one byte in it, so that one of n descriptors is ready. Ours against the bare call of each " +
			"facility, in a threaded process, and against libevent on it. The bare loops and libevent ask with a wait; while " +
			"there is always something ready ours asks poll and select without one, which spares the kernel up to half of its work.",
		shapes: []shape{
			watchedShape(10, true), watchedShape(30, false), watchedShape(100, true), watchedShape(300, false),
			watchedShape(1000, true), watchedShape(3000, false), watchedShape(9000, false),
		},
		contenders: []contender{
			{name: "goselectors epoll", program: "go", args: args("eventloop"), ours: true, floor: "C epoll"},
			{name: "goselectors poll", program: "go", args: args("eventloop", "backend=poll"), ours: true, floor: "C poll"},
			{name: "goselectors select", program: "go", args: args("eventloop", "backend=select"), ours: true, floor: "C select"},
			{name: "C epoll", program: "bare", args: args("threaded=1"), floor: "C epoll"},
			{name: "C poll", program: "bare", args: args("backend=poll", "threaded=1"), floor: "C poll"},
			{name: "C select", program: "bare", args: args("backend=select", "threaded=1"), floor: "C select"},
			{name: "libevent epoll", program: "libevent", args: args("threaded=1"), floor: "C epoll"},
			{name: "libevent poll", program: "libevent", args: args("backend=poll", "threaded=1"), floor: "C poll"},
			{name: "libevent select", program: "libevent", args: args("backend=select", "threaded=1"), floor: "C select", most: 1024}, // Debian's ends the process there
		},
		metrics: []metric{
			{name: "time", unit: "µs an event", of: perEvent(micro), better: -1, ratio: true, chart: true},
			{name: "CPU, user+sys", unit: "µs an event", of: cpuPerEvent(micro), better: -1, ratio: true},
		},
		check: tokens, seconds: 0.4, quickly: 0.2, rounds: 5, chart: "lines", xAxis: "watched descriptors",
	},
	{
		name:  "echo",
		title: "TCP echo",
		about: "Messages of 64 bytes over loopback, one or sixteen under way on each connection. The server has one processor, " +
			"the load generator, one C program for all, the other. Processor time is the kernel's clock of the server's " +
			"process, all threads included. Where the server was less than about 95 % busy, it waited for the generator: " +
			"compare the processor time there, not the requests a second.",
		floor: "C epoll, threaded",
		shapes: []shape{
			echoShape(1, 1, true), echoShape(50, 1, true), echoShape(1000, 1, false), echoShape(8000, 1, false),
			echoShape(1, 16, false), echoShape(50, 16, true), echoShape(1000, 16, false), echoShape(8000, 16, false),
		},
		contenders: servers,
		metrics: []metric{
			{name: "CPU, user+sys", unit: "µs a request", of: cpuPerEvent(micro), better: -1, ratio: true, chart: true},
			{name: "throughput", unit: "requests/s", of: func(f figures) float64 { return f["events"] / f["seconds"] }, better: +1, ratio: true},
			{name: "latency, 99th percentile", unit: "µs", of: field("p99", micro), better: -1},
			{name: "the server's processor was busy", unit: "%", of: func(f figures) float64 { return (f["user"] + f["sys"]) / f["seconds"] * 100 }},
			{name: "the generator's was", unit: "%", of: func(f figures) float64 { return f["load"] / f["seconds"] * 100 }},
		},
		load: true, pinned: true, seconds: 0.5, quickly: 0.4, setup: 0.4, rounds: 5, chart: "dots",
	},
	{
		name:  "idle",
		title: "Idle connections",
		about: "Connections that have each been answered once and are then left alone, but one, which sends a message every " +
			"half millisecond. Resident memory is the growth of the server's; heap is what Go's heap grew by, after a " +
			"collection; the kernel's is the growth of all slabs, and so for both ends of each connection.",
		floor:      "C epoll, threaded",
		shapes:     []shape{idleShape(9000, false), idleShape(1000, true)},
		contenders: servers,
		metrics: []metric{
			{name: "resident", unit: "bytes a connection", of: perConn("resident"), better: -1, chart: true},
			{name: "heap", unit: "bytes a connection", of: perConn("heap"), better: -1},
			{name: "goroutine stacks", unit: "bytes a connection", of: perConn("stack"), better: -1},
			{name: "kernel", unit: "bytes a connection", of: perConn("slab")},
			{name: "answer of the active one, median", unit: "µs", of: field("p50", micro), better: -1},
			{name: "99th percentile", unit: "µs", of: field("p99", micro), better: -1},
			{name: "CPU, user+sys", unit: "µs a request", of: cpuPerEvent(micro), better: -1, ratio: true},
		},
		load: true, pinned: true, seconds: 1, quickly: 0.4, setup: 1.5, rounds: 3, chart: "dots", columns: true,
	},
	{
		name:  "post",
		title: "Posts from other threads",
		about: "Producers hand functions to the loop, ten thousand together, and wait until all have run. In C this is a queue " +
			"under a mutex, and one wake-up (eventfd, ev_async_send, uv_async_send) for as many as come together: " +
			"uv_async_send alone carries nothing and forgets all but one.",
		floor: "C queue and eventfd",
		shapes: []shape{
			{name: "1 producer", args: args("producers=1"), quick: true},
			{name: "4 producers", args: args("producers=4"), quick: true},
		},
		contenders: posters,
		metrics: []metric{
			{name: "time", unit: "ns a post", of: perEvent(nano), better: -1, ratio: true, chart: true},
			{name: "CPU, user+sys", unit: "ns a post", of: cpuPerEvent(nano), better: -1, ratio: true},
		},
		check: allRan, seconds: 0.5, quickly: 0.2, rounds: 5, chart: "dots",
	},
	{
		name:  "wake",
		title: "Cross-thread wake-up",
		about: "One post every 100 µs, to a loop that sleeps: from the post until the function runs.",
		floor: "C queue and eventfd",
		shapes: []shape{
			{name: "sleeping loop", args: args("mode=latency"), quick: true},
		},
		contenders: posters,
		metrics: []metric{
			{name: "median", unit: "µs", of: field("p50", micro), better: -1, ratio: true, chart: true},
			{name: "99th percentile", unit: "µs", of: field("p99", micro), better: -1, ratio: true, chart: true},
			{name: "CPU, user+sys", unit: "µs a post", of: cpuPerEvent(micro), better: -1, ratio: true, chart: true},
		},
		check: allRan, seconds: 0.5, quickly: 0.2, rounds: 5, chart: "dots", columns: true,
	},
	{
		name:  "timers",
		title: "Timers",
		about: "Schedule n over a second in random order, let all become due, fire them in one go; then with 10 000 standing, " +
			"schedule and cancel one n times, and re-arm one n times. asyncio has no re-arming; there it is a cancel and a " +
			"new timer. Bytes are the growth of resident memory while scheduling, the library's and the timer's own.",
		floor: "libev",
		shapes: []shape{
			{name: "n=1000000", args: args("n=1000000")},
			{name: "n=100000", args: args("n=100000"), quick: true, onlyQuick: true},
		},
		contenders: []contender{
			{name: "goselectors eventloop", program: "go", args: args("eventloop"), ours: true},
			{name: "time.AfterFunc", program: "go", args: args("afterfunc")},
			{name: "libevent", program: "libevent"},
			{name: "libev", program: "libev"},
			{name: "libuv", program: "libuv"},
			{name: "asyncio", program: "python", args: args("asyncio")},
		},
		metrics: []metric{
			{name: "schedule", unit: "ns", of: perEventOf("schedule", nano), better: -1, ratio: true, chart: true},
			{name: "fire", unit: "ns", of: perEventOf("fire", nano), better: -1, ratio: true, chart: true},
			{name: "schedule and cancel", unit: "ns", of: perEventOf("pair", nano), better: -1, ratio: true, chart: true},
			{name: "re-arm", unit: "ns", of: perEventOf("rearm", nano), better: -1, ratio: true, chart: true},
			{name: "CPU of all four", unit: "ns", of: func(f figures) float64 {
				return (f["schedule_cpu"] + f["fire_cpu"] + f["pair_cpu"] + f["rearm_cpu"]) / f["events"] * nano
			}, better: -1},
			{name: "memory", unit: "bytes a timer", of: perEventOf("bytes", 1), better: -1},
		},
		check: allFired, setup: 5, rounds: 3, chart: "dots", columns: true,
	},
	{
		name:  "wait",
		title: "Wait strategies",
		about: "One connection to an echo server, not pinned, with GOMAXPROCS (P) 1 and 2: without a pause between requests, " +
			"with pauses, beside goroutines that compute without end (hogs) and beside pairs of goroutines that exchange " +
			"over channels. The default wait parks the goroutine in Go's runtime or blocks briefly, by what serves better; " +
			"blocking is WithBlockingWait. To park always is no option; the table in the package documentation has it.",
		floor: "Go, bare epoll_wait",
		shapes: []shape{
			waitShape("no pause", 1, nil, nil, true),
			waitShape("no pause", 2, nil, nil, true),
			waitShape("50 µs pauses", 1, nil, args("pause=50"), false),
			waitShape("50 µs pauses", 2, nil, args("pause=50"), false),
			waitShape("1 ms pauses", 1, nil, args("pause=1000"), false),
			waitShape("1 ms pauses", 2, nil, args("pause=1000"), false),
			waitShape("1 hog", 1, args("hogs=1"), nil, true),
			waitShape("1 hog", 2, args("hogs=1"), nil, false),
			waitShape("2 hogs", 2, args("hogs=2"), nil, false),
			waitShape("4 channel pairs", 2, args("pairs=4"), nil, false),
		},
		contenders: waiters,
		metrics: []metric{
			{name: "round trips", unit: "1/s", of: func(f figures) float64 { return f["events"] / f["seconds"] }, better: +1, ratio: true, chart: true},
			{name: "round trip, median", unit: "µs", of: field("p50", micro), better: -1, ratio: true},
			{name: "CPU, user+sys (hogs included)", unit: "µs a request", of: cpuPerEvent(micro), better: -1, ratio: true},
		},
		load: true, seconds: 1, quickly: 0.4, rounds: 3, chart: "dots",
	},
	{
		name:   "idlers",
		title:  "A hundred idle selectors",
		about:  "A hundred of them, each in a wait of its own after three events: the threads of the operating system that this takes, and what they use while nothing happens.",
		shapes: []shape{{name: "100 waits", args: args("n=100"), quick: true}},
		contenders: []contender{
			{name: "goselectors", program: "go", args: args("selector"), ours: true},
			{name: "goselectors, blocking", program: "go", args: args("selector", "wait=blocking"), ours: true},
			{name: "goselectors, poll", program: "go", args: args("selector", "backend=poll"), ours: true},
			{name: "goselectors, select", program: "go", args: args("selector", "backend=select"), ours: true},
			{name: "Go, bare epoll_wait", program: "go", args: args("epoll-unix")},
			{name: "goroutines on os.File", program: "go", args: args("goroutines")},
		},
		metrics: []metric{
			{name: "threads", of: field("threads", 1)},
			{name: "CPU while idle", unit: "%", of: field("idle", 100)},
		},
		seconds: 0.5, quickly: 0.2, rounds: 3, columns: true,
	},
}

var posters = []contender{
	{name: "goselectors Post", program: "go", args: args("eventloop"), ours: true},
	{name: "Go channel", program: "go", args: args("channel")},
	{name: "C queue and eventfd", program: "bare"},
	{name: "libev", program: "libev"},
	{name: "libuv", program: "libuv"},
	{name: "asyncio", program: "python", args: args("asyncio")},
}

// A target is what we have set ourselves: a metric of a contender at most so
// many times that of another one, or at most so much.
type target struct {
	workload, shape, contender, metric string // shape "": each
	against                            []string
	limit                              float64
}

var targets = []target{
	{"ring", "", "goselectors eventloop", "time", args("libevent", "libev", "libuv"), 1},
	{"ring", "", "goselectors eventloop", "time", args("libevent, threaded", "libev, threaded", "libuv, threaded"), 1},
	{"ring", "", "goselectors eventloop", "time", args("C epoll, threaded"), 1.10},
	{"watched", "1000", "goselectors poll", "time", args("C poll"), 1.05},
	{"watched", "9000", "goselectors poll", "time", args("C poll"), 1.05},
	{"watched", "1000", "goselectors select", "time", args("C select"), 1.05},
	{"watched", "9000", "goselectors select", "time", args("C select"), 1.05},
	{"echo", "", "goselectors stream", "CPU, user+sys", args("Go net", "cloudwego/netpoll", "gnet", "nbio", "evio"), 1},
	{"echo", "", "goselectors stream", "CPU, user+sys", args("C epoll"), 1.10},
	{"idle", "", "goselectors stream", "heap", nil, 400},
	{"idle", "", "goselectors eventloop", "heap", nil, 120},
	{"post", "1 producer", "goselectors Post", "time", nil, 60},
	{"post", "4 producers", "goselectors Post", "time", nil, 100},
	{"timers", "n=1000000", "goselectors eventloop", "schedule", nil, 120},
	{"timers", "n=1000000", "goselectors eventloop", "fire", nil, 300},
	{"timers", "n=1000000", "goselectors eventloop", "schedule and cancel", nil, 100},
	{"timers", "n=1000000", "goselectors eventloop", "re-arm", nil, 50},
	{"timers", "n=1000000", "goselectors eventloop", "memory", nil, 100},
}
