//go:build linux

// Contender is one contender of the comparison doing one workload in a process
// of its own: contender NAME WORKLOAD name=value …. It prints one line of
// figures; the programs in ../c and ../py do the same.
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

// work is what each contender can do.
var work = map[string]map[string]func(args){
	"eventloop":  {"ring": ringLoop, "echo": echoLoop, "wake": wakeLoop, "timers": timersLoop},
	"selector":   {"ring": ringSelector, "echo": echoSelector, "idlers": idleSelectors},
	"epoll-unix": {"ring": ringUnix, "echo": echoUnix, "idlers": idleUnix},
	"epoll-raw":  {"ring": ringRaw, "echo": echoRaw},
	"goroutines": {"ring": ringGoroutines, "echo": echoNet, "idlers": idleGoroutines},
	"channel":    {"wake": wakeChannel},
	"afterfunc":  {"timers": timersAfterFunc},
	"net/http":   {"http": serveHTTP}, // for servers.sh
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "version" {
		version()
		return
	}
	if len(os.Args) < 3 || work[os.Args[1]][os.Args[2]] == nil {
		fmt.Fprintln(os.Stderr, "usage: contender NAME WORKLOAD name=value …, with one of")
		for _, name := range slices.Sorted(maps.Keys(work)) {
			fmt.Fprintln(os.Stderr, " ", name, slices.Sorted(maps.Keys(work[name])))
		}
		os.Exit(2)
	}
	a := args(os.Args[3:])
	a.company()
	work[os.Args[1]][os.Args[2]](a)
}

// others are the modules that goselectors is compared with.
var others = []string{"github.com/cloudwego/netpoll", "github.com/lesismal/nbio", "github.com/tidwall/evio"}

// version names the releases of what is compared.
func version() {
	info, _ := debug.ReadBuildInfo()
	var named []string
	for _, m := range info.Deps {
		if slices.Contains(others, m.Path) {
			named = append(named, m.Path+" "+m.Version)
		}
	}
	fmt.Println(strings.Join(named, ", "))
}

type args []string

func (a args) text(name, otherwise string) string {
	for _, s := range a {
		if v, ok := strings.CutPrefix(s, name+"="); ok {
			return v
		}
	}
	return otherwise
}

func (a args) number(name string, otherwise int) int {
	v := a.text(name, "")
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	check(err)
	return n
}

func (a args) seconds() time.Duration {
	s, err := strconv.ParseFloat(a.text("seconds", "1"), 64)
	check(err)
	return time.Duration(s * float64(time.Second))
}

// company is what else the process does: hogs that compute, and pairs of
// goroutines that exchange over channels.
func (a args) company() {
	for range a.number("hogs", 0) {
		go func() {
			for x := int64(1); ; x = x*3 + 1 {
				if x == 0 {
					panic("an odd number times three plus one is even at most half the time")
				}
			}
		}()
	}
	for range a.number("pairs", 0) {
		there, back := make(chan int), make(chan int)
		go func() {
			for v := range there {
				back <- v
			}
		}()
		go func() {
			for {
				there <- 1
				<-back
			}
		}()
	}
}

// figures are what is printed, by the names that the runner knows.
type figures map[string]float64

func (f figures) print() { check(json.NewEncoder(os.Stdout).Encode(f)) }

// A span is the part of a run that counts.
type span struct{ wall, user, sys time.Duration }

var start = time.Now()

func used() span {
	var u unix.Rusage
	check(unix.Getrusage(unix.RUSAGE_SELF, &u))
	return span{time.Since(start), time.Duration(u.Utime.Nano()), time.Duration(u.Stime.Nano())}
}

func (s span) since() span {
	now := used()
	return span{now.wall - s.wall, now.user - s.user, now.sys - s.sys}
}

func (s span) figures() figures {
	return figures{"seconds": s.wall.Seconds(), "user": s.user.Seconds(), "sys": s.sys.Seconds()}
}

func (s span) cpu() float64 { return (s.user + s.sys).Seconds() }

func check(err error) {
	if err != nil {
		panic(err)
	}
}
