package selectors_test

import (
	"testing"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/selectortest"
)

// TestConformance runs the conformance suite over every backend, every strategy
// of waiting and a selector that NewSelector made.
func TestConformance(t *testing.T) {
	backends := backendtest.Backends()
	if len(backends) == 0 {
		t.Skip("no backend on this platform")
	}
	for _, b := range backends {
		run := func(name string, options ...selectors.Option) {
			t.Run(name, func(t *testing.T) {
				newSelector := func() (selectors.Selector, error) { return b.New(options...) }
				selectortest.Run(t, newSelector)
				selectortest.RunAllocations(t, newSelector)
			})
		}
		run(b.Name)
		if b.Features&selectors.FeatureParked == 0 {
			continue // it has one strategy only
		}
		run(b.Name+"-WithBlockingWait", selectors.WithBlockingWait())
		for _, s := range selectors.Strategies {
			if s.Name != "adaptive" && s.Name != "blocking" { // which the two above have
				run(b.Name+"-"+s.Name, s.Option)
			}
		}
	}
}

// TestConformanceOtherType runs the suite over a Selector that is not a type of
// this package, and for sockets only, as a third party's may be.
func TestConformanceOtherType(t *testing.T) {
	backends := selectors.Backends()
	if len(backends) == 0 {
		t.Skip("no backend on this platform")
	}
	selectortest.Run(t, func() (selectors.Selector, error) {
		s, err := backends[0].New()
		return socketsOnly{s}, err
	})
}

type socketsOnly struct{ selectors.Selector }

func (s socketsOnly) Features() selectors.Feature {
	return s.Selector.Features() &^ selectors.FeatureAnyFile
}
