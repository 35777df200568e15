// Select, poll and epoll side by side: three ways to ask the kernel the same
// question, which of these n descriptors are ready? What differs is who
// remembers the n: select and poll get all of them with every call and look at
// all of them; epoll is told once, and keeps a list of those that got ready.
//
//	go run ./examples/select-poll-epoll
//	go run ./examples/select-poll-epoll -compare
//
// The three calls are in ways_linux.go, the measuring is here. With -compare
// the example of that name goes on: the same through package selectors, on TCP connections,
// with a chart.
package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// open makes n eventfds, descriptors that cost little, the last one ready.
func open(n int) (fds []int, err error) {
	for range n {
		fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
		if err != nil {
			return fds, err
		}
		fds = append(fds, fd)
	}
	_, err = unix.Write(fds[n-1], binary.NativeEndian.AppendUint64(nil, 1))
	return fds, err
}

// measure is what one call takes: the best of several tries, as all that can
// disturb makes it slower.
func measure(ask func() (ready int)) time.Duration {
	best := time.Hour
	for range 10 {
		calls, start := 0, time.Now()
		for time.Since(start) < 2*time.Millisecond {
			if ready := ask(); ready != 1 {
				check(fmt.Errorf("%d are ready; want 1", ready))
			}
			calls++
		}
		best = min(best, time.Since(start)/time.Duration(calls))
	}
	return best
}

func main() {
	list := flag.String("n", "10,100,1000,10000", "`numbers` of descriptors")
	compare := flag.Bool("compare", false, "go on with examples/compare; run it from the root of the repository")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: select-poll-epoll [-n numbers] [-compare]")
		flag.PrintDefaults()
	}
	flag.Parse()
	var numbers []int
	for _, s := range strings.Split(*list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 1<<20 || flag.NArg() > 0 {
			flag.Usage()
			os.Exit(2)
		}
		numbers = append(numbers, n)
	}
	fmt.Println("Which of n descriptors are ready? One is. What a call copies, scans and takes:")
	fmt.Println()
	fmt.Printf("%7s  %-6s  %9s  %9s  %9s  %9s\n", "n", "call", "bytes in", "bytes out", "scanned", "µs a call")
	for _, n := range numbers {
		fds, err := open(n)
		if err != nil {
			fmt.Printf("%7d  left out: %v (see ulimit -n)\n", n, err)
		}
		for _, way := range ways {
			if err != nil {
				break
			}
			highest := fds[n-1] // numbers are given out in ascending order
			if highest >= way.most {
				fmt.Printf("%7d  %-6s  cannot: its set ends at %d\n", n, way.name, way.most-1)
				continue
			}
			in, out := way.copied(n, highest)
			fmt.Printf("%7d  %-6s  %9d  %9d  %9d  %9.2f\n", n, way.name, in, out,
				way.scanned(n, highest), float64(measure(way.prepare(fds)).Nanoseconds())/1000)
		}
		for _, fd := range fds {
			unix.Close(fd)
		}
		fmt.Println()
	}
	fmt.Println(`bytes in, out  copied to and from the kernel by a call; epoll's interest goes
               in only when it changes (epoll_ctl), and out comes what is ready
scanned        entries that the kernel looks at, and the program again after it`)
	if !*compare {
		fmt.Println("try: -compare, for the same through package selectors, and a chart")
		return
	}
	cmd := exec.Command("go", "run", "./examples/compare", "-n", "10,100,1000", "-active", "1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	check(cmd.Run())
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "select-poll-epoll:", err)
		os.Exit(1)
	}
}
