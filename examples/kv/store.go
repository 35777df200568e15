package main

import (
	"math"
	"strconv"
	"strings"
	"time"

	"goselectors/eventloop"
)

// A store holds the keys, and what all clients share. Only its loop uses it.
type store struct {
	loop *eventloop.Loop
	keys map[string]*value
	out  []byte // buffer for replies; one is enough, because commands run one after another
}

type value struct {
	text  []byte
	timer *eventloop.Timer // deletes the key; nil if the key does not expire
}

const (
	notAnInteger = "ERR value is not an integer or out of range"
	syntaxError  = "ERR syntax error"
)

// A command is an entry of the table of commands. Arity is the number of its
// arguments, including the name. A negative arity -n means n or more.
type command struct {
	arity int
	run   func(s *store, out []byte, args [][]byte) []byte
}

var commands = map[string]command{
	"PING":   {-1, (*store).ping},
	"ECHO":   {2, (*store).echo},
	"SET":    {-3, (*store).set},
	"GET":    {2, (*store).get},
	"DEL":    {-2, (*store).del},
	"EXISTS": {-2, (*store).exists},
	"INCR":   {2, (*store).incr},
	"EXPIRE": {3, (*store).expire},
	"TTL":    {2, (*store).ttl},
}

// execute runs a command and appends its reply to out.
func (s *store) execute(out []byte, args [][]byte) []byte {
	var name [16]byte // upper case, without allocating
	n := copy(name[:], args[0])
	for i, c := range name[:n] {
		if c >= 'a' && c <= 'z' {
			name[i] = c - 'a' + 'A'
		}
	}
	cmd, ok := commands[string(name[:n])]
	switch {
	case !ok || len(args[0]) > len(name):
		return appendError(out, "ERR unknown command '"+printable(args[0])+"'")
	case cmd.arity >= 0 && len(args) != cmd.arity || len(args) < -cmd.arity:
		return appendError(out, "ERR wrong number of arguments for '"+strings.ToLower(string(name[:n]))+"' command")
	}
	return cmd.run(s, out, args)
}

// printable returns the beginning of p with control characters as spaces, for an
// error reply.
func printable(p []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, string(p[:min(len(p), 128)]))
}

func (s *store) ping(out []byte, args [][]byte) []byte {
	switch len(args) {
	case 1:
		return appendStatus(out, "PONG")
	case 2:
		return appendBulk(out, args[1])
	}
	return appendError(out, "ERR wrong number of arguments for 'ping' command")
}

func (s *store) echo(out []byte, args [][]byte) []byte { return appendBulk(out, args[1]) }

// set is SET key value [EX seconds | PX milliseconds].
func (s *store) set(out []byte, args [][]byte) []byte {
	var ttl time.Duration
	if len(args) > 3 {
		unit := time.Second
		switch {
		case len(args) != 5:
			return appendError(out, syntaxError)
		case strings.EqualFold(string(args[3]), "PX"):
			unit = time.Millisecond
		case !strings.EqualFold(string(args[3]), "EX"):
			return appendError(out, syntaxError)
		}
		n, err := strconv.ParseInt(string(args[4]), 10, 64)
		if err != nil {
			return appendError(out, notAnInteger)
		}
		if n <= 0 || n > math.MaxInt64/int64(unit) {
			return appendError(out, "ERR invalid expire time in 'set' command")
		}
		ttl = time.Duration(n) * unit
	}
	v := s.keys[string(args[1])]
	if v == nil {
		v = &value{}
		s.keys[string(args[1])] = v
	}
	// Copy the value: the arguments are slices of a buffer that the next read overwrites.
	v.text = append(v.text[:0], args[2]...)
	s.setTTL(string(args[1]), v, ttl)
	return appendStatus(out, "OK")
}

// setTTL deletes the key after ttl, or never if ttl is 0. It replaces an earlier
// ttl. A timer of the loop is cheap enough for every key to have one.
func (s *store) setTTL(key string, v *value, ttl time.Duration) {
	if v.timer != nil {
		v.timer.Stop()
		v.timer = nil
	}
	if ttl > 0 {
		v.timer, _ = s.loop.CallLater(ttl, func() { delete(s.keys, key) })
	}
}

func (s *store) get(out []byte, args [][]byte) []byte {
	if v := s.keys[string(args[1])]; v != nil {
		return appendBulk(out, v.text)
	}
	return appendNil(out)
}

func (s *store) del(out []byte, args [][]byte) []byte {
	n := int64(0)
	for _, key := range args[1:] {
		if v := s.keys[string(key)]; v != nil {
			s.setTTL("", v, 0)
			delete(s.keys, string(key))
			n++
		}
	}
	return appendInt(out, n)
}

func (s *store) exists(out []byte, args [][]byte) []byte {
	n := int64(0)
	for _, key := range args[1:] {
		if s.keys[string(key)] != nil {
			n++
		}
	}
	return appendInt(out, n)
}

func (s *store) incr(out []byte, args [][]byte) []byte {
	v := s.keys[string(args[1])]
	if v == nil {
		v = &value{text: []byte("0")}
	}
	n, err := strconv.ParseInt(string(v.text), 10, 64)
	if err != nil {
		return appendError(out, notAnInteger)
	}
	if n == math.MaxInt64 {
		return appendError(out, "ERR increment or decrement would overflow")
	}
	v.text = strconv.AppendInt(v.text[:0], n+1, 10)
	if s.keys[string(args[1])] == nil {
		s.keys[string(args[1])] = v
	}
	return appendInt(out, n+1)
}

func (s *store) expire(out []byte, args [][]byte) []byte {
	n, err := strconv.ParseInt(string(args[2]), 10, 64)
	if err != nil {
		return appendError(out, notAnInteger)
	}
	v := s.keys[string(args[1])]
	switch {
	case v == nil:
		return appendInt(out, 0)
	case n > math.MaxInt64/int64(time.Second):
		return appendError(out, "ERR invalid expire time in 'expire' command")
	case n <= 0:
		s.setTTL("", v, 0)
		delete(s.keys, string(args[1]))
	default:
		s.setTTL(string(args[1]), v, time.Duration(n)*time.Second)
	}
	return appendInt(out, 1)
}

func (s *store) ttl(out []byte, args [][]byte) []byte {
	v := s.keys[string(args[1])]
	switch {
	case v == nil:
		return appendInt(out, -2)
	case v.timer == nil:
		return appendInt(out, -1)
	}
	remaining := v.timer.When() - s.loop.Now()
	return appendInt(out, int64((remaining+time.Second/2)/time.Second)) // rounded, as Redis does
}
