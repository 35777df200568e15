//go:build linux && simkqueue

package selectors

import "goselectors/selectors/internal/kqueue"

// With the build tag simkqueue the simulated kqueues are backends on Linux, so
// that all tests run over them.
func init() {
	for _, d := range kqueue.Simulated() {
		backends = append(backends, Backend{d.Name, kqueueTraits(d).features, func(...Option) (Selector, error) { return orNil(newKqueueSelector(d)) }})
	}
}
