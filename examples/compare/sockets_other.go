//go:build !unix

package main

import (
	"errors"
	"math"
	"time"
)

// The measurements use Unix system calls. On other platforms connect
// returns an error.

type link [2]int

func connect(int) ([]link, error)              { return nil, errors.ErrUnsupported }
func disconnect([]link)                        {}
func read(int, []byte) (int, error)            { return 0, errors.ErrUnsupported }
func write(int, []byte) (int, error)           { return 0, errors.ErrUnsupported }
func processorTime() (user, sys time.Duration) { return 0, 0 }
func descriptorLimit() int                     { return math.MaxInt32 }
