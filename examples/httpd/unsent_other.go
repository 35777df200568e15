//go:build !linux

package main

// unsentInKernel: progress is seen when the kernel takes new data.
func unsentInKernel(int) int { return 0 }
