//go:build unix && !linux

package comparetest_test

import "goselectors/selectors"

// hasMillisecondTimeouts reports whether a selector rounds timeouts to
// milliseconds.
func hasMillisecondTimeouts(selectors.Selector) bool { return true }
