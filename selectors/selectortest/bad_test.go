package selectortest

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"goselectors/selectors"
)

// bad is a selector with one method that is wrong: it calls a function of this
// type before the right method. If that returns true, the method returns nothing,
// and the function's error.
type bad struct {
	selectors.Selector
	method string
	do     func(s selectors.Selector) (replaces bool, err error)
}

func (b *bad) call(method string) (replaces bool, err error) {
	if b.method != method {
		return false, nil
	}
	return b.do(b.Selector)
}

func (b *bad) Register(fileobj any, events selectors.Event, data any) (*selectors.SelectorKey, error) {
	if replaces, err := b.call("Register"); replaces {
		return nil, err
	}
	return b.Selector.Register(fileobj, events, data)
}

func (b *bad) Modify(fileobj any, events selectors.Event, data any) (*selectors.SelectorKey, error) {
	if replaces, err := b.call("Modify"); replaces {
		return nil, err
	}
	return b.Selector.Modify(fileobj, events, data)
}

func (b *bad) Unregister(fileobj any) (*selectors.SelectorKey, error) {
	if replaces, err := b.call("Unregister"); replaces {
		return nil, err
	}
	return b.Selector.Unregister(fileobj)
}

func (b *bad) Key(fileobj any) (*selectors.SelectorKey, error) {
	if replaces, err := b.call("Key"); replaces {
		return nil, err
	}
	return b.Selector.Key(fileobj)
}

func (b *bad) Select(timeout time.Duration) ([]selectors.Ready, error) {
	if replaces, err := b.call("Select"); replaces {
		return nil, err
	}
	return b.Selector.Select(timeout)
}

func (b *bad) SelectInto(dst []selectors.Ready, timeout time.Duration) ([]selectors.Ready, error) {
	if replaces, err := b.call("SelectInto"); replaces {
		return nil, err
	}
	return b.Selector.SelectInto(dst, timeout)
}

func (b *bad) Wake() error {
	if replaces, err := b.call("Wake"); replaces {
		return err
	}
	return b.Selector.Wake()
}

func (b *bad) Keys() iter.Seq[*selectors.SelectorKey] {
	b.call("Keys")
	return func(yield func(*selectors.SelectorKey) bool) {
		b.call("iterator")
		b.Selector.Keys()(yield)
	}
}

func (b *bad) Len() int {
	b.call("Len")
	return b.Selector.Len()
}

func (b *bad) Features() selectors.Feature {
	b.call("Features")
	return b.Selector.Features()
}

func (b *bad) Close() error {
	if replaces, err := b.call("Close"); replaces {
		return err
	}
	return b.Selector.Close()
}

func panics(selectors.Selector) (bool, error)     { panic("a defect") }
func hangs(selectors.Selector) (bool, error)      { select {} }
func returnsNil(selectors.Selector) (bool, error) { return true, nil }
func fails(selectors.Selector) (bool, error)      { return true, errors.New("some error") }

// badSelect has a Select that changes what the right one reports, or how it waits.
type badSelect struct {
	selectors.Selector
	change func(s selectors.Selector, timeout time.Duration) ([]selectors.Ready, error)
}

func (b badSelect) Select(timeout time.Duration) ([]selectors.Ready, error) {
	return b.change(b.Selector, timeout)
}

func (b badSelect) SelectInto(dst []selectors.Ready, timeout time.Duration) ([]selectors.Ready, error) {
	batch, err := b.change(b.Selector, timeout)
	return append(dst, batch...), err
}

// A badCase is a defect of a selector, and the rules that it breaks.
type badCase struct {
	name   string
	make   func(s selectors.Selector) selectors.Selector
	fails  string // a rule that has to fail
	says   string // part of its message
	passes string // a rule that comes after it and has to pass, or "" if no rule can
}

func oneMethod(method string, do func(selectors.Selector) (bool, error)) func(selectors.Selector) selectors.Selector {
	return func(s selectors.Selector) selectors.Selector { return &bad{s, method, do} }
}

func changedSelect(change func(s selectors.Selector, timeout time.Duration) ([]selectors.Ready, error)) func(selectors.Selector) selectors.Selector {
	return func(s selectors.Selector) selectors.Selector { return badSelect{s, change} }
}

