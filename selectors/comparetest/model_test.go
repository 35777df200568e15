//go:build linux

package comparetest_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"goselectors/selectors"
)

// A failure is a sequence with a wrong result of its last operation.
type failure struct {
	script string // the sequence, with the expected results
	what   string // the differences
}

// tryOperations runs a sequence on all instances and on the model.
func tryOperations(ops []operation, configs []config) (*failure, error) {
	e, err := newEnv(configs)
	if err != nil {
		return nil, err
	}
	defer e.close()
	m := newModelEnv(e.instances)
	var done []operation
	var results [][]result
	ops = append(ops[:len(ops):len(ops)], operation{verb: "select"}, operation{verb: "keys"})
	for _, op := range ops {
		if !m.predicts(op) {
			continue
		}
		got, err := e.do(op)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", op, err)
		}
		want, equal := m.expect(op, got)
		done, results = append(done, op), append(results, want)
		if equal {
			continue
		}
		f := &failure{}
		for i, inst := range e.instances {
			if got[i].String() != want[i].String() {
				f.what += fmt.Sprintf("%v: %s: %v, the model expects %v\n", op, inst.name, got[i], want[i])
			}
		}
		for i, op := range done {
			f.script += scriptWriter{e.instances}.line(op, results[i]) + "\n"
		}
		return f, nil
	}
	return nil, nil
}

// shrink removes from a failing sequence all operations that the failure does not
// need, in smaller and smaller pieces (Zeller's delta debugging), and then removes
// events from the interests.
func shrink(ops []operation, fails func([]operation) bool) []operation {
	try := func(fewer []operation) bool {
		if !fails(fewer) {
			return false
		}
		ops = fewer
		return true
	}
	for {
		before := len(ops)
		for size := max(len(ops)/2, 1); size > 0; size /= 2 {
			for at := 0; at < len(ops); {
				end := min(at+size, len(ops))
				if !try(slices.Concat(ops[:at], ops[end:])) {
					at = end
				}
			}
		}
		if len(ops) == before {
			break
		}
	}
	for i := range ops {
		if ops[i].verb != "register" && ops[i].verb != "modify" {
			continue
		}
		for bit := range strings.SplitSeq(ops[i].args[1], "|") {
			events, _ := parseEvents(ops[i].args[1])
			fewer := slices.Clone(ops)
			fewer[i] = operation{ops[i].verb, []string{ops[i].args[0], (events &^ eventsByName[bit]).String()}}
			try(fewer)
		}
	}
	return ops
}

// compareWithModel runs a sequence. If it fails, the error has the shortest script
// that fails; rerun says how to repeat it.
func compareWithModel(t *testing.T, rerun string, ops []operation, configs []config) {
	t.Helper()
	f, err := tryOperations(ops, configs)
	if err != nil {
		t.Fatal(err)
	}
	if f == nil {
		return
	}
	ops = shrink(ops, func(ops []operation) bool {
		f, err := tryOperations(ops, configs)
		return f != nil && err == nil
	})
	if small, err := tryOperations(ops, configs); err == nil && small != nil {
		f = small
	}
	t.Fatalf("%s\nA script for testdata/scripts, with the results that the model expects:\n\n%s\n%s", f.what, f.script, rerun)
}

// A chooser returns a number from 0 up to n-1. Any choices make a valid sequence
// of operations.
type chooser func(n int) int

const modelNames = "abcdefgh"

// modelInterests are the interests of random sequences. The last three are
// invalid. (The order of all these lists is part of the format of the seeds of
// FuzzBackendsAgree.)
var modelInterests = []selectors.Event{
	selectors.EventRead,
	selectors.EventWrite,
	selectors.EventRead | selectors.EventWrite,
	selectors.EventPriority,
	selectors.EventRead | selectors.OneShot,
	selectors.EventWrite | selectors.OneShot,
	selectors.EventRead | selectors.EventWrite | selectors.OneShot,
	selectors.EventPriority | selectors.OneShot,
	selectors.EventRead | selectors.EventPriority,
	selectors.EventWrite | selectors.EventPriority,
	selectors.EventReadClosed,
	selectors.EventRead | selectors.EventReadClosed,
	selectors.EventWrite | selectors.EventReadClosed | selectors.OneShot,
	0,
	selectors.OneShot,
	selectors.EventRead | selectors.EventHangup,
}

