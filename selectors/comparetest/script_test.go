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

A script is a story about files, told once to all backends at the same time:
every operation on a file happens once, every operation on a selector happens
on each of them, and what each has to say is compared with the script and with
what the others say. One line is one operation:

	pipe r w
	register r Read
	select              -> nothing
	write w
	select              -> r Read
	close w
	select              -> r Read|Hangup

Files have names. A name has the same descriptor number from its first use to
the end of the script, whatever is open under it: `pipe r w` once more is a
number that came back with another file.

After the arrow stands the result: of select and keys the batch ("nothing", or
names with events, sorted, separated by commas), of everything else an error.
No arrow means that all is well.

Batches are written as the best-informed backend tells them. Where Features
says that a backend cannot tell something, it is not expected of it: Hangup and
Error need FeatureHangup, ReadClosed needs FeatureReadClosed, an entry with
Invalid needs FeatureInvalid. What differs by design otherwise gets lines of its
own below, indented, with the names of the backends in front of it ("kqueue" is
all that are called kqueue-something):

	register r ReadClosed
		select: not supported

Lines that begin with # are comments. `needs FEATURE` (EdgeTriggered, …) leaves
the script to those backends that have the feature.

Files:

	pipe R W              unix A B        dgram A B        pty MASTER SLAVE
	tcp CLIENT SERVER     socket A        listen L         connect A L
	accept A L            udp A B         deaf A           (deaf: UDP to a closed port,
	                                                       socket: TCP that does not listen)
	eventfd E             timerfd T 20ms  epollfd E A      (which watches A)
	file F                dir D           device N null    child P  (a pidfd)

What happens to them:

	write A [COUNT]       read A [COUNT]  fill A           drain A
	oob A                 readoob A       (an urgent byte)
	shutdown A read|write|both            reset A          (closes with an RST)
	close A               dup A B         dup2 A B         (B takes the place of what B was)
	kill P                reap P
	await A IN|RDHUP      (until poll(2) says so, for what takes time)
	sleep 120ms

The selectors:

	register A EVENTS     modify A EVENTS unregister A     (EVENTS as Event.String writes them)
	select [TIMEOUT]      (0 if left out; or "forever")
	keys                  (Keys and Len: names with interests)
	wake                  quit            (Wake and Close)
	later 20ms OPERATION  (in the background, in a while)

A select that waits also checks the clock: never early with nothing, and, if
it may take ten seconds, woken well before that.

With -update the test writes what happened into the scripts. Read the
difference before you believe it.
*/
type script struct {
	lines []*scriptLine
	needs selectors.Feature
}

// scriptLine is one operation and what is expected of it.
type scriptLine struct {
	number   int
	text     string // of comments and the like, which have no op
	op       operation
	want     string            // "" stands for "ok"
	sections map[string]string // by backend, instead of want
}

var update = flag.Bool("update", false, "write what happened into the scripts")