var badCases = []badCase{
	{"PanicInConstructor", func(selectors.Selector) selectors.Selector { panic("a defect") },
		"Wake/BeforeSelect", "panicked: a defect", ""},
	{"NilSelector", func(selectors.Selector) selectors.Selector { return nil }, "Wake/BeforeSelect", "nil without an error", ""},
	{"NilPointer", func(selectors.Selector) selectors.Selector { return (*bad)(nil) }, "Wake/BeforeSelect", "nil pointer", ""},
	{"PanicInRegister", oneMethod("Register", panics), "Register/KeyHasArguments", "Register panicked: a defect", ""},
	{"PanicInModify", oneMethod("Modify", panics), "Modify/Events", "Modify panicked: a defect", "Unregister/ReturnsKey"},
	{"PanicInUnregister", oneMethod("Unregister", panics), "Unregister/ReturnsKey", "Unregister panicked: a defect", "Modes/LevelReadAndWrite"},
	{"PanicInSelect", oneMethod("Select", panics), "Timeout/ZeroReturnsImmediately", "Select panicked: a defect", "Close/Idempotent"},
	{"PanicInSelectInto", oneMethod("SelectInto", panics), "Timeout/SelectIntoReturnsDst", "SelectInto panicked: a defect", "Close/Idempotent"},
	{"PanicInWake", oneMethod("Wake", panics), "Wake/BeforeSelect", "Wake panicked: a defect", "Close/Idempotent"},
	{"PanicInWakeOfContext", oneMethod("Wake", panics), "Context/Cancel", "Wake panicked: a defect", "Register/KeyHasArguments"},
	{"PanicInKey", oneMethod("Key", panics), "Keys/UnknownReturnsErrNotRegistered", "Key panicked: a defect", "InvalidEvents/Unsupported"},
	{"PanicInKeys", oneMethod("Keys", panics), "Keys/KeysIsAscendingSnapshot", "Keys panicked: a defect", "InvalidEvents/Unsupported"},
	{"PanicInIterator", oneMethod("iterator", panics), "Keys/KeysIsAscendingSnapshot", "iterator of Keys panicked: a defect", "InvalidEvents/Unsupported"},
	{"PanicInLen", oneMethod("Len", panics), "Register/KeyHasArguments", "Len panicked: a defect", "Modify/DataOnly"},
	{"PanicInFeatures", oneMethod("Features", panics), "Wake/BeforeSelect", "Features panicked: a defect", ""},
	{"PanicInClose", oneMethod("Close", panics), "Wake/BeforeSelect", "Close panicked: a defect", ""},

	{"NilKeys", oneMethod("Register", returnsNil), "Register/KeyHasArguments", "nil pointer", ""},
	{"ErrorsPanic", oneMethod("Key", func(selectors.Selector) (bool, error) { return true, (*selectors.Error)(nil) }),
		"Keys/UnknownReturnsErrNotRegistered", "nil pointer", "Modes/LevelReadAndWrite"},

	{"SelectHangs", oneMethod("Select", hangs), "Wake/BeforeSelect", "it is left behind", "Close/Idempotent"},
	{"CloseHangs", oneMethod("Close", hangs), "Wake/BeforeSelect", "Close has not returned", ""},
	{"WakeIsIgnored", oneMethod("Wake", returnsNil), "Wake/BeforeSelect", "its selectors are closed now", "Close/Idempotent"},
	{"CloseDoesNotWake", changedSelect(func(s selectors.Selector, timeout time.Duration) ([]selectors.Ready, error) {
		for timeout < 0 {
			if batch, err := s.Select(timeout); err == nil {
				return batch, err
			}
			time.Sleep(time.Millisecond)
		}
		return s.Select(timeout)
	}), "Close/EndsBlockedSelect", "it is left behind", "Register/KeyHasArguments"},

	{"PlainErrors", oneMethod("Unregister", fails), "Unregister/ReturnsKey", "some error", "Timeout/ZeroReturnsImmediately"},
	{"NoErrors", oneMethod("Key", returnsNil), "InvalidFileObj/Refused", "no error, want one", "Modes/LevelReadAndWrite"},
	{"EventsAreLost", func(s selectors.Selector) selectors.Selector {
		n := 0
		return badSelect{s, func(s selectors.Selector, timeout time.Duration) ([]selectors.Ready, error) {
			batch, err := s.Select(timeout)
			if n++; n%3 == 0 {
				return nil, err
			}
			return batch, err
		}}
	}, "Modes/LevelReadAndWrite", "got batch  empty", "Keys/LookupByObjectOrNumber"},
	{"EntriesAreDoubled", changedSelect(func(s selectors.Selector, timeout time.Duration) ([]selectors.Ready, error) {
		batch, err := s.Select(timeout)
		return append(batch, batch...), err
	}), "Modes/LevelReadAndWrite", "two entries in one batch", "Keys/KeysAreImmutable"},
	{"KeysAreCopied", changedSelect(func(s selectors.Selector, timeout time.Duration) ([]selectors.Ready, error) {
		batch, err := s.Select(timeout)
		for i := range batch {
			copied := *batch[i].Key
			batch[i].Key = &copied
		}
		return batch, err
	}), "Register/ReportHasKey", "want batch", "Keys/KeysAreImmutable"},
	{"ReturnsEarly", changedSelect(func(s selectors.Selector, timeout time.Duration) ([]selectors.Ready, error) {
		if timeout > 0 {
			timeout /= 2
		}
		return s.Select(timeout)
	}), "Timeout/NotBeforeTimeout", "want at least the timeout", "Timeout/NegativeWaitsForWake"},
	{"Spins", changedSelect(func(s selectors.Selector, timeout time.Duration) ([]selectors.Ready, error) {
		// The number of rounds makes it use processor time on a busy machine, too.
		for start, rounds := time.Now(), 30_000; timeout > 0 && (rounds > 0 || time.Since(start) < timeout); rounds-- {
			if batch, err := s.Select(0); len(batch) != 0 || err != nil {
				return batch, err
			}
		}
		return s.Select(min(timeout, 0))
	}), "ClosedDescriptor/NoSpin", "of processor time", ""},
}

