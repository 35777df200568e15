package stream

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestQueue checks that data leaves the queue in order, for random sizes.
func TestQueue(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		var q *queue
		var in, out []byte
		for range 100 {
			for range rnd.IntN(10) {
				p := make([]byte, 1+rnd.IntN(1<<rnd.IntN(18)))
				for i := range p {
					p[i] = byte(rnd.Uint32())
				}
				in = append(in, p...)
				q = q.append(p)
				clear(p) // it was copied
			}
			if q == nil {
				continue
			}
			all := bytes.Join(q.blocks, nil)
			if q.size != len(all) || q.size != len(in)-len(out) {
				t.Fatalf("size %d with %d bytes in the blocks, want %d", q.size, len(all), len(in)-len(out))
			}
			n := rnd.IntN(q.size + 1)
			if rnd.IntN(4) == 0 {
				n = q.size
			}
			out = append(out, all[:n]...)
			q.discard(n)
		}
		if q != nil {
			out = append(out, bytes.Join(q.blocks, nil)...)
		}
		if !bytes.Equal(in, out) {
			t.Fatal("the removed data differs from the appended data")
		}
	}
}

// TestQueueSmallPieces checks that many small pieces share a few blocks.
func TestQueueSmallPieces(t *testing.T) {
	var q *queue
	allocs := testing.AllocsPerRun(1, func() {
		q = nil
		for range 100_000 {
			q = q.append([]byte("piece"))
		}
	})
	if q.size != 500_000 || len(q.blocks) > 20 || allocs > 60 {
		t.Errorf("%d bytes in %d blocks, %v allocations", q.size, len(q.blocks), allocs)
	}
}
