package main

import (
	"bytes"
	"math"
	"time"

	"goselectors/eventloop"
)

// A store holds the keys, and what all clients share. Only its loop uses it.
type store struct {
	loop    *eventloop.Loop
	now     func() time.Duration // reads the clock of the loop; it is monotonic
	keys    map[string]*value
	maxKeys int // largest len(keys) since the map was made
	expires int // number of keys that expire

	clients int    // connected
	lastID  int64  // of the newest client
	out     []byte // buffer for replies; one is enough, because commands run one after another
	parser  *parser
}

type value struct {
	text      []byte           // a client may be sending a long one, so only a short one is overwritten
	timer     *eventloop.Timer // deletes the key; nil if the key does not expire
	expiresAt time.Duration    // if timer is not nil
}

func newStore(loop *eventloop.Loop) *store {
	return &store{loop: loop, now: loop.ReadClock, keys: make(map[string]*value)}
}

// lookup returns the value of a key, or nil. It compares the time to live with the
// clock: the timer alone is not enough, because it is late when the loop is busy or
// the process was stopped. For the same reason it does not use Loop.Now, which is
// the time at the beginning of the turn.
func (s *store) lookup(key []byte) *value {
	v := s.keys[string(key)]
	if v != nil && v.timer != nil && s.now() >= v.expiresAt {
		s.remove(string(key), v)
		return nil
	}
	return v
}

// put sets a key to a copy of text. The key then does not expire. The memory of the
// earlier value is used again only if it is short and has about the right size.
func (s *store) put(key, text []byte) *value {
	v := s.keys[string(key)]
	if v == nil {
		v = &value{}
		s.keys[string(key)] = v
		s.maxKeys = max(s.maxKeys, len(s.keys))
	}
	s.persist(v)
	if size := cap(v.text); len(text) <= size && size <= min(2*len(text)+64, longReply) {
		v.text = append(v.text[:0], text...)
	} else {
		v.text = bytes.Clone(text)
	}
	return v
}

// expire makes a key expire after ttl, which replaces an earlier time to live. A
// timer of the loop is cheap enough for every such key to have one.
func (s *store) expire(name []byte, v *value, ttl time.Duration) {
	v.expiresAt = s.now() + ttl
	if v.timer != nil {
		v.timer.Reset(ttl)
		return
	}
	key := string(name)
	// CallLater returns an error only if the loop is closed.
	v.timer, _ = s.loop.CallLater(ttl, func() { s.remove(key, v) })
	s.expires++
}

// persist removes the time to live.
func (s *store) persist(v *value) {
	if v.timer != nil {
		v.timer.Stop()
		v.timer = nil
		s.expires--
	}
}

// minKeys is the size of a map that is not worth copying.
const minKeys = 1024

// remove deletes a key. A Go map never returns memory after delete, so a map that
// has become much smaller is copied.
func (s *store) remove(key string, v *value) {
	s.persist(v)
	delete(s.keys, key)
	if s.maxKeys <= minKeys || len(s.keys) > s.maxKeys/8 {
		return
	}
	smaller := make(map[string]*value, len(s.keys))
	for key, v := range s.keys {
		smaller[key] = v
	}
	s.keys, s.maxKeys = smaller, len(smaller)
}

// maxTTL returns the longest time to live that does not exceed the range of the
// clock.
func (s *store) maxTTL() time.Duration { return math.MaxInt64 - s.now() }

// takeParser returns a parser for a client that begins a command.
func (s *store) takeParser() *parser {
	if p := s.parser; p != nil {
		s.parser = nil
		return p
	}
	return &parser{}
}

// returnParser keeps the parser of a client that has no incomplete command. One is
// enough, unless clients send commands in pieces.
func (s *store) returnParser(p *parser) {
	p.reset()
	s.parser = p
}