type modelVerb struct{ verb, args string }

// modelVerbs are the verbs of a random sequence with their arguments: f a file,
// e an interest, h a direction to shut down, s whether a shortage begins or ends.
// Frequent verbs are repeated.
var modelVerbs = []modelVerb{
	{"select", ""}, {"select", ""}, {"select", ""}, {"select", ""}, {"select", ""}, {"select", ""},
	{"register", "fe"}, {"register", "fe"}, {"register", "fe"}, {"register", "fe"}, {"register", "fe"},
	{"modify", "fe"}, {"modify", "fe"}, {"modify", "fe"},
	{"unregister", "f"}, {"unregister", "f"},
	{"pipe", "ff"}, {"pipe", "ff"},
	{"unix", "ff"}, {"unix", "ff"},
	{"eventfd", "f"}, {"device", "f"},
	{"close", "f"}, {"close", "f"}, {"close", "f"},
	{"dup2", "ff"}, {"dup2", "ff"},
	{"write", "f"}, {"write", "f"},
	{"read", "f"}, {"fill", "f"}, {"drain", "f"},
	{"shutdown", "fh"}, {"wake", ""}, {"keys", ""},
	{"shortage", "s"}, {"shortage", "s"},
}

var (
	modelShutdowns = []string{"read", "write", "both"}
	modelShortages = []string{"begins", "begins", "ends"}
)

// operation returns the next operation, on the first names only.
func (choose chooser) operation(names int) operation {
	v := modelVerbs[choose(len(modelVerbs))]
	op := operation{verb: v.verb}
	for _, arg := range v.args {
		switch arg {
		case 'f':
			n := choose(names)
			op.args = append(op.args, modelNames[n:n+1])
		case 'e':
			op.args = append(op.args, modelInterests[choose(len(modelInterests))].String())
		case 'h':
			op.args = append(op.args, modelShutdowns[choose(len(modelShutdowns))])
		case 's':
			op.args = append(op.args, modelShortages[choose(len(modelShortages))])
		}
	}
	if op.verb == "device" {
		op.args = append(op.args, "null")
	}
	return op
}

var seed = flag.Int64("seed", 0, "the random sequence to run, -1 for a thousand new ones, 0 for the same thousand each time")

// TestModel runs random sequences on all backends and on the model.
func TestModel(t *testing.T) {
	first, count := *seed, 1
	switch *seed {
	case -1:
		first, count = time.Now().UnixNano(), 1000
	case 0:
		count = 1000
	}
	if testing.Short() {
		count = min(count, 100)
	}
	for n := first; n < first+int64(count); n++ {
		r := rand.New(rand.NewPCG(uint64(n), 0))
		// The fewer names, the more operations for each number.
		names := 2 + r.IntN(len(modelNames)-1)
		var ops []operation
		for range 10 + r.IntN(90) {
			ops = append(ops, chooser(r.IntN).operation(names))
		}
		compareWithModel(t, fmt.Sprintf("repeat with: go test -run TestModel ./selectors/comparetest -seed %d", n), ops, allConfigs())
	}
}

// TestShrink checks that a failing sequence is made as short as possible.
func TestShrink(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var ops []operation
	for range 60 {
		ops = append(ops, chooser(r.IntN).operation(len(modelNames)))
	}
	ops[10] = operation{"register", []string{"a", "Read|Write|OneShot"}}
	ops[40] = operation{"close", []string{"a"}}
	ops = shrink(ops, func(ops []operation) bool {
		seen := 0
		for _, op := range ops {
			if seen == 0 && op.verb == "register" && op.args[0] == "a" && strings.Contains(op.args[1], "Write") {
				seen = 1
			}
			if seen == 1 && op.verb == "close" && op.args[0] == "a" {
				seen = 2
			}
		}
		return seen == 2
	})
	if got := fmt.Sprint(ops); got != "[register a Write close a]" {
		t.Errorf("shrunk to %s", got)
	}
}
