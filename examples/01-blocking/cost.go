package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"strings"
)

// cost is what this process uses. Stacks and heap are in bytes.
type cost struct{ goroutines, threads, stacks, heap int }

func measure() cost {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return cost{runtime.NumGoroutine(), pprof.Lookup("threadcreate").Count(), int(m.StackInuse), int(m.HeapAlloc)}
}

// report prints the cost of n idle clients.
func report(before, after cost, n int, processes []*exec.Cmd) {
	printMemory := func(what string, bytes int) {
		fmt.Printf("  %-10s %5d KB, %.1f KB per client\n", what, bytes>>10, float64(bytes)/1024/float64(n))
	}
	if len(processes) == 0 {
		fmt.Printf("%d idle clients, one goroutine per client:\n", n)
		fmt.Printf("  %-10s %5d in total\n", "goroutines", after.goroutines)
		fmt.Printf("  %-10s %5d in total: a waiting goroutine needs no thread\n", "threads", after.threads)
		printMemory("stacks", after.stacks-before.stacks)
		printMemory("heap", after.heap-before.heap)
		return
	}
	fmt.Printf("%d idle clients, one process per client:\n", n)
	fmt.Printf("  %-10s %5d more\n", "processes", len(processes))
	if memory := proportionalMemory(processes); memory > 0 {
		printMemory("memory", memory)
		fmt.Println("  without the kernel's own memory for each process: page tables, kernel stack")
	}
}

// proportionalMemory is the sum of the proportional set sizes (Pss) of the
// processes in bytes: a page that n processes share counts as 1/n of a page.
// Only Linux has it; elsewhere the sum is 0.
func proportionalMemory(processes []*exec.Cmd) (bytes int) {
	for _, p := range processes {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.Process.Pid))
		_, pss, _ := strings.Cut(string(text), "\nPss:")
		kb := 0
		fmt.Sscan(pss, &kb)
		bytes += kb << 10
	}
	return bytes
}
