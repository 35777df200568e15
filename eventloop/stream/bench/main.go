//go:build linux

// Bench compares echo servers: package stream beside a goroutine a connection
// on package net, cloudwego/netpoll, and an epoll loop with nothing around it.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const message = 64

var (
	serve    = flag.String("serve", "", "be this server, instead of comparing")
	only     = flag.String("servers", "epoll,stream,net,netpoll", "servers to compare")
	conns    = flag.String("conns", "1,50,1000,8000", "numbers of connections")
	depths   = flag.String("depth", "1,16", "requests on their way at a time on each connection")
	rounds   = flag.Int("rounds", 5, "rounds; figures are medians over them")
	duration = flag.Duration("time", time.Second, "how long each measurement takes")
	serverOn = flag.Int("server-cpu", 0, "processor of the servers")
	clientOn = flag.Int("client-cpu", 1, "processor of the load generator")
)

func main() {
	flag.Parse()
	log.SetFlags(0)
	if *serve != "" {
		log.Fatal(servers[*serve]())
	}
	pin(*clientOn)
	raise()
	fmt.Printf("%-8s %6s %5s  %10s %9s %6s  %8s %8s  %9s\n", "server", "conns", "depth", "requests/s", "CPU µs/rq", "ratio", "p50 µs", "p99 µs", "RSS/conn")
	for _, n := range numbers(*conns) {
		for _, depth := range numbers(*depths) {
			compare(strings.Split(*only, ","), n, depth)
		}
	}
}

func numbers(list string) (all []int) {
	for _, s := range strings.Split(list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil {
			log.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

// A result is what one measurement says.
type result struct{ rate, cpu, p50, p99, rss float64 }

// compare measures the servers in turn, round by round, so that what disturbs
// the machine disturbs all of them.
func compare(names []string, n, depth int) {
	all := make(map[string][]result)
	for range *rounds {
		for _, name := range names {
			all[name] = append(all[name], measure(name, n, depth))
		}
	}
	median := func(name string, of func(result) float64) float64 {
		var v []float64
		for _, r := range all[name] {
			v = append(v, of(r))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	for _, name := range names {
		ratio := func() float64 { // of neighbours in a round
			var v []float64
			for i, r := range all[name] {
				v = append(v, r.cpu/all[names[0]][i].cpu)
			}
			slices.Sort(v)
			return v[len(v)/2]
		}()
		fmt.Printf("%-8s %6d %5d  %10.0f %9.2f %6.2f  %8.0f %8.0f  %9.0f\n", name, n, depth,
			median(name, func(r result) float64 { return r.rate }),
			median(name, func(r result) float64 { return r.cpu }), ratio,
			median(name, func(r result) float64 { return r.p50 }),
			median(name, func(r result) float64 { return r.p99 }),
			median(name, func(r result) float64 { return r.rss }))
	}
}

func measure(name string, n, depth int) (r result) {
	exe, err := os.Executable()
	check(err)
	cmd := exec.Command(exe, "-serve", name, "-server-cpu", strconv.Itoa(*serverOn))
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	check(err)
	check(cmd.Start())
	defer cmd.Wait()
	defer cmd.Process.Kill()
	line, err := bufio.NewReader(out).ReadString('\n')
	check(err)
	port, err := strconv.Atoi(strings.TrimSpace(line))
	check(err)

	before := rss(cmd.Process.Pid)
	l := newLoad(port, n, depth)
	defer l.close()
	l.run(time.Now().Add(*duration / 4)) // warm
	time.Sleep(50 * time.Millisecond)
	r.rss = float64(rss(cmd.Process.Pid)-before) / float64(n)
	l.latencies = l.latencies[:0]
	cpu, began := cpuTime(cmd.Process.Pid), time.Now()
	requests := l.run(began.Add(*duration))
	r.cpu = float64(cpuTime(cmd.Process.Pid)-cpu) / float64(requests) / 1000
	r.rate = float64(requests) / time.Since(began).Seconds()
	slices.Sort(l.latencies)
	r.p50 = float64(l.latencies[len(l.latencies)/2]) / 1000
	r.p99 = float64(l.latencies[len(l.latencies)*99/100]) / 1000
	return r
}

func check(err error) {
	if err != nil {
		log.Panic(err)
	}
}

// cpuTime is what all threads of a process have run for, in nanoseconds.
func cpuTime(pid int) (total int64) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, task := range tasks {
		data, _ := os.ReadFile(task)
		ns, _, _ := strings.Cut(string(data), " ")
		n, _ := strconv.ParseInt(ns, 10, 64)
		total += n
	}
	return total
}

// rss is a process's memory in bytes.
func rss(pid int) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	check(err)
	pages, err := strconv.Atoi(strings.Fields(string(data))[1])
	check(err)
	return pages * os.Getpagesize()
}

// pin puts this process on one processor. Threads that run already stay where
// they are, so the program begins once more.
func pin(cpu int) {
	const done = "STREAM_BENCH_PINNED"
	if os.Getenv(done) != "" {
		os.Unsetenv(done)
		return
	}
	var set unix.CPUSet
	set.Set(cpu)
	check(unix.SchedSetaffinity(0, &set))
	exe, err := os.Executable()
	check(err)
	check(syscall.Exec(exe, os.Args, append(os.Environ(), done+"=1")))
}

// raise allows as many descriptors as possible.
func raise() {
	var limit unix.Rlimit
	check(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	limit.Cur = limit.Max
	check(unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
}

// A load is clients that each keep depth requests on their way.
type load struct {
	epfd      int
	fds       []int
	want      []int       // by connection: bytes still to come of this batch
	sent      []time.Time // by connection
	batch     []byte
	depth     int
	latencies []int64
}

func newLoad(port, n, depth int) *load {
	l := &load{want: make([]int, n), sent: make([]time.Time, n), batch: make([]byte, message*depth), depth: depth}
	var err error
	l.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	check(err)
	for i := range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		check(err)
		// Several addresses of ours, so that ports do not run out while old
		// connections linger.
		check(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 1, byte(i%16 + 1)}}))
		check(unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}))
		check(unix.SetNonblock(fd, true))
		check(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
		check(unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		check(unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}))
		l.fds = append(l.fds, fd)
	}
	return l
}

