//go:build !linux

package main

import "goselectors/examples/internal/lesson"

func main() {
	lesson.Unsupported("06-anyfd", "only Linux has all of these descriptors")
}
