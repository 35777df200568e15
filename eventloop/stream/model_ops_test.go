//go:build linux

package stream_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An operation of a sequence. It is written as its verb and its arguments; "in" is
// followed by a method, by how many calls of it to skip, and by the operation that
// the next call then does.
type modelOp struct {
	verb string
	arg  int
	// of "in"
	method modelMethod
	skip   int
	nested *modelOp
}

// modelVerbs are the verbs with the values of their arguments. Frequent verbs are
// repeated. (The order of all lists in this file is part of the format of the seeds
// of FuzzConn.)
var modelVerbs = []modelVerb{
	{"peer-write", modelSizes}, {"peer-write", modelSizes}, {"peer-write", modelSizes},
	{"write", modelSizes}, {"write", modelSizes}, {"write", modelSizes},
	{"writev", modelSizes},
	{"peer-read", modelSizes}, {"peer-read", modelSizes},
	{"peer-finish", nil}, {"peer-close", nil}, {"peer-reset", nil},
	{"close-write", nil}, {"close", nil}, {"abort", nil},
	{"pause", nil}, {"pause", nil}, {"resume", nil}, {"resume", nil},
	{"detach", nil}, {"detach-fd", nil}, {"detach-without-descriptor", nil},
	{"idle-timeout", modelLimits}, {"read-timeout", modelLimits}, {"write-timeout", modelLimits},
	{"panic", nil},
	{"loop-stop", nil}, {"loop-close", nil},
	{"water-marks", []int{0, 1, 2}},
	// Not inside a method:
	{"in", nil}, {"in", nil}, {"in", nil}, {"in", nil}, {"in", nil}, {"in", nil},
	{"peer-drain", nil}, {"peer-drain", nil},
	{"advance", []int{1, 5, 12, 40}},
	{"hold", nil}, // no turns until "run"
	{"run", nil}, {"run", nil},
}

type modelVerb struct {
	verb string
	args []int
}

// modelNestable is the number of verbs that a method can do.
var modelNestable = slices.IndexFunc(modelVerbs, func(v modelVerb) bool { return v.verb == "in" })

var (
	modelSizes  = []int{1, 100, 5000, 70000, 0}
	modelLimits = []int{100, 200, 0} // milliseconds
	modelMarks  = [][2]int{{64 << 10, 16 << 10}, {4096, 1024}, {0, 0}}
	modelMaxima = []int{0, 0, 0, 6000}
)

// A chooser returns a number from 0 up to n-1. Any choices make a valid sequence of
// operations.
type chooser func(n int) int

func (choose chooser) operation() *modelOp {
	op := choose.verb(len(modelVerbs))
	if op.verb == "in" {
		op.method, op.skip = modelMethod(choose(int(modelMethods))), choose(3)
		op.nested = choose.verb(modelNestable)
	}
	return op
}

func (choose chooser) verb(n int) *modelOp {
	v := modelVerbs[choose(n)]
	op := &modelOp{verb: v.verb}
	if len(v.args) > 0 {
		op.arg = v.args[choose(len(v.args))]
	}
	return op
}

func (op *modelOp) String() string {
	v := modelVerbs[slices.IndexFunc(modelVerbs, func(v modelVerb) bool { return v.verb == op.verb })]
	switch {
	case op.verb == "in":
		return fmt.Sprintf("in %v %d %v", op.method, op.skip, op.nested)
	case len(v.args) > 0:
		return op.verb + " " + strconv.Itoa(op.arg)
	}
	return op.verb
}

// A modelSequence is a configuration and operations.
type modelSequence struct {
	config modelConfig
	marks  int  // index in modelMarks
	early  bool // no turns before the first "run"
	ops    []*modelOp
}

var (
	modelNetworkNames = []string{"tcp", "unix", "read-pipe", "write-pipe"}
	modelOriginNames  = []string{"wrap", "listen", "dial", "refused-dial"}
	modelFlags        = []string{"hangup-handler", "panic-handler", "keep-open", "first-byte", "early"}
)

func (choose chooser) config(s *modelSequence) {
	s.config = modelConfig{network: modelNetwork(choose(int(modelNetworks))), origin: modelOrigin(choose(int(modelOrigins)))}
	if s.config.network >= readPipe {
		s.config.origin = byWrap
	}
	flags := choose(1 << len(modelFlags))
	for i, flag := range s.flags() {
		*flag = flags>>i&1 != 0
	}
	s.marks = choose(len(modelMarks))
	s.config.maxUnsent = modelMaxima[choose(len(modelMaxima))]
	s.complete()
}

func (s *modelSequence) complete() {
	s.config.high, s.config.low = modelMarks[s.marks][0], modelMarks[s.marks][1]
}

func (s *modelSequence) flags() []*bool {
	c := &s.config
	return []*bool{&c.hangup, &c.panicHandler, &c.keepOpen, &c.hasFirstByte, &s.early}
}