func (l *load) close() {
	for _, fd := range l.fds {
		unix.Close(fd)
	}
	unix.Close(l.epfd)
}

// run keeps all clients busy until then, and returns how many requests were
// answered.
func (l *load) run(until time.Time) (requests int) {
	busy := 0
	for i := range l.fds {
		l.send(i)
		busy++
	}
	events := make([]unix.EpollEvent, 1024)
	buf := make([]byte, 64<<10)
	now := time.Now()
	for busy > 0 {
		n, err := unix.EpollWait(l.epfd, events, 5000)
		if err == unix.EINTR {
			continue
		}
		check(err)
		if n == 0 {
			log.Panic("the server does not answer")
		}
		now = time.Now()
		for _, ev := range events[:n] {
			i := int(ev.Fd)
			got, err := unix.Read(l.fds[i], buf)
			if err == unix.EAGAIN {
				continue
			}
			check(err)
			if got == 0 {
				log.Panic("the server has closed the connection")
			}
			if l.want[i] -= got; l.want[i] > 0 {
				continue
			}
			requests += l.depth
			l.latencies = append(l.latencies, int64(now.Sub(l.sent[i])))
			if now.Before(until) {
				l.send(i)
			} else {
				busy--
			}
		}
	}
	return requests
}

func (l *load) send(i int) {
	l.sent[i], l.want[i] = time.Now(), len(l.batch)
	n, err := unix.Write(l.fds[i], l.batch)
	check(err)
	if n != len(l.batch) {
		log.Panic("the socket is full")
	}
}
