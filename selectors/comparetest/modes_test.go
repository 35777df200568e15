//go:build unix

package comparetest_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"
)

func TestLibeventPersistence(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		once, w1 := fdtest.UnixPair(t)
		always, w2 := fdtest.UnixPair(t)
		backendtest.Register(t, s, once, read|oneShot)
		backendtest.Register(t, s, always, read)
		fdtest.Write(t, w1, "x")
		fdtest.Write(t, w2, "x")
		backendtest.Expect(t, s, batch{once: read, always: read})
		backendtest.Expect(t, s, batch{always: read})
		backendtest.Expect(t, s, batch{always: read})
		backendtest.Modify(t, s, once, read|write|oneShot) // simpleread_multiple: for both at once
		backendtest.Expect(t, s, batch{once: read | write, always: read})
		backendtest.Expect(t, s, batch{always: read})
		backendtest.Unregister(t, s, always)
		backendtest.ExpectNothing(t, s)
		backendtest.Modify(t, s, once, write)
		for range 3 {
			backendtest.Expect(t, s, batch{once: write})
		}
	})
}

// TestLibeventNonpersistReadd: The callback of a one-shot key re-arms the
// other key, which is in the same batch.
func TestLibeventNonpersistReadd(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, b := fdtest.UnixPair(t)
		fdtest.Write(t, a, "x")
		fdtest.Write(t, b, "x")
		backendtest.Register(t, s, a, read|oneShot)
		backendtest.Register(t, s, b, read|oneShot)
		for range 3 {
			backendtest.Expect(t, s, batch{a: read, b: read})
			backendtest.Modify(t, s, a, read|oneShot)
			backendtest.Expect(t, s, batch{a: read})
			backendtest.Modify(t, s, b, read|oneShot)
			backendtest.Modify(t, s, a, read|oneShot)
		}
		backendtest.Unregister(t, s, a)
		backendtest.Register(t, s, a, read|oneShot)
		backendtest.Expect(t, s, batch{a: read, b: read})
		backendtest.ExpectNothing(t, s)
	})
}

// TestLibeventEdgeMultipleEvents: Dropping one of two events does not lose the
// edge of the other.
func TestLibeventEdgeMultipleEvents(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		backendtest.Need(t, s, selectors.FeatureEdgeTriggered)
		a, b := fdtest.UnixPair(t)
		backendtest.Register(t, s, a, read|write|edge)
		backendtest.Expect(t, s, batch{a: write})
		fdtest.Write(t, b, "x")
		backendtest.Modify(t, s, a, read|edge)
		backendtest.Expect(t, s, batch{a: read})
		backendtest.ExpectNothing(t, s)
		backendtest.Modify(t, s, a, read|write|edge)
		backendtest.Expect(t, s, batch{a: read | write})
		backendtest.ExpectNothing(t, s)
	})
}

// TestPollingModes: What each mode reports after a partial read, and changes
// of mode by Modify. A mode that the backend does not support is an error.
func TestPollingModes(t *testing.T) {
	const level = selectors.Event(0)
	for _, mode := range []selectors.Event{level, oneShot, edge, edge | oneShot} {
		t.Run("read with "+mode.String(), func(t *testing.T) {
			backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
				r, w := fdtest.UnixPair(t)
				if mode&edge != 0 && s.Features()&selectors.FeatureEdgeTriggered == 0 {
					_, err := s.Register(r, read|mode, nil)
					backendtest.ExpectError(t, err)
					if s.Len() != 0 {
						t.Error("the key is still registered")
					}
					return
				}
				backendtest.Register(t, s, r, read|mode)
				fdtest.Write(t, w, "four")
				backendtest.Expect(t, s, batch{r: read})
				fdtest.Read(t, r, 1)
				switch mode {
				case level:
					backendtest.Expect(t, s, batch{r: read})
					backendtest.Expect(t, s, batch{r: read})
				case edge:
					backendtest.ExpectNothing(t, s)
					fdtest.Write(t, w, "more")
					backendtest.Expect(t, s, batch{r: read})
					backendtest.ExpectNothing(t, s)
				default:
					backendtest.ExpectNothing(t, s)
					fdtest.Write(t, w, "more")
					backendtest.ExpectNothing(t, s)
				}
				backendtest.Modify(t, s, r, read|mode) // arms it again
				backendtest.Expect(t, s, batch{r: read})

				for _, next := range []selectors.Event{oneShot, level, edge, oneShot, edge | oneShot, level} {
					if next&edge != 0 && s.Features()&selectors.FeatureEdgeTriggered == 0 {
						continue
					}
					backendtest.Modify(t, s, r, read|next)
					backendtest.Expect(t, s, batch{r: read})
					if next == level {
						backendtest.Expect(t, s, batch{r: read})
					} else {
						backendtest.ExpectNothing(t, s)
					}
				}
			})
		})
	}
}

// TestMioEdgeBehaviorRecv: After reads up to ErrWouldBlock, an edge-triggered
// socket reports the next packet.
func TestMioEdgeBehaviorRecv(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		backendtest.Need(t, s, selectors.FeatureEdgeTriggered)
		a, b := fdtest.SocketPair(t, unix.SOCK_DGRAM)
		backendtest.Register(t, s, a, read|edge)
		for range 3 {
			fdtest.Write(t, b, "packet")
			backendtest.Expect(t, s, batch{a: read})
			buf := make([]byte, 16)
			if n, err := selectors.TryRead(a, buf); n != 6 || err != nil {
				t.Fatalf("read %d, %v", n, err)
			}
			if _, err := selectors.TryRead(a, buf); err != selectors.ErrWouldBlock {
				t.Fatalf("read from empty: %v", err)
			}
			backendtest.ExpectNothing(t, s)
		}
	})
}
