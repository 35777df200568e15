package main

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
)

// A parser reads commands of the Redis protocol (RESP) from pieces of any size.
// It copies arguments and keeps its position, so each byte is looked at a
// constant number of times however the input is split. Its memory grows with the
// data that has arrived, not with the lengths that are announced.
type parser struct {
	state   parserState
	args    [][]byte // of the complete command; valid until the next call of parse
	data    []byte   // the arguments so far, without separators
	ends    []int    // end of each complete argument in data
	count   int      // number of arguments of the command
	missing int      // bytes of the current argument that have not arrived, with its CR LF
	line    []byte   // beginning of an incomplete line
}

type parserState uint8

const (
	atCommand  parserState = iota // before the first byte of a command
	inInline                      // in a command without lengths: words on a line
	inCount                       // in the line "*2" after the asterisk
	atSize                        // before the line "$4" of an argument
	inSize                        // in this line after the dollar sign
	inArgument                    // in an argument or the CR LF after it
)

const (
	maxArgs    = 1 << 20  // arguments of a command; the limit of Redis
	maxCommand = 64 << 20 // bytes of all arguments; in Redis one argument may have 512 MiB
	maxInline  = 64 << 10 // bytes of a command without lengths; the limit of Redis
	maxLength  = 32       // bytes of a line with a length
	maxReused  = 64 << 10 // bytes; a parser drops larger buffers after the command
	maxSlots   = 1024     // elements; a parser drops larger slices after the command
)

// parse reads p until a command is complete or p ends, and returns the number of
// bytes that it has read. If the command is complete, args has it; args is empty
// for an empty line and an empty array. The parser must not be used after an
// error.
func (q *parser) parse(p []byte) (n int, complete bool, err error) {
	for n < len(p) {
		switch q.state {
		case atCommand:
			q.reset()
			q.state = inInline
			if p[n] == '*' {
				q.state = inCount
				n++
			}
		case inInline, inCount, inSize:
			line, m, err := q.readLine(p[n:])
			n += m
			if line == nil || err != nil {
				return n, false, err
			}
			if complete, err = q.endLine(line); complete || err != nil {
				return n, complete, err
			}
		case atSize:
			if p[n] != '$' {
				return n, false, errors.New("expected '$', got " + strconv.QuoteRuneToASCII(rune(p[n])))
			}
			q.state = inSize
			n++
		case inArgument:
			m := min(q.missing, len(p)-n)
			q.append(p[n : n+m])
			n += m
			if q.missing > 0 {
				return n, false, nil
			}
			if complete, err = q.endArgument(); complete || err != nil {
				return n, complete, err
			}
		}
	}
	return n, false, nil
}

// reset prepares for the next command.
func (q *parser) reset() {
	if cap(q.data) > maxReused {
		q.data = nil
		clear(q.args)
	}
	if cap(q.line) > maxInline/16 {
		q.line = nil
	}
	if cap(q.args) > maxSlots {
		q.args, q.ends = nil, nil
	}
	q.args, q.data, q.ends, q.line = q.args[:0], q.data[:0], q.ends[:0], q.line[:0]
}

// readLine returns the line at the beginning of p, joined with what has arrived of
// it before, and the number of bytes of p that belong to it. The line is nil if it
// is not complete.
func (q *parser) readLine(p []byte) (line []byte, n int, err error) {
	limit := maxLength
	if q.state == inInline {
		limit = maxInline
	}
	p = p[:min(len(p), limit-len(q.line))]
	end := bytes.IndexByte(p, '\n')
	if end >= 0 && len(q.line) == 0 {
		return p[:end], end + 1, nil
	}
	if end >= 0 {
		line = append(q.line, p[:end]...)
		q.line = line[:0]
		return line, end + 1, nil
	}
	if q.line = append(q.line, p...); len(q.line) == limit {
		err = q.lineError()
	}
	return nil, len(p), err
}

func (q *parser) lineError() error {
	switch q.state {
	case inInline:
		return errors.New("too big inline request")
	case inCount:
		return errors.New("invalid multibulk length")
	default:
		return errors.New("invalid bulk length")
	}
}

// endLine interprets a complete line.
func (q *parser) endLine(line []byte) (complete bool, err error) {
	if q.state == inInline {
		for word := range bytes.FieldsSeq(line) {
			q.args = append(q.args, word)
		}
		q.state = atCommand
		return true, nil
	}
	limit := maxCommand
	if q.state == inCount {
		limit = maxArgs
	}
	length, ok := parseLength(line, limit)
	switch {
	case !ok:
		return false, q.lineError()
	case q.state == inSize && len(q.data)+length > maxCommand:
		return false, errors.New("too big command")
	case q.state == inSize:
		q.missing = length + len("\r\n")
		q.state = inArgument
	case length == 0:
		q.state = atCommand
		return true, nil
	default:
		q.count = length
		q.state = atSize
	}
	return false, nil
}

// parseLength returns the number in a line of digits that ends with CR.
func parseLength(line []byte, limit int) (value int, ok bool) {
	last := len(line) - 1
	if last < 1 || line[last] != '\r' {
		return 0, false
	}
	for _, digit := range line[:last] {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		if value = 10*value + int(digit-'0'); value > limit {
			return 0, false
		}
	}
	return value, true
}

// append adds p to the current argument. When data has to grow, it doubles at
// most, and not beyond the end of the argument.
func (q *parser) append(p []byte) {
	if len(p) > cap(q.data)-len(q.data) {
		q.data = slices.Grow(q.data, min(max(len(q.data), len(p)), q.missing))
	}
	q.data = append(q.data, p...)
	q.missing -= len(p)
}

// endArgument ends an argument that has arrived, and the command if it is the
// last one.
func (q *parser) endArgument() (complete bool, err error) {
	end := len(q.data) - len("\r\n")
	if q.data[end] != '\r' || q.data[end+1] != '\n' {
		return false, errors.New("expected CR LF after an argument")
	}
	q.data = q.data[:end]
	q.ends = append(q.ends, end)
	if q.state = atSize; len(q.ends) < q.count {
		return false, nil
	}
	if cap(q.args) < q.count {
		q.args = make([][]byte, 0, q.count)
	}
	start := 0
	for _, end := range q.ends {
		q.args = append(q.args, q.data[start:end:end])
		start = end
	}
	q.state = atCommand
	return true, nil
}
