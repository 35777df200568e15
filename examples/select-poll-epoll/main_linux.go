// Select, poll and epoll side by side: three system calls that answer the same
// question, which of these n descriptors are ready? The difference is who keeps
// the list of the n descriptors. Select and poll get the whole list with each
// call and scan all of it. Epoll gets it once, and the kernel keeps a list of
// those that are ready.
//
//	go run ./examples/select-poll-epoll
//	go run ./examples/select-poll-epoll -compare
//
// The three calls are in ways_linux.go, the measurement is in this file. With
// -compare the program also runs examples/compare: the same question for package
// selectors, with TCP connections and a chart.
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

	"goselectors/examples/internal/cli"
)

// open opens n eventfds, which are cheap descriptors. The last one is ready.
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

// measure returns the time of one call: the best of ten rounds, because every
// disturbance only makes a round slower.
func measure(countReady func() int) time.Duration {
	best := time.Hour
	for range 10 {
		calls, start := 0, time.Now()
		for time.Since(start) < 2*time.Millisecond {
			if ready := countReady(); ready != 1 {
				cli.Check(fmt.Errorf("%d are ready; want 1", ready))
			}
			calls++
		}
		best = min(best, time.Since(start)/time.Duration(calls))
	}
	return best
}

// printRows measures all three calls with n descriptors.
func printRows(n int) {
	fds, err := open(n)
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	if err != nil {
		fmt.Printf("%7d  skipped: %v (see ulimit -n)\n", n, err)
		return
	}
	highest := fds[n-1] // the kernel assigns the numbers in ascending order
	for _, way := range ways {
		if highest >= way.limit {
			fmt.Printf("%7d  %-6s  not possible: the highest descriptor is %d\n", n, way.name, way.limit-1)
			continue
		}
		in, out := way.copied(n, highest)
		fmt.Printf("%7d  %-6s  %9d  %9d  %9d  %9.2f\n", n, way.name, in, out,
			way.scanned(n, highest), float64(measure(way.prepare(fds)).Nanoseconds())/1000)
	}
}

func main() {
	list := flag.String("n", "10,100,1000,10000", "the `numbers` of descriptors, separated by commas")
	compare := flag.Bool("compare", false, "also run examples/compare; works only in the root of the repository")
	cli.Parse("select-poll-epoll")
	var numbers []int
	for _, s := range strings.Split(*list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 1<<20 {
			cli.UsageError("-n must be numbers from 1 to %d", 1<<20)
		}
		numbers = append(numbers, n)
	}
	fmt.Println("Which of n descriptors are ready? (One is.) The cost of one call:")
	fmt.Println()
	fmt.Printf("%7s  %-6s  %9s  %9s  %9s  %9s\n", "n", "call", "bytes in", "bytes out", "scanned", "µs/call")
	for _, n := range numbers {
		printRows(n)
		fmt.Println()
	}
	fmt.Println(`bytes in, out  copied to and from the kernel per call; epoll copies interest
               in only when it changes (epoll_ctl), and only ready entries out
scanned        entries that the kernel checks, and then the program again`)
	if !*compare {
		fmt.Println("try: -compare, the same for package selectors, with a chart")
		return
	}
	cmd := exec.Command("go", "run", "./examples/compare", "-n", "10,100,1000", "-active", "1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cli.Check(cmd.Run())
}
