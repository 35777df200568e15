// Package selectors waits for readiness of any file descriptor over
// interchangeable kernel facilities: Python's selectors, for Go.
package selectors
