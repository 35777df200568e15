package selectors

import (
	"runtime"
	"time"
)

// pace is what an adaptive wait remembers of its last sleeps.
type pace struct {
	mean    time.Duration // of recent sleeps, each counted up to paceCap
	sleeps  uint32
	crowded int // how often in a row others were waiting for the processor
}

const (
	paceCap   = 200 * time.Microsecond
	shortly   = 30 * time.Microsecond
	blockFor  = 50 * time.Microsecond
	yieldCost = 3 * time.Microsecond
	probe     = 16
	yields    = 64
)

func (b *epoll) adapt(timeout time.Duration) (int, error) {
	begin := now()
	b.sleeps++
	if b.crowded > 0 || b.sleeps%probe == 0 {
		if n, err := b.yield(begin, timeout); n != 0 || err != nil {
			return n, err
		}
		if b.crowded > 0 {
			return b.block(clamp(timeout, 10*time.Millisecond))
		}
	}
	if b.mean < shortly {
		n, err := b.block(clamp(timeout, blockFor))
		b.slept(now() - begin)
		if n != 0 || err != nil || timeout >= 0 && timeout <= blockFor {
			return n, err
		}
		if timeout > 0 {
			if timeout -= now() - begin; timeout <= 0 {
				return 0, nil
			}
		}
		return b.park(timeout)
	}
	n, err := b.park(timeout)
	b.slept(now() - begin)
	return n, err
}

func (b *epoll) yield(begin, timeout time.Duration) (int, error) {
	at := begin
	for range yields {
		runtime.Gosched()
		n, err := b.poll()
		if n != 0 || err != nil {
			return n, err
		}
		then := at
		at = now()
		if at-then < yieldCost {
			b.crowded = 0
			return 0, nil
		}
		b.crowded = 1
		if timeout > 0 && at-begin >= timeout || b.wakes.Load() != 0 {
			return 0, nil
		}
	}
	return 0, nil
}

func (b *epoll) slept(d time.Duration) {
	b.mean += (min(d, paceCap) - b.mean) / 4
}

func clamp(timeout, most time.Duration) time.Duration {
	if timeout < 0 || timeout > most {
		return most
	}
	return timeout
}
