//go:build linux

package stream_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"goselectors/selectors"
)

var (
	modelSeed       = flag.Int64("model.seed", 1, "the first random sequence of TestConnModel")
	modelOperations = flag.Int("model.operations", 3000, "operations of TestConnModel on each backend")
)

// compareConn runs a sequence. If it fails, the error has the shortest script that
// fails.
func compareConn(t *testing.T, s *modelSequence, b selectors.Backend, sockets *modelSockets, cover func(string)) {
	t.Helper()
	_, err := runSequence(s, b, sockets, cover)
	if err == nil {
		return
	}
	settleTime = 200 * time.Millisecond // of each try to shorten the script
	fails := func(s *modelSequence) bool {
		_, err := runSequence(s, b, sockets, func(string) {})
		return err != nil
	}
	small := shrinkSequence(s, fails)
	done, smallErr := runSequence(small, b, sockets, func(string) {})
	t.Errorf("%v\nThe shortest script that fails:\n%v\n%v\n%s", err, small, smallErr, strings.Join(done, "\n"))
}

// TestConnModel runs random sequences on every backend and on the model.
func TestConnModel(t *testing.T) {
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			sockets := newModelSockets(t)
			count := 0
			for seed := *modelSeed; count < *modelOperations && !t.Failed(); seed++ {
				random := chooser(rand.New(rand.NewPCG(uint64(seed), 0)).IntN)
				s := &modelSequence{}
				random.config(s)
				for range 1 + random(40) {
					s.ops = append(s.ops, random.operation())
				}
				count += len(s.ops)
				compareConn(t, s, b, sockets, func(string) {})
				if t.Failed() {
					t.Log(fmt.Sprintf("repeat with: -run TestConnModel/%s -model.seed %d", b.Name, seed))
				}
			}
		})
	}
}
