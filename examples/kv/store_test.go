//go:build unix

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"goselectors/eventloop"
)

// newIdleStore returns a store with a clock that the test sets, on a loop that does
// not run: as if the loop were busy, no timer deletes a key.
func newIdleStore(t *testing.T) (s *store, clock *time.Duration) {
	t.Helper()
	loop, err := eventloop.New()
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { loop.Close() })
	clock = new(time.Duration)
	s = newStore(loop)
	s.now = func() time.Duration { return *clock }
	return s, clock
}

// execute runs a command of words and returns its reply.
func execute(s *store, command string) string {
	c := &client{db: s, session: newSession(1)}
	var args [][]byte
	for _, word := range strings.Fields(command) {
		args = append(args, []byte(word))
	}
	return string(c.execute(nil, args))
}

// TestExpiryAtAccess checks that no command finds a key whose time to live is over,
// although its timer has not been called.
func TestExpiryAtAccess(t *testing.T) {
	for _, setup := range [][]string{
		{"SET k 5 PX 1000"},
		{"SET k 5", "EXPIRE k 1"},
		{"SET k 5 EX 100", "EXPIRE k 1"},
		{"SET k 4 EX 1", "INCR k"},
	} {
		for _, c := range []struct{ command, before, after string }{
			{"GET k", "$1\r\n5\r\n", "$-1\r\n"},
			{"EXISTS k k", ":2\r\n", ":0\r\n"},
			{"DEL k", ":1\r\n", ":0\r\n"},
			{"INCR k", ":6\r\n", ":1\r\n"},
			{"EXPIRE k 10", ":1\r\n", ":0\r\n"},
			{"EXPIRE k 0", ":1\r\n", ":0\r\n"},
			{"TTL k", ":0\r\n", ":-2\r\n"},
		} {
			for at, want := range map[time.Duration]string{time.Second - 1: c.before, time.Second: c.after} {
				s, clock := newIdleStore(t)
				for _, command := range setup {
					execute(s, command)
				}
				*clock = at
				if got := execute(s, c.command); got != want {
					t.Errorf("%q, %s at %v: %q, want %q", setup, c.command, at, got, want)
				}
			}
		}
	}
}

// TestTTL checks the times to live that commands set, keep and remove.
func TestTTL(t *testing.T) {
	s, clock := newIdleStore(t)
	for _, c := range []struct {
		command, reply string
		expires        int // number of keys that expire
	}{
		{"SET k 1 PX 1000", "+OK\r\n", 1},
		{"TTL k", ":1\r\n", 1},
		{"SET k 1", "+OK\r\n", 0},
		{"TTL k", ":-1\r\n", 0},
		{"EXPIRE k 10", ":1\r\n", 1},
		{"EXPIRE k 20", ":1\r\n", 1},
		{"INCR k", ":2\r\n", 1},
		{"TTL k", ":20\r\n", 1},
		{"EXPIRE k 9223372036854775807", "-ERR invalid expire time in 'expire' command\r\n", 1},
		{"EXPIRE k 9223372036", "-ERR invalid expire time in 'expire' command\r\n", 1},
		{"EXPIRE k 9223372035", ":1\r\n", 1},
		{"TTL k", ":9223372035\r\n", 1},
		{"SET k 1 PX 9223372036854775", "-ERR invalid expire time in 'set' command\r\n", 1},
		{"SET k 1 PX 9223372036854", "-ERR invalid expire time in 'set' command\r\n", 1},
		{"SET k 1 PX 9223372035854", "+OK\r\n", 1},
		{"EXPIRE k -9223372036854775808", ":1\r\n", 0},
		{"EXISTS k", ":0\r\n", 0},
		{"EXPIRE k 010", "-ERR value is not an integer or out of range\r\n", 0},
	} {
		*clock = time.Second
		if got := execute(s, c.command); got != c.reply || s.expires != c.expires {
			t.Errorf("%s: %q, %d keys expire; want %q, %d", c.command, got, s.expires, c.reply, c.expires)
		}
	}
}

// TestIncrText checks which texts are integers. Redis accepts only those that it
// would write itself.
func TestIncrText(t *testing.T) {
	for text, want := range map[string]string{
		"0": ":1\r\n", "-1": ":0\r\n", "-9223372036854775808": ":-9223372036854775807\r\n",
		"9223372036854775807": "-ERR increment or decrement would overflow\r\n",
	} {
		s, _ := newIdleStore(t)
		execute(s, "SET n "+text)
		if got := execute(s, "INCR n"); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	for _, text := range []string{"+1", "01", "-0", "1.0", "0x1", "1_0", "9223372036854775808", strings.Repeat("0", 100)} {
		s, _ := newIdleStore(t)
		execute(s, "SET n "+text)
		if got := execute(s, "INCR n"); got != "-"+notAnInteger+"\r\n" {
			t.Errorf("%s: %q", text, got)
		}
	}
}

// TestMemoryReturns fills a store in several ways and then replaces or deletes
// what it holds.
func TestMemoryReturns(t *testing.T) {
	big := strings.Repeat("x", 1<<20)
	for name, run := range map[string]func(s *store){
		"long values replaced by short ones": func(s *store) {
			for i := range 50 {
				execute(s, fmt.Sprintf("SET k%d %s", i, big))
				execute(s, fmt.Sprintf("SET k%d 1", i))
			}
		},
		"shorter and shorter values": func(s *store) {
			for size := len(big); size > 0; size /= 2 {
				for i := range 50 {
					execute(s, fmt.Sprintf("SET k%d %s", i, big[:size]))
				}
			}
		},
		"very many keys deleted": func(s *store) {
			for i := range 200_000 {
				execute(s, fmt.Sprintf("SET k%d 1", i))
			}
			for i := range 200_000 {
				execute(s, fmt.Sprintf("DEL k%d", i))
			}
		},
		"times to live replaced": func(s *store) {
			for range 100_000 {
				execute(s, "SET k 1 EX 100")
			}
		},
	} {
		before := heap()
		s, _ := newIdleStore(t)
		run(s)
		if held := heap() - before; held > 1<<20 {
			t.Errorf("%s: the store holds %d KiB", name, held>>10)
		}
		execute(s, "GET k") // the store is in use until here
	}
}

// TestTimers checks that the timers delete keys that are not accessed.
func TestTimers(t *testing.T) {
	eachStore(t, func(s *testServer) {
		s.exchange(resp("SET", "a", "1", "PX", "20")+resp("SET", "b", "1", "PX", "20")+resp("SET", "b", "2")+
			resp("SET", "c", "1", "PX", "20")+resp("EXPIRE", "c", "100"), "+OK\r\n+OK\r\n+OK\r\n+OK\r\n:1\r\n")
		s.until("one key has expired", func() bool { return len(s.db.keys) == 2 && s.db.expires == 1 })
		s.exchange(resp("GET", "b")+resp("TTL", "c"), "$1\r\n2\r\n:100\r\n")
	})
}

// TestBusyLoop checks that a key is gone in the same turn in which it was set, when
// the turn lasts longer than the time to live.
func TestBusyLoop(t *testing.T) {
	eachStore(t, func(s *testServer) {
		s.do(func() {
			execute(s.db, "SET k 1 PX 5")
			time.Sleep(6 * time.Millisecond)
			if got := execute(s.db, "GET k"); got != "$-1\r\n" {
				s.Errorf("GET: %q", got)
			}
		})
	})
}
