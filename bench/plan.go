package main

import (
	"fmt"
	"math"
)

// This file is the plan: the programs, workloads, shapes, contenders, metrics and
// targets. The runner and the report take all names from here.

// A program is an executable that one or more contenders run.
type program struct {
	name    string
	source  string   // for C: the file in c/; for Go: the package
	lib     string   // for C: the library to link, as in -l
	tags    string   // for Go: the build tags
	needs   string   // the packages to install if it cannot be built or found
	command []string // the interpreter and its script, for a program that is not built
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

// A contender is one row of a workload's tables: a program with certain arguments.
type contender struct {
	name          string
	program       string
	args          []string
	ours          bool   // it is part of goselectors
	lowerBound    bool   // it does less work than the others, so it is not counted as a rival
	omitFromChart bool   // it would spoil the scale of the chart
	maxFDs        int    // the largest number of descriptors that it supports; 0: no limit
	baseline      string // the contender to which it is compared; "": the workload's baseline
	env           []string
}

// A shape is one size of a workload.
type shape struct {
	name      string
	args      []string // for the contender, or for the load generator if there is one
	server    []string // for the contender, if there is a load generator
	env       []string
	fds       int  // descriptors that the process needs
	quick     bool // part of a quick run
	onlyQuick bool // too small for a full run
}

// A metric is a column or table of the report, computed from the figures of a run.
type metric struct {
	name, unit string
	value      func(f figures) float64
	better     float64 // -1: lower is better; +1: higher is better; 0: neither
	ratio      bool    // show the ratio to the baseline
	chart      bool    // show it in the workload's chart
}

// A workload is a section of the report.
type workload struct {
	name, title string
	description string
	baseline    string // the contender to which the others are compared
	shapes      []shape
	contenders  []contender
	metrics     []metric
	check       func(f figures, s shape) error // checks that no event was lost or invented

	needsLoad     bool    // contenders are servers, and the load generator measures them
	pinned        bool    // the server and the load generator each have a processor of their own
	seconds       float64 // duration of a measurement
	quickSeconds  float64 // the same with -quick
	setup         float64 // estimated seconds that a run takes in addition
	rounds        int     // the largest number of rounds, unless -rounds is given
	chart         string  // "dots", "lines" or "" for none
	xAxis         string  // the label for a chart with lines, whose shapes are named by numbers
	metricColumns bool    // the columns of a table are metrics instead of shapes
}

// figures are the numbers that one run printed, by name.
type figures map[string]float64

// perEvent returns a metric's value function: wall time divided by the events.
func perEvent(scale float64) func(f figures) float64 {
	return func(f figures) float64 { return f["seconds"] / f["events"] * scale }
}

// cpuPerEvent is like perEvent for user and system time.
func cpuPerEvent(scale float64) func(f figures) float64 {
	return func(f figures) float64 { return (f["user"] + f["sys"]) / f["events"] * scale }
}

// field returns one figure, or NaN if the run did not print it.
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

// checkTokens checks that the ring has neither lost nor gained a byte (a token),
// so that each event is a byte that was really passed on.
func checkTokens(f figures, s shape) error {
	want := 1.0
	for _, a := range s.args {
		fmt.Sscanf(a, "active=%g", &want)
	}
	if f["tokens"] != want {
		return fmt.Errorf("%g bytes in the ring at the end, %g at the start", f["tokens"], want)
	}
	return nil
}

// checkPosts checks that each posted function has run.
func checkPosts(f figures, _ shape) error {
	if f["ran"] != f["events"] {
		return fmt.Errorf("%g functions posted, %g run", f["events"], f["ran"])
	}
	return nil
}

// checkTimers checks that each scheduled timer has fired.
func checkTimers(f figures, _ shape) error {
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

// serverContenders are the servers of the workloads echo and idle.
var serverContenders = []contender{
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

// waitContenders are the servers of the workload wait.
var waitContenders = []contender{
	{name: "goselectors", program: "go", args: args("selector"), ours: true},
	{name: "goselectors, blocking", program: "go", args: args("selector", "wait=blocking"), ours: true},
	{name: "Go, bare epoll_wait", program: "go", args: args("epoll-raw")},
	{name: "Go net", program: "go", args: args("goroutines")},
}

// rowKinds explain the names of the contenders for RESULTS.md.
var rowKinds = []struct{ names, program string }{
	{"**goselectors** (in bold)", "This library. `stream`: transports of package stream. `eventloop` and `Post`: a Loop of package eventloop. `selector`: a Selector of " +
		"package selectors. The rows of \"Cost against watched descriptors\" use a Loop, those of \"Wait strategies\" and \"A hundred idle " +
		"selectors\" a Selector. The backend is epoll unless the name has another one."},
	{"C epoll, C poll, C select", "Bare system calls in C ([c/bare.c](c/bare.c)) in a process with one thread."},
	{"C …, threaded; lib…, threaded", "The same C program with a second, idle thread. In a process with several threads the kernel counts the references to an " +
		"open file on each lookup. A Go process always has several threads, so these rows are the like-for-like comparison."},
	{"C, no waiting, threaded", "A lower bound: the reads and writes in C without any readiness call, with a second, idle thread."},
	{"C queue and eventfd", "A queue under a mutex and an eventfd in C. The producers are threads of the process."},
	{"libevent, libev, libuv", "C programs on these libraries ([c](c)), without \"threaded\" in a process with one thread (or the producer threads)."},
	{"Go, bare epoll", "A loop in Go on unix.EpollWait, unix.Read and unix.Write."},
	{"Go, bare epoll, raw read and write", "The same with raw read and write system calls that do not enter Go's scheduler."},
	{"Go, bare epoll_wait", "One of these two loops: with raw calls in \"Wait strategies\", on unix.EpollWait and raw reads in \"A hundred idle selectors\"."},
	{"Go net, goroutines on …, Go channel, time.AfterFunc", "Go's standard library, with one goroutine for each connection or pipe."},
	{"cloudwego/netpoll, gnet, nbio, evio", "Servers on these Go libraries; gnet, nbio and evio run one event loop."},
	{"Python selectors, asyncio", "CPython's standard library ([py](py))."},
}

var workloads = []workload{
	{
		name:  "ring",
		title: "Pipe ring",
		description: "The workload of libevent's own benchmark: n pipes form a ring, and a of them hold one byte (n and a are in the " +
			"column titles). A byte that is read from a pipe is written to the next pipe. One event is one read, one write, and the " +
			"calls needed to learn that the pipe is readable. In a process with several threads the kernel spends more time on each " +
			"descriptor lookup. A Go process always has several threads, so the baseline is the bare C program with a second, idle " +
			"thread. The callbacks of the goselectors rows make raw read and write system calls, like the C programs; the row \"TryRead\" " +
			"uses selectors.TryRead and TryWrite instead. \"C, no waiting, threaded\" is a lower bound: it knows which pipe is readable " +
			"and makes no readiness calls.",
		baseline: "C epoll, threaded",
		shapes: []shape{
			ringShape(100, 1, true), ringShape(100, 100, false), ringShape(1000, 1, false), ringShape(1000, 100, true),
			ringShape(1000, 1000, true), ringShape(9000, 1, false), ringShape(9000, 1000, false),
		},
		contenders: []contender{
			{name: "goselectors eventloop", program: "go", args: args("eventloop"), ours: true},
			{name: "goselectors eventloop, TryRead", program: "go", args: args("eventloop", "calls=try"), ours: true},
			{name: "goselectors eventloop, poll", program: "go", args: args("eventloop", "backend=poll"), ours: true, baseline: "C poll, threaded", omitFromChart: true},
			{name: "goselectors eventloop, select", program: "go", args: args("eventloop", "backend=select"), ours: true, baseline: "C select, threaded", omitFromChart: true},
			{name: "goselectors selector", program: "go", args: args("selector"), ours: true},
			{name: "Go, bare epoll, raw read and write", program: "go", args: args("epoll-raw")},
			{name: "Go, bare epoll", program: "go", args: args("epoll-unix")},
			{name: "goroutines on os.Pipe", program: "go", args: args("goroutines")},
			{name: "C, no waiting, threaded", program: "bare", args: args("backend=none", "threaded=1"), lowerBound: true},
			{name: "C epoll", program: "bare"},
			{name: "C epoll, threaded", program: "bare", args: args("threaded=1")},
			{name: "C poll", program: "bare", args: args("backend=poll"), omitFromChart: true},
			{name: "C poll, threaded", program: "bare", args: args("backend=poll", "threaded=1"), omitFromChart: true},
			{name: "C select", program: "bare", args: args("backend=select"), omitFromChart: true},
			{name: "C select, threaded", program: "bare", args: args("backend=select", "threaded=1"), omitFromChart: true},
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
			{name: "time", unit: "ns per event", value: perEvent(nano), better: -1, ratio: true, chart: true},
			{name: "CPU, user+sys", unit: "ns per event", value: cpuPerEvent(nano), better: -1, ratio: true},
		},
		check: checkTokens, seconds: 0.25, quickSeconds: 0.2, rounds: 9, chart: "dots",
	},
	{
		name:  "watched",
		title: "Cost against watched descriptors",
		description: "The same ring with one byte, so that one of n descriptors is ready at a time. Each goselectors backend is compared " +
			"with a C program that makes the same system call, and with libevent on the same facility; all C programs here have a " +
			"second, idle thread. The C programs and libevent block in each call. While a descriptor is always ready, goselectors " +
			"calls poll and select with a zero timeout, which saves the kernel up to half of its work.",
		shapes: []shape{
			watchedShape(10, true), watchedShape(30, false), watchedShape(100, true), watchedShape(300, false),
			watchedShape(1000, true), watchedShape(3000, false), watchedShape(9000, false),
		},
		contenders: []contender{
			{name: "goselectors epoll", program: "go", args: args("eventloop"), ours: true, baseline: "C epoll, threaded"},
			{name: "goselectors poll", program: "go", args: args("eventloop", "backend=poll"), ours: true, baseline: "C poll, threaded"},
			{name: "goselectors select", program: "go", args: args("eventloop", "backend=select"), ours: true, baseline: "C select, threaded"},
			{name: "C epoll, threaded", program: "bare", args: args("threaded=1"), baseline: "C epoll, threaded"},
			{name: "C poll, threaded", program: "bare", args: args("backend=poll", "threaded=1"), baseline: "C poll, threaded"},
			{name: "C select, threaded", program: "bare", args: args("backend=select", "threaded=1"), baseline: "C select, threaded"},
			{name: "libevent epoll, threaded", program: "libevent", args: args("threaded=1"), baseline: "C epoll, threaded"},
			{name: "libevent poll, threaded", program: "libevent", args: args("backend=poll", "threaded=1"), baseline: "C poll, threaded"},
			{name: "libevent select, threaded", program: "libevent", args: args("backend=select", "threaded=1"), baseline: "C select, threaded", maxFDs: 1024}, // Debian's build aborts with a descriptor of 1024 or more
		},
		metrics: []metric{
			{name: "time", unit: "µs per event", value: perEvent(micro), better: -1, ratio: true, chart: true},
			{name: "CPU, user+sys", unit: "µs per event", value: cpuPerEvent(micro), better: -1, ratio: true},
		},
		check: checkTokens, seconds: 0.4, quickSeconds: 0.2, rounds: 5, chart: "lines", xAxis: "watched descriptors",
	},
	{
		name:  "echo",
		title: "TCP echo",
		description: "Messages of 64 bytes over loopback. In the column titles, ×1 and ×16 are the number of requests in flight on each " +
			"connection. The server has one processor; the load generator, the same C program for all servers, has the other. " +
			"Processor time is read from the kernel's CPU clock of the server process and includes all its threads. Where the server " +
			"was less than about 95 % busy, it waited for the generator: there, compare the processor time and not the throughput.",
		baseline: "C epoll, threaded",
		shapes: []shape{
			echoShape(1, 1, true), echoShape(50, 1, true), echoShape(1000, 1, false), echoShape(8000, 1, false),
			echoShape(1, 16, false), echoShape(50, 16, true), echoShape(1000, 16, false), echoShape(8000, 16, false),
		},
		contenders: serverContenders,
		metrics: []metric{
			{name: "CPU, user+sys", unit: "µs per request", value: cpuPerEvent(micro), better: -1, ratio: true, chart: true},
			{name: "throughput", unit: "requests/s", value: func(f figures) float64 { return f["events"] / f["seconds"] }, better: +1, ratio: true},
			{name: "latency, 99th percentile", unit: "µs", value: field("p99", micro), better: -1},
			{name: "server CPU busy", unit: "%", value: func(f figures) float64 { return (f["user"] + f["sys"]) / f["seconds"] * 100 }},
			{name: "load generator CPU busy", unit: "%", value: func(f figures) float64 { return f["load"] / f["seconds"] * 100 }},
		},
		needsLoad: true, pinned: true, seconds: 0.5, quickSeconds: 0.4, setup: 0.4, rounds: 5, chart: "dots",
	},
	{
		name:  "idle",
		title: "Idle connections",
		description: "All connections but one are idle after their first request has been answered; the active one sends a message every half " +
			"millisecond. Resident is the growth of the server's resident memory. Heap is the growth of Go's heap after a collection. " +
			"Kernel is the growth of all slab memory, and so counts both ends of each connection.",
		baseline:   "C epoll, threaded",
		shapes:     []shape{idleShape(9000, false), idleShape(1000, true)},
		contenders: serverContenders,
		metrics: []metric{
			{name: "resident", unit: "bytes per connection", value: perConn("resident"), better: -1, chart: true},
			{name: "heap", unit: "bytes per connection", value: perConn("heap"), better: -1},
			{name: "goroutine stacks", unit: "bytes per connection", value: perConn("stack"), better: -1},
			{name: "kernel", unit: "bytes per connection", value: perConn("slab")},
			{name: "response time of the active connection, median", unit: "µs", value: field("p50", micro), better: -1},
			{name: "99th percentile", unit: "µs", value: field("p99", micro), better: -1},
			{name: "CPU, user+sys", unit: "µs per request", value: cpuPerEvent(micro), better: -1, ratio: true},
		},
		needsLoad: true, pinned: true, seconds: 1, quickSeconds: 0.4, setup: 1.5, rounds: 3, chart: "dots", metricColumns: true,
	},
	{
		name:  "post",
		title: "Posts from other threads",
		description: "Producer threads post ten thousand functions to the loop and wait until all have run, again and again. The C rows " +
			"use a queue under a mutex and one wake-up (with eventfd, ev_async_send or uv_async_send) for all functions that are " +
			"queued before the loop runs: uv_async_send alone carries no data, and several calls can result in one wake-up.",
		baseline: "C queue and eventfd",
		shapes: []shape{
			{name: "1 producer", args: args("producers=1"), quick: true},
			{name: "4 producers", args: args("producers=4"), quick: true},
		},
		contenders: postContenders,
		metrics: []metric{
			{name: "time", unit: "ns per post", value: perEvent(nano), better: -1, ratio: true, chart: true},
			{name: "CPU, user+sys", unit: "ns per post", value: cpuPerEvent(nano), better: -1, ratio: true},
		},
		check: checkPosts, seconds: 0.5, quickSeconds: 0.2, rounds: 5, chart: "dots",
	},
	{
		name:        "wake",
		title:       "Cross-thread wake-up",
		description: "One function is posted every 100 µs to a loop that sleeps. The latency is the time from the post until the function runs.",
		baseline:    "C queue and eventfd",
		shapes: []shape{
			{name: "sleeping loop", args: args("mode=latency"), quick: true},
		},
		contenders: postContenders,
		metrics: []metric{
			{name: "median", unit: "µs", value: field("p50", micro), better: -1, ratio: true, chart: true},
			{name: "99th percentile", unit: "µs", value: field("p99", micro), better: -1, ratio: true, chart: true},
			{name: "CPU, user+sys", unit: "µs per post", value: cpuPerEvent(micro), better: -1, ratio: true, chart: true},
		},
		check: checkPosts, seconds: 0.5, quickSeconds: 0.2, rounds: 5, chart: "dots", metricColumns: true,
	},
	{
		name:  "timers",
		title: "Timers",
		description: "Schedule n timers with random delays of up to one second, wait until all are due, and fire them. Then, with 10 000 other " +
			"timers pending, schedule and cancel one timer n times, and re-arm one timer n times. asyncio cannot re-arm a timer; there it " +
			"is a cancel and a new timer. Times are per timer or operation. Memory is the growth of resident memory while scheduling, " +
			"including the timer objects.",
		baseline: "libev",
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
			{name: "schedule", unit: "ns", value: perEventOf("schedule", nano), better: -1, ratio: true, chart: true},
			{name: "fire", unit: "ns", value: perEventOf("fire", nano), better: -1, ratio: true, chart: true},
			{name: "schedule and cancel", unit: "ns", value: perEventOf("cancel", nano), better: -1, ratio: true, chart: true},
			{name: "re-arm", unit: "ns", value: perEventOf("rearm", nano), better: -1, ratio: true, chart: true},
			{name: "CPU, all four", unit: "ns", value: func(f figures) float64 {
				return (f["schedule_cpu"] + f["fire_cpu"] + f["cancel_cpu"] + f["rearm_cpu"]) / f["events"] * nano
			}, better: -1},
			{name: "memory", unit: "bytes per timer", value: perEventOf("bytes", 1), better: -1},
		},
		check: checkTimers, setup: 5, rounds: 3, chart: "dots", metricColumns: true,
	},
	{
		name:  "wait",
		title: "Wait strategies",
		description: "One connection to an echo server that is not pinned, with GOMAXPROCS (P) 1 and 2: without a pause between requests, " +
			"with pauses, with goroutines that compute without end (busy goroutines), and with pairs of goroutines that exchange values " +
			"over channels. The row goselectors is the default wait strategy: it either parks the goroutine in Go's runtime or blocks " +
			"in the system call for a short time, depending on what has been faster. The row \"goselectors, blocking\" uses " +
			"WithBlockingWait. There is no option that always parks; the table in the documentation of package selectors includes it.",
		baseline: "Go, bare epoll_wait",
		shapes: []shape{
			waitShape("no pause", 1, nil, nil, true),
			waitShape("no pause", 2, nil, nil, true),
			waitShape("50 µs pauses", 1, nil, args("pause=50"), false),
			waitShape("50 µs pauses", 2, nil, args("pause=50"), false),
			waitShape("1 ms pauses", 1, nil, args("pause=1000"), false),
			waitShape("1 ms pauses", 2, nil, args("pause=1000"), false),
			waitShape("1 busy goroutine", 1, args("busy=1"), nil, true),
			waitShape("1 busy goroutine", 2, args("busy=1"), nil, false),
			waitShape("2 busy goroutines", 2, args("busy=2"), nil, false),
			waitShape("4 channel pairs", 2, args("pairs=4"), nil, false),
		},
		contenders: waitContenders,
		metrics: []metric{
			{name: "round trips", unit: "1/s", value: func(f figures) float64 { return f["events"] / f["seconds"] }, better: +1, ratio: true, chart: true},
			{name: "round trip, median", unit: "µs", value: field("p50", micro), better: -1, ratio: true},
			{name: "CPU, user+sys (busy goroutines included)", unit: "µs per request", value: cpuPerEvent(micro), better: -1, ratio: true},
		},
		needsLoad: true, seconds: 1, quickSeconds: 0.4, rounds: 3, chart: "dots",
	},
	{
		name:  "idle-selectors",
		title: "A hundred idle selectors",
		description: "A hundred selectors, each waiting in a goroutine of its own after three events: how many operating system threads they " +
			"need, and how much processor time they use while no event occurs.",
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
			{name: "threads", value: field("threads", 1)},
			{name: "CPU while idle", unit: "%", value: field("idle", 100)},
		},
		seconds: 0.5, quickSeconds: 0.2, rounds: 3, metricColumns: true,
	},
}

var postContenders = []contender{
	{name: "goselectors Post", program: "go", args: args("eventloop"), ours: true},
	{name: "Go channel", program: "go", args: args("channel")},
	{name: "C queue and eventfd", program: "bare"},
	{name: "libev", program: "libev"},
	{name: "libuv", program: "libuv"},
	{name: "asyncio", program: "python", args: args("asyncio")},
}

// A target is a goal of the project: a metric of a contender is at most limit
// times that of each rival, or at most limit if there are no rivals.
type target struct {
	workload  string
	shape     string // "": each shape
	contender string
	metric    string
	rivals    []string
	limit     float64
}

var targets = []target{
	{"ring", "", "goselectors eventloop", "time", args("libevent", "libev", "libuv"), 1},
	{"ring", "", "goselectors eventloop", "time", args("libevent, threaded", "libev, threaded", "libuv, threaded"), 1},
	{"ring", "", "goselectors eventloop", "time", args("C epoll, threaded"), 1.10},
	{"watched", "1000", "goselectors poll", "time", args("C poll, threaded"), 1.05},
	{"watched", "9000", "goselectors poll", "time", args("C poll, threaded"), 1.05},
	{"watched", "1000", "goselectors select", "time", args("C select, threaded"), 1.05},
	{"watched", "9000", "goselectors select", "time", args("C select, threaded"), 1.05},
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
