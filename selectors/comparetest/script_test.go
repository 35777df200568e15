//go:build linux

package comparetest_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goselectors/selectors"
)

/*
The script language.

A script is a sequence of operations. One line is one operation:

	pipe r w
	register r Read
	select              -> nothing
	write w
	select              -> r Read
	close w
	select              -> r Read|Hangup

An operation on a file runs once. An operation on a selector runs on an instance
of every backend, and the result of each is compared with the script and with
the results of the others.

Files have names. A name has the same descriptor number from its first use to
the end of the script, whatever is open under it: a second `pipe r w` reuses the
numbers for other files.

The result is after the arrow: of select and keys the batch ("nothing", or names
with events, sorted, separated by commas), of any other operation the error.
Without an arrow the operation must succeed.

A batch is written as a backend with all features reports it. What a backend
cannot report, by its Features, is not expected of it: Hangup and Error need
FeatureHangup, ReadClosed needs FeatureReadClosed, an entry with Invalid needs
FeatureInvalid. Other differences by design have overrides: indented lines below
the operation, which begin with the names of backends ("kqueue" stands for every
name that begins with "kqueue-"):

	register r ReadClosed
		select: not supported

Lines that begin with # are comments. `needs FEATURE` (EdgeTriggered, …) runs the
script only on the backends that have the feature.

Operations that open files:

	pipe R W              unix A B        dgram A B        pty MASTER SLAVE
	tcp CLIENT SERVER     socket A        listen L         connect A L
	accept A L            udp A B         udp-closed A     (connected to a closed port;
	                                                       socket: TCP that does not listen)
	eventfd E             timerfd T 20ms  epollfd E A      (which watches A)
	file F                dir D           device N null    child P  (a pidfd)

Operations on files:

	write A [COUNT]       read A [COUNT]  fill A           drain A
	oob A                 readoob A       (one byte of urgent data)
	shutdown A read|write|both            reset A          (closes with an RST)
	close A               dup A B         dup2 A B         (B refers to the file of A)
	kill P                reap P
	await A IN|RDHUP      (until poll(2) reports the events)
	sleep 120ms

Operations on selectors:

	register A EVENTS     modify A EVENTS unregister A     (EVENTS as Event.String writes them)
	select [TIMEOUT]      (0 if left out; or "forever")
	keys                  (Keys and Len: names with interests)
	wake                  close-selector
	after 20ms OPERATION  (runs in the background after the delay)
	shortage begins|ends  (meanwhile the operations above cannot open descriptors)

A select that waits also checks the time: it must not report nothing before its
timeout, and a select of ten seconds or more must be woken well before that.

With -update the test writes the actual results into the scripts. Check the
difference before you keep it.
*/
type script struct {
	lines []*scriptLine
	needs selectors.Feature
}

// A scriptLine is one operation and its expected result.
type scriptLine struct {
	number    int
	text      string // the whole line
	op        operation
	want      string            // "" stands for "ok"
	overrides map[string]string // by backend, instead of want
}

var update = flag.Bool("update", false, "write the actual results into the scripts")

// parseScript reads the language above.
func parseScript(text string) (*script, error) {
	s := &script{}
	for i, text := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		fail := func(format string, args ...any) (*script, error) {
			return nil, fmt.Errorf("line %d: %s", i+1, fmt.Sprintf(format, args...))
		}
		line := &scriptLine{number: i + 1, text: text, overrides: map[string]string{}}
		trimmed := strings.TrimSpace(text)
		command, want, _ := strings.Cut(trimmed, "->")
		fields := strings.Fields(command)
		switch {
		case trimmed == "" || trimmed[0] == '#':
		case fields[0] == "needs":
			for bit := selectors.Feature(1); len(fields) == 2 && bit != 0; bit <<= 1 {
				if bit.String() == fields[1] {
					s.needs |= bit
				}
			}
			if s.needs == 0 {
				return fail("%q is not a feature", trimmed)
			}
		case text[0] == '\t' || text[0] == ' ':
			if len(s.lines) == 0 || s.lines[len(s.lines)-1].op.verb == "" {
				return fail("an override needs an operation above")
			}
			names, want, ok := strings.Cut(trimmed, ":")
			if !ok {
				return fail("an override is `backends: result`")
			}
			for name := range strings.SplitSeq(names, ",") {
				s.lines[len(s.lines)-1].overrides[strings.TrimSpace(name)] = strings.TrimSpace(want)
			}
			continue
		default:
			line.op = operation{fields[0], fields[1:]}
			line.want = strings.TrimSpace(want)
		}
		s.lines = append(s.lines, line)
	}
	return s, nil
}

// expected returns the result that the line expects of an instance.
func (line *scriptLine) expected(inst *instance) (result, error) {
	want, overridden := line.overrides[inst.name]
	if family, _, _ := strings.Cut(inst.name, "-"); !overridden {
		want, overridden = line.overrides[family]
	}
	if !overridden {
		want = line.want
	}
	switch {
	case line.op.verb != "select" && line.op.verb != "keys" || want == "selector is closed":
		if want == "" {
			want = "ok"
		}
		return result{text: want}, nil
	case want == "":
		return result{}, fmt.Errorf("%v needs a result", line.op)
	}
	b, err := parseBatch(want)
	if !overridden && line.op.verb == "select" {
		b = b.reportable(inst.Features())
	}
	return result{batch: b}, err
}

