//go:build linux

package comparetest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goselectors/selectors"
)

// maxFuzzOperations bounds the length of a sequence. A longer one finds nothing
// that two shorter ones do not find.
const maxFuzzOperations = 100

// decodeOperations decodes a sequence from bytes, one byte for each choice. A byte
// is taken modulo the number of alternatives, and missing bytes at the end are 0,
// so that any bytes are a valid sequence.
func decodeOperations(data []byte) (ops []operation) {
	choose := func(n int) (b int) {
		if len(data) > 0 {
			b, data = int(data[0])%n, data[1:]
		}
		return b
	}
	for len(data) > 0 && len(ops) < maxFuzzOperations {
		ops = append(ops, chooser(choose).operation(len(modelNames)))
	}
	return ops
}

// encodeOperations is the inverse of decodeOperations, for seeds.
func encodeOperations(ops []operation) (data []byte, err error) {
	for _, op := range ops {
		n := slices.IndexFunc(modelVerbs, func(v modelVerb) bool { return v.verb == op.verb })
		choices := []int{n}
		for i, arg := range modelVerbs[max(n, 0)].args {
			switch arg {
			case 'f':
				n = strings.Index(modelNames, op.args[i])
			case 'e':
				n = slices.IndexFunc(modelInterests, func(e selectors.Event) bool { return e.String() == op.args[i] })
			case 'h':
				n = slices.Index(modelShutdowns, op.args[i])
			case 's':
				n = slices.Index(modelShortages, op.args[i])
			}
			choices = append(choices, n)
		}
		for _, n := range choices {
			if n < 0 {
				return nil, fmt.Errorf("%v cannot be encoded", op)
			}
			data = append(data, byte(n))
		}
	}
	return data, nil
}

// fuzzSeeds are scripts that the fuzzer starts from.
var fuzzSeeds = []string{
	"a pipe: pipe a b; register a Read; select; write b; select; read a; select; write b; close b; select; read a; select; unregister a",
	"a full pipe: pipe a b; register b Write; fill b; select; read a; select; drain a; select; fill b; close a; select",
	"a half-closed socket: unix a b; register a Read|Write; shutdown b write; select; shutdown a write; select; drain a; select",
	"a closed peer: unix a b; register a Read|Write; write a; close b; select; read a; select; read a; select",
	"a full socket: unix a b; register a Write; register b Read; fill a; select; read b; select; drain b; select",
	"a counter: eventfd a; register a Read|Write; write a; select; fill a; select; drain a; select",
	"one shot: pipe a b; register a Read|OneShot; write b; select; select; modify a Read|OneShot; select; close b; select; modify a Read; select",
	"hints only: pipe a b; register a Write; select; close b; select; select; modify a Read|Write; select; modify a Priority; select; select",
	"hints, then more hints: unix a b; register a Write; fill a; shutdown a write; shutdown b write; select; select; drain b; select",
	"always ready: device a null; register a Read; select; select; modify a Write|OneShot; select; select; unregister a; select",
	"always ready, then another file: device a null; register a Read; pipe a b; select; register a Read; select; device a null; register a Write; select",
	"closed: pipe a b; register a Read; register b Write; close a; select; select; modify a Write; modify a Read; select; unregister a",
	"reuse: pipe a b; register a Read; close a; unix a c; select; register a Write; select; write c; modify a Read|Write; select",
	"an orphan: pipe a b; dup2 a c; register a Read; close a; write b; unregister a; select; select; pipe a d; register a Read; select; write d; select",
	"an orphan gets its number back: pipe a b; dup2 a c; register a Read; close a; unregister a; dup2 c a; register a Read; write b; select",
	"an orphan blocks Register: pipe a b; dup2 a c; register a Read; pipe a d; register a Read; dup2 c a; register a Read; write b; select",
	"an orphan in a shortage: pipe a b; dup2 a c; register a Read; register b Write; shortage begins; close a; write b; unregister a; select; select; pipe a d; register a Read; select; write d; select; shortage ends; select; read a; select",
	"two numbers: pipe a b; dup2 a c; register a Read; register c Read|OneShot; write b; select; select; close a; select; drain c; select",
	"refused: pipe a b; register a 0; register a OneShot; register a Read|Hangup; register a ReadClosed; register a Read; register a Write; modify a 0; keys; select",
	"unknown: unregister a; modify a Read; close a; register a Read; select; keys",
}

func seedOperations(seed string) (ops []operation) {
	_, script, _ := strings.Cut(seed, ": ")
	for line := range strings.SplitSeq(script, "; ") {
		fields := strings.Fields(line)
		ops = append(ops, operation{fields[0], fields[1:]})
	}
	return ops
}

func FuzzBackendsAgree(f *testing.F) {
	for _, seed := range fuzzSeeds {
		data, err := encodeOperations(seedOperations(seed))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	// Each backend once: its ways to wait do not matter, as no select waits.
	var configs []config
	for _, b := range selectors.Backends() {
		configs = append(configs, config{b.Name, func() (selectors.Selector, error) { return b.New(selectors.WithBlockingWait()) }})
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		compareWithModel(t, "", decodeOperations(data), configs)
	})
}

// TestSequenceBytes checks that decodeOperations is the inverse of
// encodeOperations.
func TestSequenceBytes(t *testing.T) {
	for _, seed := range fuzzSeeds {
		ops := seedOperations(seed)
		data, err := encodeOperations(ops)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(fmt.Sprint(ops), fmt.Sprint(decodeOperations(data))); diff != "" {
			t.Errorf("%s: -sequence +decoded\n%s", seed, diff)
		}
	}
}
