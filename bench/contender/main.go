//go:build linux

// Contender runs one workload with one Go contender of the benchmark:
//
//	contender NAME WORKLOAD name=value …
//
// It prints one line of figures in JSON. The programs in ../c and ../py do the same.
package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// contenders contains the workloads of each contender.
var contenders = map[string]map[string]func(args){
	"eventloop":  {"ring": ringLoop, "echo": echoLoop, "wake": wakeLoop, "timers": timersLoop},
	"selector":   {"ring": ringSelector, "echo": echoSelector, "idle-selectors": idleSelectors},
	"epoll-unix": {"ring": ringUnix, "echo": echoUnix, "idle-selectors": idleEpoll},
	"epoll-raw":  {"ring": ringRaw, "echo": echoRaw},
	"goroutines": {"ring": ringGoroutines, "echo": echoNet, "idle-selectors": idleGoroutines},
	"channel":    {"wake": wakeChannel},
	"afterfunc":  {"timers": timersAfterFunc},
	"net/http":   {"http": serveHTTP}, // for servers.sh
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "version" {
		version()
		return
	}
	if len(os.Args) < 3 || contenders[os.Args[1]][os.Args[2]] == nil {
		fmt.Fprintln(os.Stderr, "usage: contender NAME WORKLOAD name=value …\n\nNames and workloads:")
		for _, name := range slices.Sorted(maps.Keys(contenders)) {
			fmt.Fprintln(os.Stderr, " ", name, slices.Sorted(maps.Keys(contenders[name])))
		}
		os.Exit(2)
	}
	a := args(os.Args[3:])
	a.startBackgroundLoad()
	contenders[os.Args[1]][os.Args[2]](a)
}

// comparedModules are the modules whose versions the command "version" prints.
var comparedModules = []string{"github.com/cloudwego/netpoll", "github.com/lesismal/nbio", "github.com/tidwall/evio"}

// version prints the modules in comparedModules that this program contains.
func version() {
	info, _ := debug.ReadBuildInfo()
	var versions []string
	for _, m := range info.Deps {
		if slices.Contains(comparedModules, m.Path) {
			versions = append(versions, m.Path+" "+m.Version)
		}
	}
	fmt.Println(strings.Join(versions, ", "))
}

// args are the arguments of the form name=value.
type args []string

// str returns the value of an argument, or fallback if it is missing.
func (a args) str(name, fallback string) string {
	for _, s := range a {
		if v, ok := strings.CutPrefix(s, name+"="); ok {
			return v
		}
	}
	return fallback
}

// number is like str for an integer.
func (a args) number(name string, fallback int) int {
	v := a.str(name, "")
	if v == "" {
		return fallback
	}
	n, err := strconv.Atoi(v)
	check(err)
	return n
}

// seconds returns the duration of the measurement.
func (a args) seconds() time.Duration {
	s, err := strconv.ParseFloat(a.str("seconds", "1"), 64)
	check(err)
	return time.Duration(s * float64(time.Second))
}

// startBackgroundLoad starts the goroutines that run beside the workload: "busy"
// goroutines that compute without end, and "pairs" of goroutines that exchange
// values over channels.
func (a args) startBackgroundLoad() {
	for range a.number("busy", 0) {
		go func() {
			for x := int64(1); ; x = x*3 + 1 {
				if x == 0 {
					panic("unreachable") // keeps the compiler from removing x
				}
			}
		}()
	}
	for range a.number("pairs", 0) {
		requests, replies := make(chan int), make(chan int)
		go func() {
			for v := range requests {
				replies <- v
			}
		}()
		go func() {
			for {
				requests <- 1
				<-replies
			}
		}()
	}
}

// figures are the numbers that a run prints, by the names in the plan (../plan.go).
type figures map[string]float64

func (f figures) print() { check(json.NewEncoder(os.Stdout).Encode(f)) }

// A usage is the wall, user and system time that this process has used, since its
// start or since an earlier usage.
type usage struct{ wall, user, sys time.Duration }

var processStart = time.Now()

// currentUsage returns what this process has used since its start.
func currentUsage() usage {
	var u unix.Rusage
	check(unix.Getrusage(unix.RUSAGE_SELF, &u))
	return usage{time.Since(processStart), time.Duration(u.Utime.Nano()), time.Duration(u.Stime.Nano())}
}

// since returns the time used since s.
func (s usage) since() usage {
	now := currentUsage()
	return usage{now.wall - s.wall, now.user - s.user, now.sys - s.sys}
}

func (s usage) figures() figures {
	return figures{"seconds": s.wall.Seconds(), "user": s.user.Seconds(), "sys": s.sys.Seconds()}
}

func (s usage) cpu() float64 { return (s.user + s.sys).Seconds() }

func check(err error) {
	if err != nil {
		panic(err)
	}
}
