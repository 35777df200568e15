//go:build linux

package stream_test

import (
	"flag"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"goselectors/selectors"
)

var (
	modelSeed       = flag.Int64("model.seed", 1, "the first random sequence of TestConnModel")
	modelOperations = flag.Int("model.operations", 20000, "operations of TestConnModel on each backend")
)

// compareConn runs a sequence. If it fails, the error has the shortest script that
// fails.
func compareConn(t *testing.T, s *modelSequence, b selectors.Backend, sockets *modelSockets, cover func(string)) {
	t.Helper()
	_, err := runSequence(s, b, sockets, cover)
	if err == nil {
		return
	}
	defer func(d time.Duration) { settleTime = d }(settleTime)
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
			count, reached := 0, map[string]int{}
			for _, script := range connScripts {
				compareConn(t, parseSequence(script), b, sockets, func(event string) { reached[event]++ })
			}
			for seed := *modelSeed; count < *modelOperations && !t.Failed(); seed++ {
				random := chooser(rand.New(rand.NewPCG(uint64(seed), 0)).IntN)
				s := &modelSequence{}
				random.config(s)
				for range 1 + random(40) {
					s.ops = append(s.ops, random.operation())
				}
				count += len(s.ops)
				compareConn(t, s, b, sockets, func(event string) { reached[event]++ })
				if t.Failed() {
					t.Logf("repeat with: -run TestConnModel/%s -model.seed %d", b.Name, seed)
				}
			}
			if t.Failed() {
				return
			}
			checkRows(t, b, reached)
			for _, event := range slices.Sorted(maps.Keys(reached)) {
				t.Logf("%8d %s", reached[event], event)
			}
		})
	}
}

// checkRows checks that each row of the contract was reached.
func checkRows(t *testing.T, b selectors.Backend, reached map[string]int) {
	t.Helper()
	for _, row := range modelRows {
		if slices.Contains(rowsWithHints, row) && b.Features&selectors.FeatureHangup == 0 {
			continue
		}
		pattern := regexp.MustCompile(row)
		if !slices.ContainsFunc(slices.Collect(maps.Keys(reached)), pattern.MatchString) {
			t.Errorf("nothing has reached the row %s", row)
		}
	}
}

// FuzzConn runs sequences on every backend and on the model.
func FuzzConn(f *testing.F) {
	for _, script := range connScripts {
		f.Add(parseSequence(script).encode())
	}
	sockets := newModelSockets(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, b := range selectors.Backends() {
			compareConn(t, decodeSequence(data), b, sockets, func(string) {})
		}
	})
}

// TestConnSequenceBytes checks that decodeSequence is the inverse of encode, and
// String of parseSequence.
func TestConnSequenceBytes(t *testing.T) {
	for _, script := range connScripts {
		s := parseSequence(script)
		if got := decodeSequence(s.encode()).String(); got != s.String() || parseSequence(got).String() != got {
			t.Errorf("%s\nbecomes %s", s, got)
		}
	}
}
