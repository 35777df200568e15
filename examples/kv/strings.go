package main

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	notAnInteger = "ERR value is not an integer or out of range"
	syntaxError  = "ERR syntax error"
)

// dataCommands are the commands on keys.
var dataCommands = map[string]command{
	"SET":    {-3, 1, 1, "string", "Sets a key, with an optional time to live", (*client).set},
	"GET":    {2, 1, 1, "string", "Returns the value of a key", (*client).get},
	"INCR":   {2, 1, 1, "string", "Adds 1 to the integer in a key", (*client).incr},
	"DEL":    {-2, 1, -1, "generic", "Deletes keys", (*client).del},
	"EXISTS": {-2, 1, -1, "generic", "Counts the keys that exist", (*client).exists},
	"EXPIRE": {3, 1, 1, "generic", "Sets the time to live of a key in seconds", (*client).expire},
	"TTL":    {2, 1, 1, "generic", "Returns the time to live of a key in seconds", (*client).ttl},
}

// set is SET key value [EX seconds | PX milliseconds].
func (c *client) set(out []byte, args [][]byte) []byte {
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
		n, ok := parseInt(args[4])
		if !ok {
			return appendError(out, notAnInteger)
		}
		if n <= 0 || n > int64(c.db.maxTTL()/unit) {
			return appendError(out, "ERR invalid expire time in 'set' command")
		}
		ttl = time.Duration(n) * unit
	}
	v := c.db.put(args[1], args[2])
	if ttl > 0 {
		c.db.expire(args[1], v, ttl)
	}
	return appendStatus(out, "OK")
}

// parseInt parses an integer as Redis does: without a plus sign, leading zeros or
// anything else that would not be there if the integer were formatted.
func parseInt(p []byte) (n int64, ok bool) {
	if len(p) > len("-9223372036854775808") {
		return 0, false
	}
	n, err := strconv.ParseInt(string(p), 10, 64)
	var canonical [20]byte
	return n, err == nil && bytes.Equal(strconv.AppendInt(canonical[:0], n, 10), p)
}

func (c *client) get(out []byte, args [][]byte) []byte {
	if v := c.db.lookup(args[1]); v != nil {
		return c.appendValue(out, v.text)
	}
	return c.appendNil(out)
}

func (c *client) incr(out []byte, args [][]byte) []byte {
	v := c.db.lookup(args[1])
	if v == nil {
		c.db.put(args[1], []byte("1"))
		return appendInt(out, 1)
	}
	n, ok := parseInt(v.text)
	if !ok {
		return appendError(out, notAnInteger)
	}
	if n == math.MaxInt64 {
		return appendError(out, "ERR increment or decrement would overflow")
	}
	v.text = strconv.AppendInt(v.text[:0], n+1, 10) // a short value: no client is sending it
	return appendInt(out, n+1)
}

func (c *client) del(out []byte, args [][]byte) []byte {
	n := int64(0)
	for _, key := range args[1:] {
		if v := c.db.lookup(key); v != nil {
			c.db.remove(string(key), v)
			n++
		}
	}
	return appendInt(out, n)
}

func (c *client) exists(out []byte, args [][]byte) []byte {
	n := int64(0)
	for _, key := range args[1:] {
		if c.db.lookup(key) != nil {
			n++
		}
	}
	return appendInt(out, n)
}

func (c *client) expire(out []byte, args [][]byte) []byte {
	n, ok := parseInt(args[2])
	if !ok {
		return appendError(out, notAnInteger)
	}
	if n > int64(c.db.maxTTL()/time.Second) {
		return appendError(out, "ERR invalid expire time in 'expire' command")
	}
	v := c.db.lookup(args[1])
	switch {
	case v == nil:
		return appendInt(out, 0)
	case n <= 0:
		c.db.remove(string(args[1]), v)
	default:
		c.db.expire(args[1], v, time.Duration(n)*time.Second)
	}
	return appendInt(out, 1)
}

func (c *client) ttl(out []byte, args [][]byte) []byte {
	v := c.db.lookup(args[1])
	switch {
	case v == nil:
		return appendInt(out, -2)
	case v.timer == nil:
		return appendInt(out, -1)
	}
	remaining := v.expiresAt - c.db.now()
	return appendInt(out, int64((remaining+time.Second/2)/time.Second)) // rounded, as Redis does
}
