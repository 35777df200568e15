// Package comparetest has the tests that run the same operations on every
// backend of package selectors and compare the results. It has only test files.
// Everything here uses the public API. Helpers are in internal/fdtest
// (descriptors) and internal/backendtest (selectors and batches).
//
// # Where a new case goes
//
//   - A sequence of operations with one expected batch for each select: a script
//     in testdata/scripts. This is the first choice; it needs no Go code.
//   - One file in one state, with every interest: a line in TestSideBySide.
//   - A case that needs code (goroutines, timeouts, file objects, many keys): a
//     test in the file of its topic, such as registration_test.go, stale_test.go
//     or timeout_test.go. The suffix _linux is for tests that run only on Linux.
//   - A case of another library's test suite: the same, with the name of the suite
//     in the name of the test (TestLibuvPollOOB), and a line in SOURCES.md, which
//     lists the cases of each suite and the reason where there is no test.
//   - A defect that another library has or had: the same, with the prefix
//     TestRegress (CPython) or TestPeers (Go packages). The comment says what
//     that library does, and where it is reported.
//   - A kind of file or an operation that random sequences should include:
//     model_files_test.go, model_selector_test.go, and modelVerbs in
//     model_test.go. A new verb invalidates the fuzz seeds; see below.
//   - A rule that every implementation of selectors.Selector must follow, third
//     party ones included: package selectortest, which TestConformance runs.
//   - A test of one exported function that needs no comparison of backends
//     (TryRead, SelectContext, Event.String): beside it, in selectors.
//   - A test that needs unexported identifiers or system calls that fail: a
//     white-box test in selectors or in the package below selectors/internal.
//
// # A failing random sequence
//
// TestModel runs a thousand fixed random sequences, FuzzBackendsAgree those that
// the fuzzer generates. Both run a sequence on every backend and on a model of
// the kernel written in Go. On a difference they shorten the sequence as far as
// it still fails, and print it as a script with the results that the model
// expects. If the backend is wrong, fix it and keep the script in
// testdata/scripts. If the model is wrong, fix the model.
//
// A failure of TestModel names its sequence:
//
//	go test -run TestModel ./selectors/comparetest -seed 123
//
// -seed -1 runs a thousand new sequences. A failure of the fuzzer is a file in
// testdata/fuzz/FuzzBackendsAgree; run it again with
//
//	go test -run FuzzBackendsAgree/NAME ./selectors/comparetest
//
// The bytes of a seed are choices, one byte each: an index into modelVerbs, then
// one for each argument of the verb, an index into modelNames, modelInterests,
// modelShutdowns or modelShortages. All are taken modulo the length of the list; missing bytes are
// 0. A change to one of these lists gives the seeds in testdata another meaning.
// The seeds in fuzzSeeds are scripts and keep theirs.
//
// # Simulated kqueues
//
// With -tags simkqueue the kqueue backends run on Linux over a simulation, and all
// tests here include them.
package comparetest