// parseScript reads the language above.
func parseScript(text string) (*script, error) {
	s := &script{}
	for i, text := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		wrong := func(format string, args ...any) (*script, error) {
			return nil, fmt.Errorf("line %d: %s", i+1, fmt.Sprintf(format, args...))
		}
		line := &scriptLine{number: i + 1, text: text, sections: map[string]string{}}
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
				return wrong("%q is not a feature", trimmed)
			}
		case text[0] == '\t' || text[0] == ' ':
			if len(s.lines) == 0 || s.lines[len(s.lines)-1].op.verb == "" {
				return wrong("a section needs an operation above")
			}
			names, want, ok := strings.Cut(trimmed, ":")
			if !ok {
				return wrong("a section is `backends: result`")
			}
			for name := range strings.SplitSeq(names, ",") {
				s.lines[len(s.lines)-1].sections[strings.TrimSpace(name)] = strings.TrimSpace(want)
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

// expected is what the line wants of a contender.
func (line *scriptLine) expected(c *contender) (result, error) {
	want, special := line.sections[c.name]
	if family, _, _ := strings.Cut(c.name, "-"); !special {
		want, special = line.sections[family]
	}
	if !special {
		want = line.want
	}
	switch {
	case line.op.verb != "select" && line.op.verb != "keys" || want == "selector is closed":
		if want == "" {
			want = "ok"
		}
		return result{text: want}, nil
	case want == "":
		return result{}, fmt.Errorf("%v wants a result", line.op)
	}
	b, err := parseBatch(want)
	if !special && line.op.verb == "select" {
		b = b.told(c.Features())
	}
	return result{batch: b}, err
}

// parseBatch reads what report.String writes.
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

// scribe writes lines of a script.
type scribe struct{ contenders []*contender }

// line writes an operation with its results: in the main line what fits the
// most contenders, below it what does not fit.
func (s scribe) line(op operation, results []result) string {
	best, rest, least := "", map[string][]string{}, len(results)+1
	for i := range results {
		main := results[i]
		others, odd := map[string][]string{}, 0 // by result, the backends
		for j, c := range s.contenders {
			if w := main; w.batch == nil || results[j].batch == nil || op.verb != "select" {
				if w.String() == results[j].String() {
					continue
				}
			} else if w.batch.told(c.Features()).String() == results[j].String() {
				continue
			}
			if text := results[j].String(); !slices.Contains(others[text], c.name) {
				others[text] = append(others[text], c.name)
				odd++
			}
		}
		if text := main.String(); odd < least || odd == least && len(text) > len(best) {
			best, rest, least = text, others, odd
		}
	}
	text := op.String()
	if best != "ok" {
		text = fmt.Sprintf("%-31s -> %s", text, best)
	}
	var sections []string
	for want, names := range rest {
		sections = append(sections, "\t"+strings.Join(names, ", ")+": "+want)
	}
	slices.Sort(sections)
	return strings.Join(append([]string{text}, sections...), "\n")
}

// TestScripts tells every story in testdata/scripts to all backends.
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
	w, err := newWorld(contenderKinds())
	if err != nil {
		t.Fatal(err)
	}
	w.dir = t.TempDir()
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	w.leave(s.needs)
	if len(w.contenders) == 0 {
		t.Skipf("no backend here has %v", s.needs)
	}

	var news strings.Builder
	for _, line := range s.lines {
		if line.op.verb == "" {
			fmt.Fprintln(&news, line.text)
			continue
		}
		where := fmt.Sprintf("%s:%d: %v", file, line.number, line.op)
		got, err := w.do(line.op)
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		fmt.Fprintln(&news, scribe{w.contenders}.line(line.op, got))
		if *update {
			continue
		}
		for i, c := range w.contenders {
			want, err := line.expected(c)
			if err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			if diff := cmp.Diff(want.entries(), got[i].entries()); diff != "" {
				t.Errorf("%s: %s: -want +got\n%s", where, c.name, diff)
			}
		}
		if len(line.sections) == 0 {
			compareResults(t, w, 0, where, got)
		}
		if t.Failed() {
			return // the rest would make no sense
		}
	}
	if *update && news.String() != string(text) {
		if err := os.WriteFile(file, []byte(news.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// leave sends those contenders away that lack a feature.
func (w *world) leave(needs selectors.Feature) {
	w.contenders = slices.DeleteFunc(w.contenders, func(c *contender) bool {
		if c.Features()&needs == needs {
			return false
		}
		c.Close()
		return true
	})
}

// TestScriptLanguage checks the checker: a script that expects the wrong thing
// has to be noticed.
func TestScriptLanguage(t *testing.T) {
	for text, wrong := range map[string]bool{
		"\tselect: nothing":        true, // a section of what?
		"needs Coffee":             true,
		"select -> a Read\n\tpoll": true,
		"# nothing\n\nselect -> a Read, b Write|Hangup\n\tpoll, select: nothing": false,
	} {
		if _, err := parseScript(text); (err != nil) != wrong {
			t.Errorf("parse of %q: %v", text, err)
		}
	}
	w, err := newWorld(contenderKinds())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.close() })
	for _, line := range []string{"coffee", "register a", "register a Coffee", "select soon", "later soon wake", "pipe a"} {
		f := strings.Fields(line)
		if _, err := w.do(operation{f[0], f[1:]}); err == nil {
			t.Errorf("%q makes no sense, but was done", line)
		}
	}

	s, err := parseScript("select -> a Read|Hangup|ReadClosed, b Error, c Error|Invalid\n\tpoll, kqueue: nothing")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range w.contenders {
		want, err := s.lines[0].expected(c)
		if err != nil {
			t.Fatal(err)
		}
		expected := report{}
		switch c.name {
		case "epoll":
			expected = report{"a": selectors.EventRead | selectors.EventHangup | selectors.EventReadClosed, "b": selectors.EventError}
		case "select":
			expected = report{"a": selectors.EventRead, "c": selectors.EventError | selectors.EventInvalid}
		}
		if diff := cmp.Diff(expected, want.batch); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}
