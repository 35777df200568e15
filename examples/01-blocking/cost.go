package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"strings"
)

// cost is what the server holds.
type cost struct{ goroutines, threads, stacks, heap int }

func measure() cost {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return cost{runtime.NumGoroutine(), pprof.Lookup("threadcreate").Count(), int(m.StackInuse), int(m.HeapAlloc)}
}

// report says what n idle clients cost.
func report(before, after cost, n int, processes []*exec.Cmd) {
	line := func(what string, bytes int) {
		fmt.Printf("  %-10s %5d KB, %.1f KB a client\n", what, bytes>>10, float64(bytes)/1024/float64(n))
	}
	if len(processes) == 0 {
		fmt.Printf("%d idle clients, a goroutine each:\n", n)
		fmt.Printf("  %-10s %5d in all\n", "goroutines", after.goroutines)
		fmt.Printf("  %-10s %5d in all: waiting goroutines need none\n", "threads", after.threads)
		line("stacks", after.stacks-before.stacks)
		line("heap", after.heap-before.heap)
		return
	}
	fmt.Printf("%d idle clients, a process each:\n", n)
	fmt.Printf("  %-10s %5d more\n", "processes", len(processes))
	memory := 0
	for _, p := range processes {
		// Its proportional share of memory, as Linux tells it: a page that
		// many processes use counts in parts.
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.Process.Pid))
		_, pss, _ := strings.Cut(string(text), "\nPss:")
		kb := 0
		fmt.Sscan(pss, &kb)
		memory += kb << 10
	}
	if memory > 0 {
		line("memory", memory)
		fmt.Println("  not counting what the kernel holds for each: page tables, a stack, tables")
	}
}
