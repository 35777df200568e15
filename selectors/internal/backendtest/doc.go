// Package backendtest runs a test over every backend of package selectors and
// compares what Select reports.
package backendtest
