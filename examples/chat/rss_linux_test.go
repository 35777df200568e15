package main

import (
	"os"
	"syscall"
)

// maxRSS is how much memory a process took, in KiB.
func maxRSS(s *os.ProcessState) int64 { return int64(s.SysUsage().(*syscall.Rusage).Maxrss) }
