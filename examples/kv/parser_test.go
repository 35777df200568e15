package main

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// parseAll parses the input in pieces of the sizes that next returns. It returns
// the commands and the error, if there is one, as text.
func parseAll(input []byte, next func() int) (commands []string) {
	q := &parser{}
	for len(input) > 0 {
		size := min(max(next(), 1), len(input))
		piece := []byte(string(input[:size])) // a buffer that is overwritten below
		input = input[size:]
		for p := piece; len(p) > 0; {
			n, complete, err := q.parse(p)
			if err != nil {
				return append(commands, "error: "+err.Error())
			}
			if complete {
				commands = append(commands, fmt.Sprintf("%q", q.args))
			} else if n != len(p) {
				return append(commands, fmt.Sprintf("stopped after %d of %d bytes", n, len(p)))
			}
			p = p[n:]
		}
		clear(piece)
	}
	return commands
}

func whole() int      { return 1 << 30 }
func singleByte() int { return 1 }

// resp encodes a command in RESP, as an array of bulk strings.
func resp(args ...string) string {
	var s strings.Builder
	fmt.Fprintf(&s, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&s, "$%d\r\n%s\r\n", len(a), a)
	}
	return s.String()
}

var parserCases = []struct {
	input string
	want  []string
}{
	{"", nil},
	{"PING\r\n", []string{`["PING"]`}},
	{"set  a\tb \n", []string{`["set" "a" "b"]`}},
	{"\r\n\nPING", []string{`[]`, `[]`}},
	{resp("SET", "k", "") + resp("GET", "a\r\nb"), []string{`["SET" "k" ""]`, `["GET" "a\r\nb"]`}},
	{"*0\r\n" + resp("PING"), []string{`[]`, `["PING"]`}},
	{resp("PING")[:5], nil},
	{"*2\r\n$1\r\na\r\n", nil},
	{"*\r\n", []string{"error: invalid multibulk length"}},
	{"*-1\r\n", []string{"error: invalid multibulk length"}},
	{"*1\n$4\r\nPING\r\n", []string{"error: invalid multibulk length"}},
	{"*1048577\r\n", []string{"error: invalid multibulk length"}},
	{"*18446744073709551617\r\n", []string{"error: invalid multibulk length"}},
	{"*" + strings.Repeat("0", 40), []string{"error: invalid multibulk length"}},
	{"*1\r\n+4\r\n", []string{"error: expected '$', got '+'"}},
	{"*1\r\n\r\n", []string{`error: expected '$', got '\r'`}},
	{"*1\r\n$\r\n", []string{"error: invalid bulk length"}},
	{"*1\r\n$4 \r\n", []string{"error: invalid bulk length"}},
	{"*1\r\n$67108865\r\n", []string{"error: invalid bulk length"}},
	{"*2\r\n$1\r\nx\r\n$67108864\r\n", []string{"error: too big command"}},
	{"*1\r\n$4\r\nPINGxx", []string{"error: expected CR LF after an argument"}},
	{"*1\r\n$4\r\nPING\n\r", []string{"error: expected CR LF after an argument"}},
	{strings.Repeat("x", maxInline-1) + "\n", []string{fmt.Sprintf("[%q]", strings.Repeat("x", maxInline-1))}},
	{strings.Repeat("x", maxInline), []string{"error: too big inline request"}},
	{"PING\r\n*x\r\nPING\r\n", []string{`["PING"]`, "error: invalid multibulk length"}},
}

func TestParse(t *testing.T) {
	for _, c := range parserCases {
		for name, next := range map[string]func() int{"whole": whole, "single bytes": singleByte} {
			if diff := cmp.Diff(c.want, parseAll([]byte(c.input), next)); diff != "" {
				t.Errorf("%.50q, %s: %s", c.input, name, diff)
			}
		}
	}
}

// FuzzParse checks that a split of the input changes nothing: the commands and the
// error are the same.
func FuzzParse(f *testing.F) {
	for i, c := range parserCases {
		if len(c.input) < 1000 { // the fuzzer is slow with long inputs
			f.Add([]byte(c.input), uint64(i))
		}
	}
	f.Add([]byte(resp("SET", "key", "value", "EX", "10")+resp("GET", "key")+"*2\r\n$3\r\nGET\r\n$100000\r\n"), uint64(7))
	f.Fuzz(func(t *testing.T, input []byte, seed uint64) {
		want := parseAll(input, whole)
		random := rand.New(rand.NewPCG(seed, 1))
		splits := map[string]func() int{
			"single bytes": singleByte,
			"random":       func() int { return 1 + random.IntN(9) },
			"longer":       func() int { return 1 + random.IntN(1+len(input)/2) },
		}
		for name, next := range splits {
			if diff := cmp.Diff(want, parseAll(input, next)); diff != "" {
				t.Errorf("%s, seed %d: %s", name, seed, diff)
			}
		}
	})
}

// allocated returns the bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestParserMemory checks that memory is allocated for data that has arrived, not
// for lengths that are announced, and that buffers of large commands are dropped.
func TestParserMemory(t *testing.T) {
	for name, input := range map[string]string{
		"argument": "*1048576\r\n$67108864\r\nabc",
		"count":    "*1048576\r\n$1\r\nx\r\n$1\r\n",
		"inline":   "GET k",
	} {
		q := &parser{}
		if n := allocated(func() { q.parse([]byte(input)) }); n > 4<<10 {
			t.Errorf("%s: %d bytes allocated for %d bytes of input", name, n, len(input))
		}
	}
	q := &parser{}
	for _, input := range []string{
		resp("SET", "k", strings.Repeat("x", 1<<20)),
		resp(make([]string, 100_000)...),
		strings.Repeat("x ", maxInline/2-1) + "\n",
	} {
		n := allocated(func() {
			for p := []byte(input); len(p) > 0; { // in pieces, like reads
				n, _, err := q.parse(p[:min(len(p), 1000)])
				if err != nil {
					t.Fatal(err)
				}
				p = p[n:]
			}
		})
		// An argument takes 32 bytes beside its data, and has at least 6 bytes of
		// input, or 2 on a line. Slices that grow are allocated several times.
		if limit := uint64(100 * len(input)); n > limit {
			t.Errorf("%.10q: %d bytes allocated for %d bytes of input", input, n, len(input))
		}
		q.reset()
		if size := cap(q.data) + cap(q.line) + 8*cap(q.ends) + 24*cap(q.args); size > 2*maxReused {
			t.Errorf("%.10q: the idle parser holds %d bytes", input, size)
		}
	}
}

// TestParserIsLinear parses long commands in single bytes. A parser that begins
// again with each byte takes hours for that, and the test does not end in time.
func TestParserIsLinear(t *testing.T) {
	const count = 524_289
	for name, input := range map[string]string{
		"arguments": fmt.Sprintf("*%d\r\n", count) + strings.Repeat("$0\r\n\r\n", count),
		"argument":  resp(strings.Repeat("x", 4<<20)),
		"inline":    strings.Repeat("x", maxInline-1) + "\n",
	} {
		q := &parser{}
		buf := make([]byte, 1)
		commands := 0
		for i := range len(input) {
			buf[0] = input[i]
			n, complete, err := q.parse(buf)
			if n != 1 || err != nil {
				t.Fatalf("%s: byte %d: %d, %v", name, i, n, err)
			}
			if complete {
				commands++
			}
		}
		if commands != 1 {
			t.Errorf("%s: %d commands", name, commands)
		}
	}
}
