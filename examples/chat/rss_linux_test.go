package main

import (
	"os"
	"syscall"
)

// maxRSS returns the maximum resident set size of a process that has ended, in KiB.
func maxRSS(s *os.ProcessState) int64 { return int64(s.SysUsage().(*syscall.Rusage).Maxrss) }