const badEnv = "SELECTORTEST_BAD"

// TestBadSelector runs the suite over one of badCases, in a process of
// TestBadSelectors.
func TestBadSelector(t *testing.T) {
	name := os.Getenv(badEnv)
	if name == "" {
		t.Skip("run by TestBadSelectors")
	}
	ruleLimit, closeLimit, reportTimeout = time.Second, 200*time.Millisecond, 200*time.Millisecond
	for _, test := range badCases {
		if test.name == name {
			Run(t, func() (selectors.Selector, error) {
				s, err := selectors.NewDefaultSelector()
				if err != nil {
					return nil, err
				}
				return test.make(s), nil
			})
		}
	}
}

// TestBadSelectors: each defect is the failure of a certain rule, and the other
// rules go on.
func TestBadSelectors(t *testing.T) {
	if len(selectors.Backends()) == 0 {
		t.Skip("no backend on this platform")
	}
	for _, test := range badCases {
		t.Run(test.name, func(t *testing.T) {
			group, rule, _ := strings.Cut(test.fails, "/")
			if g, r, found := strings.Cut(test.passes, "/"); found {
				group, rule = group+"|"+g, rule+"|"+r
			}
			cmd := exec.Command(os.Args[0], fmt.Sprintf("-test.run=^TestBadSelector$/^(%s)$/^(%s)$", group, rule), "-test.v")
			cmd.Env = append(os.Environ(), badEnv+"="+test.name)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 || strings.Contains(string(out), "\npanic: ") || !strings.Contains(string(out), "\nFAIL\n") { // coverage may follow
				t.Errorf("the process ended with %v, want status 1 after all rules", err)
			}
			if err := checkRule(string(out), test.fails, "FAIL", test.says); err != nil {
				t.Error(err)
			}
			if test.passes != "" {
				if err := checkRule(string(out), test.passes, "PASS", ""); err != nil {
					t.Error(err)
				}
			}
			if t.Failed() {
				t.Logf("output:\n%s", out)
			}
		})
	}
}

// checkRule looks for the result of a rule, and a part of its message, in the
// output of a test.
func checkRule(out, rule, result, says string) error {
	_, from, found := strings.Cut(out, "=== RUN   TestBadSelector/"+rule+"\n")
	if !found {
		return fmt.Errorf("%s did not run", rule)
	}
	message, to, found := strings.Cut(from, "=== RUN")
	if !found {
		message = from
	}
	if !strings.Contains(message, says) {
		return fmt.Errorf("%s does not say %q", rule, says)
	}
	if !strings.Contains(message+to, "--- "+result+": TestBadSelector/"+rule+" ") {
		return fmt.Errorf("%s did not end with %s", rule, result)
	}
	return nil
}
