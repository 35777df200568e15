//go:build unix

package selectors_test

import (
	"testing"

	"goselectors/selectors"
	"goselectors/selectors/selectortest"
)

// TestConformanceExample runs the suite over the facility of ExampleNewSelector,
// which has few features.
func TestConformanceExample(t *testing.T) {
	selectortest.Run(t, func() (selectors.Selector, error) {
		f, err := newExamplePoll()
		if err != nil {
			return nil, err
		}
		return selectors.NewSelector(f, selectors.FacilityTraits{
			Name:     "example",
			Features: selectors.FeatureHangup | selectors.FeatureInvalid | selectors.FeatureAnyFile,
		}), nil
	})
}
