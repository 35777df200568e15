//go:build unix

package comparetest_test

import (
	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
)

// Short names, so that tests read as tables.
const (
	read       = selectors.EventRead
	write      = selectors.EventWrite
	priority   = selectors.EventPriority
	readClosed = selectors.EventReadClosed
	oneShot    = selectors.OneShot
	edge       = selectors.EdgeTriggered
	exclusive  = selectors.Exclusive
)

type batch = backendtest.Batch
