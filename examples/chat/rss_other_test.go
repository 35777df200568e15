//go:build unix && !linux

package main

import "os"

// maxRSS is in other units elsewhere.
func maxRSS(*os.ProcessState) int64 { return 0 }
