package main

import "testing"

// BenchmarkCommand parses and executes commands that have arrived together.
func BenchmarkCommand(b *testing.B) {
	for name, command := range map[string]string{"SET": resp("SET", "key:000000000001", "xxx"), "GET": resp("GET", "key:000000000001"), "PING": "PING\r\n"} {
		b.Run(name, func(b *testing.B) {
			c := &client{db: newStore(nil), session: newSession(1)}
			var input []byte
			for range 16 {
				input = append(input, command...)
			}
			var out []byte
			b.ReportAllocs()
			for range b.N / 16 {
				out = out[:0]
				for p := input; len(p) > 0; {
					out, p = c.executeNext(out, p)
				}
			}
		})
	}
}