// parseBatch is the inverse of report.String.
func parseBatch(text string) (report, error) {
	b := report{}
	if text == "nothing" {
		return b, nil
	}
	for entry := range strings.SplitSeq(text, ",") {
		name, list, _ := strings.Cut(strings.TrimSpace(entry), " ")
		events, err := parseEvents(list)
		if err != nil {
			return nil, err
		}
		b[name] = events
	}
	return b, nil
}

// A scriptWriter writes lines of a script.
type scriptWriter struct{ instances []*instance }

// line returns an operation with its results. The main line has the result that
// fits the most instances; the others get overrides.
func (s scriptWriter) line(op operation, results []result) string {
	best, exceptions, fewest := "", map[string][]string{}, len(results)+1
	for i := range results {
		main := results[i]
		others, count := map[string][]string{}, 0 // the backends by result
		for j, inst := range s.instances {
			if main.batch == nil || results[j].batch == nil || op.verb != "select" {
				if main.String() == results[j].String() {
					continue
				}
			} else if main.batch.reportable(inst.Features()).String() == results[j].String() {
				continue
			}
			if text := results[j].String(); !slices.Contains(others[text], inst.name) {
				others[text] = append(others[text], inst.name)
				count++
			}
		}
		if text := main.String(); count < fewest || count == fewest && len(text) > len(best) {
			best, exceptions, fewest = text, others, count
		}
	}
	text := op.String()
	if best != "ok" {
		text = fmt.Sprintf("%-31s -> %s", text, best)
	}
	var overrides []string
	for want, names := range exceptions {
		overrides = append(overrides, "\t"+strings.Join(names, ", ")+": "+want)
	}
	slices.Sort(overrides)
	return strings.Join(append([]string{text}, overrides...), "\n")
}

// TestScripts runs every script in testdata/scripts on all backends.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/scripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { runScript(t, file) })
	}
}

func runScript(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseScript(string(text))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
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
	e.keepSupporting(s.needs)
	if len(e.instances) == 0 {
		t.Skipf("no backend here has %v", s.needs)
	}

	var actual strings.Builder
	for _, line := range s.lines {
		if line.op.verb == "" {
			fmt.Fprintln(&actual, line.text)
			continue
		}
		where := fmt.Sprintf("%s:%d: %v", file, line.number, line.op)
		got, err := e.do(line.op)
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		fmt.Fprintln(&actual, scriptWriter{e.instances}.line(line.op, got))
		if *update {
			continue
		}
		for i, inst := range e.instances {
			want, err := line.expected(inst)
			if err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			if diff := cmp.Diff(want.entries(), got[i].entries()); diff != "" {
				t.Errorf("%s: %s: -want +got\n%s", where, inst.name, diff)
			}
		}
		if len(line.overrides) == 0 {
			compareResults(t, e, 0, where, got)
		}
		if t.Failed() {
			return // later results depend on this one
		}
	}
	if *update && actual.String() != string(text) {
		if err := os.WriteFile(file, []byte(actual.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// keepSupporting closes and drops the instances that lack a feature.
func (e *env) keepSupporting(needs selectors.Feature) {
	e.instances = slices.DeleteFunc(e.instances, func(inst *instance) bool {
		if inst.Features()&needs == needs {
			return false
		}
		inst.Close()
		return true
	})
}

// TestScriptLanguage checks that invalid scripts are refused, and the expected
// results of backends.
func TestScriptLanguage(t *testing.T) {
	for text, invalid := range map[string]bool{
		"\tselect: nothing":        true, // no operation above
		"needs Unknown":            true,
		"select -> a Read\n\tpoll": true,
		"# nothing\n\nselect -> a Read, b Write|Hangup\n\tpoll, select: nothing": false,
	} {
		if _, err := parseScript(text); (err != nil) != invalid {
			t.Errorf("parse of %q: %v", text, err)
		}
	}
	e, err := newEnv(allConfigs())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.close() })
	for _, line := range []string{"unknown", "register a", "register a Unknown", "select soon", "after soon wake", "pipe a"} {
		f := strings.Fields(line)
		if _, err := e.do(operation{f[0], f[1:]}); err == nil {
			t.Errorf("%q is not valid, but was run", line)
		}
	}

	s, err := parseScript("select -> a Read|Hangup|ReadClosed, b Error, c Error|Invalid\n\tpoll, kqueue: nothing")
	if err != nil {
		t.Fatal(err)
	}
	for _, inst := range e.instances {
		want, err := s.lines[0].expected(inst)
		if err != nil {
			t.Fatal(err)
		}
		expected := report{}
		switch inst.name {
		case "epoll":
			expected = report{"a": selectors.EventRead | selectors.EventHangup | selectors.EventReadClosed, "b": selectors.EventError}
		case "select":
			expected = report{"a": selectors.EventRead, "c": selectors.EventError | selectors.EventInvalid}
		}
		if diff := cmp.Diff(expected, want.batch); diff != "" {
			t.Errorf("%s: %s", inst.name, diff)
		}
	}
}
