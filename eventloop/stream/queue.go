package stream

import "slices"

// A queue holds data to send. Small pieces share a block. Data is not moved
// once it is in a block, and a block is released when all of it is sent.
type queue struct {
	blocks  [][]byte
	size    int         // bytes in all blocks
	files   []fileRange // of SendFile, in order
	loading bool        // the first of files is being read from the disk
}

// isEmpty reports whether all is sent.
func (q *queue) isEmpty() bool { return q.size == 0 && len(q.files) == 0 }

// Sizes of blocks in bytes.
const (
	minBlock = 4 << 10
	maxBlock = 64 << 10 // except for a larger piece, which gets a block of its size
)

// append copies p to the end of the queue and returns the queue. A nil receiver
// is an empty queue. New blocks grow with the queue.
func (q *queue) append(p []byte) *queue {
	if q == nil {
		q = &queue{}
	}
	q.size += len(p)
	if last := len(q.blocks) - 1; last >= 0 {
		tail := q.blocks[last]
		n := min(len(p), cap(tail)-len(tail))
		q.blocks[last], p = append(tail, p[:n]...), p[n:]
	}
	if len(p) > 0 {
		block := make([]byte, 0, max(len(p), min(max(q.size, minBlock), maxBlock)))
		q.blocks = append(q.blocks, append(block, p...))
	}
	return q
}

// discard removes the first n bytes.
func (q *queue) discard(n int) {
	q.size -= n
	whole := 0
	for whole < len(q.blocks) && n >= len(q.blocks[whole]) {
		n -= len(q.blocks[whole])
		q.blocks[whole] = nil
		whole++
	}
	q.blocks = q.blocks[whole:]
	if n > 0 {
		q.blocks[0] = q.blocks[0][n:]
	}
}

// first returns the first n bytes.
func (q *queue) first(n int) [][]byte {
	for i, block := range q.blocks {
		if n <= len(block) {
			blocks := slices.Clone(q.blocks[:i+1])
			blocks[i] = block[:n]
			return blocks
		}
		n -= len(block)
	}
	return q.blocks
}
