//go:build linux

package comparetest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goselectors/selectors"
)

// TestSideBySide compares what all backends report of one file in one state,
// with every interest. They must report the same, except for what their features
// exclude.
func TestSideBySide(t *testing.T) {
	states := []string{
		"pipe a b", "pipe b a",
		"pipe a b; write b", "pipe a b; write b; close b", "pipe a b; close b",
		"pipe b a; fill a", "pipe b a; fill a; close b", "pipe b a; close b",
		"unix a b", "unix a b; write b", "unix a b; fill a", "unix a b; shutdown a read", "unix a b; shutdown a write",
		"unix a b; shutdown a both", "unix a b; shutdown b write", "unix a b; shutdown b read", "unix a b; shutdown b both",
		"unix a b; close b", "unix a b; write b; close b", "unix a b; write a; close b",
		"dgram a b", "dgram a b; write b", "dgram a b; close b",
		"socket a", "socket b; connect a b; await a ERR", "listen a", "listen a; connect b a; await a IN",
		"tcp a b", "tcp a b; write b; await a IN", "tcp a b; oob b; await a PRI", "tcp a b; shutdown b write; await a RDHUP",
		"tcp a b; shutdown a write", "tcp a b; shutdown a both", "tcp a b; close b; await a RDHUP", "tcp a b; reset b; await a ERR",
		"listen c; connect b c; accept a c; fill a",
		"udp a b", "udp a b; write b; await a IN", "udp-closed a; write a; await a ERR",
		"pty a b", "pty a b; write b; await a IN", "pty b a", "pty b a; write b; await a IN", "pty a b; close b; await a HUP", "pty b a; close b; await a HUP",
		"eventfd a", "eventfd a; write a", "eventfd a; fill a",
		"timerfd a 1h", "timerfd a 1ns; await a IN",
		"pipe b c; epollfd a b", "pipe b c; epollfd a b; write c",
		"child a", "child a; kill a; await a IN", "child a; kill a; reap a",
		"file a", "dir a", "device a null", "device a zero", "device a urandom",
		"pipe a b; close a",
	}
	interests := []selectors.Event{}
	for e := selectors.EventRead; e < selectors.EventReadClosed; e++ {
		interests = append(interests, e, e|selectors.OneShot)
	}
	for _, state := range states {
		t.Run(strings.ReplaceAll(state, " ", "_"), func(t *testing.T) {
			e, err := newEnv(allConfigs())
			if err != nil {
				t.Fatal(err)
			}
			e.dir = t.TempDir()
			t.Cleanup(func() {
				if err := e.close(); err != nil {
					t.Error(err)
				}
			})
			do := func(line string) []result {
				t.Helper()
				f := strings.Fields(line)
				results, err := e.do(operation{f[0], f[1:]})
				if err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				return results
			}
			steps := strings.Split(state, "; ")
			closed := steps[len(steps)-1] == "close a"
			if closed {
				steps = steps[:len(steps)-1]
			}
			for _, step := range steps {
				if r := do(step)[0]; r.text != "ok" {
					t.Fatalf("%s: %v", step, r)
				}
			}
			for _, interest := range interests {
				var needs selectors.Feature
				if interest&selectors.EventPriority != 0 {
					needs = selectors.FeaturePriority
				}
				script := []string{"register a " + interest.String(), "select", "select", "modify a Read|Write|OneShot", "select", "select",
					"modify a " + interest.String(), "select", "unregister a", "select"}
				if closed {
					do(steps[0])
					script = []string{"register a " + interest.String(), "close a", "select", "select", "modify a " + (interest ^ selectors.OneShot).String(), "select", "unregister a", "select"}
				}
				for i, line := range script {
					compareResults(t, e, needs, fmt.Sprintf("after %s: %s", state, strings.Join(script[:i+1], "; ")), do(line))
				}
			}
		})
	}
}

// compareResults compares every two instances that have the needed features, as
// far as both can report.
func compareResults(t *testing.T, e *env, needs selectors.Feature, what string, results []result) {
	t.Helper()
	for i, a := range e.instances {
		for j, b := range e.instances[:i] {
			both := a.Features() & b.Features()
			if both&needs != needs {
				continue
			}
			x, y := results[i], results[j]
			if x.batch != nil && y.batch != nil {
				x.batch, y.batch = x.batch.reportable(both), y.batch.reportable(both)
			}
			if diff := cmp.Diff(x.entries(), y.entries()); diff != "" {
				t.Errorf("%s: -%s +%s\n%s", what, a.name, b.name, diff)
			}
		}
	}
}