const modelFirstByte = 150 * time.Millisecond

// String returns the sequence as a script, which parseSequence parses.
func (s *modelSequence) String() string {
	line := []string{modelNetworkNames[s.config.network], modelOriginNames[s.config.origin]}
	for i, flag := range s.flags() {
		if *flag {
			line = append(line, modelFlags[i])
		}
	}
	line = append(line, fmt.Sprintf("marks=%d", s.marks), fmt.Sprintf("max-unsent=%d", s.config.maxUnsent))
	lines := []string{strings.Join(line, " ")}
	for _, op := range s.ops {
		lines = append(lines, op.String())
	}
	return strings.Join(lines, "; ")
}

// parseSequence parses a script: a line for the configuration, and operations, with
// semicolons in between.
func parseSequence(script string) *modelSequence {
	s := &modelSequence{}
	for i, line := range strings.Split(script, ";") {
		fields := strings.Fields(line)
		if i > 0 {
			s.ops = append(s.ops, parseModelOp(fields))
			continue
		}
		s.config.network = modelNetwork(mustIndex(modelNetworkNames, fields[0]))
		s.config.origin = modelOrigin(mustIndex(modelOriginNames, fields[1]))
		for _, field := range fields[2:] {
			if name, value, ok := strings.Cut(field, "="); ok {
				n := mustAtoi(value)
				if name == "marks" {
					s.marks = n
				} else {
					s.config.maxUnsent = n
				}
				continue
			}
			*s.flags()[mustIndex(modelFlags, field)] = true
		}
	}
	s.complete()
	return s
}

func parseModelOp(fields []string) *modelOp {
	op := &modelOp{verb: fields[0]}
	mustIndex(modelVerbNames(), op.verb)
	switch {
	case op.verb == "in":
		op.method, op.skip = modelMethod(mustIndex(modelMethodNames, fields[1])), mustAtoi(fields[2])
		op.nested = parseModelOp(fields[3:])
	case len(fields) > 1:
		op.arg = mustAtoi(fields[1])
	}
	return op
}

func modelVerbNames() (names []string) {
	for _, v := range modelVerbs {
		names = append(names, v.verb)
	}
	return names
}

func mustIndex[T comparable](list []T, item T) int {
	i := slices.Index(list, item)
	if i < 0 {
		panic(fmt.Sprintf("%v is not one of %v", item, list))
	}
	return i
}

func mustAtoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// maxModelOps bounds the length of a sequence.
const maxModelOps = 100

// decodeSequence decodes a sequence from bytes, one byte for each choice. A byte is
// taken modulo the number of alternatives, and missing bytes at the end are 0, so
// that any bytes are a valid sequence.
func decodeSequence(data []byte) *modelSequence {
	choose := chooser(func(n int) (b int) {
		if len(data) > 0 {
			b, data = int(data[0])%n, data[1:]
		}
		return b
	})
	s := &modelSequence{}
	choose.config(s)
	for len(data) > 0 && len(s.ops) < maxModelOps {
		s.ops = append(s.ops, choose.operation())
	}
	return s
}

// encode is the inverse of decodeSequence, for seeds.
func (s *modelSequence) encode() []byte {
	flags := 0
	for i, flag := range s.flags() {
		if *flag {
			flags |= 1 << i
		}
	}
	data := []byte{byte(s.config.network), byte(s.config.origin), byte(flags), byte(s.marks), byte(mustIndex(modelMaxima, s.config.maxUnsent))}
	for _, op := range s.ops {
		data = op.encode(data)
	}
	return data
}

func (op *modelOp) encode(data []byte) []byte {
	i := mustIndex(modelVerbNames(), op.verb)
	data = append(data, byte(i))
	switch {
	case op.verb == "in":
		return op.nested.encode(append(data, byte(op.method), byte(op.skip)))
	case len(modelVerbs[i].args) > 0:
		data = append(data, byte(mustIndex(modelVerbs[i].args, op.arg)))
	}
	return data
}

// shrinkSequence removes from a failing sequence all operations that the failure
// does not need, in smaller and smaller pieces (Zeller's delta debugging).
func shrinkSequence(s *modelSequence, fails func(*modelSequence) bool) *modelSequence {
	for {
		before := len(s.ops)
		for size := max(len(s.ops)/2, 1); size > 0; size /= 2 {
			for at := 0; at < len(s.ops); {
				end := min(at+size, len(s.ops))
				fewer := *s
				fewer.ops = slices.Concat(s.ops[:at], s.ops[end:])
				if fails(&fewer) {
					s = &fewer
				} else {
					at = end
				}
			}
		}
		if len(s.ops) == before {
			break
		}
	}
	for i := range modelFlags {
		fewer := *s
		if flag := fewer.flags()[i]; *flag {
			if *flag = false; fails(&fewer) {
				s = &fewer
			}
		}
	}
	return s
}
