// Package comparetest holds tests of the public API of package selectors that
// run the same operations over every backend and compare the results.
package comparetest
