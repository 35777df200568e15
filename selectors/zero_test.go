package selectors_test

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
)

// TestZeroSelector checks that the zero value of each selector's type behaves like a
// closed selector.
func TestZeroSelector(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, made selectors.Selector) {
		s, ok := reflect.New(reflect.TypeOf(made).Elem()).Interface().(selectors.Selector)
		if !ok {
			t.Fatalf("%T is no pointer", made)
		}
		errs := map[string]error{"Wake": s.Wake()}
		_, errs["Register"] = s.Register(0, selectors.EventRead, nil)
		_, errs["Modify"] = s.Modify(0, selectors.EventRead, nil)
		_, errs["Unregister"] = s.Unregister(0)
		_, errs["Key"] = s.Key(0)
		_, errs["Select"] = s.Select(-1)
		_, errs["SelectContext"] = selectors.SelectContext(context.Background(), s, nil)
		for method, err := range errs {
			if !errors.Is(err, selectors.ErrClosed) {
				t.Errorf("%s: %v", method, err)
			}
		}
		for range s.Keys() {
			t.Error("a key")
		}
		if s.Len() != 0 || s.Close() != nil || s.Close() != nil {
			t.Error("the zero selector is not empty, or cannot be closed")
		}
	})
}
