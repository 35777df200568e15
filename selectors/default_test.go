package selectors_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"goselectors/selectors"
)

func TestBackends(t *testing.T) {
	names := map[string]bool{}
	for _, b := range selectors.Backends() {
		if b.Name == "" || names[b.Name] {
			t.Errorf("backend %q has no unique name", b.Name)
		}
		names[b.Name] = true
		s, err := b.New()
		if err != nil {
			t.Errorf("%s: %v", b.Name, err)
			continue
		}
		if s.Features() != b.Features {
			t.Errorf("%s: the backend has %v, a selector of it %v", b.Name, b.Features, s.Features())
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: Close: %v", b.Name, err)
		}
	}
	if runtime.GOOS == "linux" {
		for i, want := range []string{"epoll", "poll", "select"} {
			if b := selectors.Backends(); len(b) < 3 || b[i].Name != want {
				t.Fatalf("the backends are %v, want epoll, poll and select, best first", b)
			}
		}
	}
}

// TestBackendsIsACopy: changes that a caller makes to the list have no effect.
func TestBackendsIsACopy(t *testing.T) {
	list := selectors.Backends()
	if len(list) == 0 {
		t.Skip("this platform has no backends")
	}
	name := list[0].Name
	list[0].Name = "mine"
	if got := selectors.Backends()[0].Name; got != name {
		t.Errorf("the first backend is %q now", got)
	}
}

// backendOf returns the name of a selector's backend, from one of its errors.
func backendOf(t *testing.T, s selectors.Selector) string {
	t.Helper()
	_, err := s.Key(-1)
	var e *selectors.Error
	if !errors.As(err, &e) {
		t.Fatalf("Key(-1) is %v", err)
	}
	return e.Backend
}

func TestNewDefaultSelector(t *testing.T) {
	t.Setenv(selectors.BackendEnv, "")
	s, err := selectors.NewDefaultSelector()
	if len(selectors.Backends()) == 0 {
		if s != nil || !errors.Is(err, errors.ErrUnsupported) {
			t.Fatalf("without backends NewDefaultSelector is %v, %v", s, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, want := backendOf(t, s), selectors.Backends()[0].Name; got != want {
		t.Errorf("the default is %s, want %s", got, want)
	}
}

func TestNewDefaultSelectorByEnvironment(t *testing.T) {
	for _, b := range selectors.Backends() {
		t.Setenv("SELECTORS_BACKEND", b.Name)
		s, err := selectors.NewDefaultSelector(selectors.WithBlockingWait(), nil)
		if err != nil {
			t.Errorf("%s: %v", b.Name, err)
			continue
		}
		if got := backendOf(t, s); got != b.Name {
			t.Errorf("%s=%s gave %s", selectors.BackendEnv, b.Name, got)
		}
		s.Close()
	}
	for _, name := range []string{"kqueueue", "EPOLL", " poll", "epoll,poll"} {
		t.Setenv("SELECTORS_BACKEND", name)
		s, err := selectors.NewDefaultSelector()
		var e *selectors.Error
		if s != nil || !errors.As(err, &e) || !errors.Is(err, errors.ErrUnsupported) || e.Op != "new" || e.Backend != name {
			t.Errorf("%s=%s gave %v, %v", selectors.BackendEnv, name, s, err)
			continue
		}
		for _, b := range selectors.Backends() {
			if !strings.Contains(err.Error(), b.Name) || !strings.Contains(err.Error(), selectors.BackendEnv) {
				t.Errorf("the error %q does not name the choice %s", err, b.Name)
			}
		}
	}
}

// TestWithBlockingWait: a selector that blocks a thread does not have
// FeatureParked.
func TestWithBlockingWait(t *testing.T) {
	for _, b := range selectors.Backends() {
		s, err := b.New(selectors.WithBlockingWait())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if want := b.Features &^ selectors.FeatureParked; s.Features() != want {
			t.Errorf("%s with blocking waits has the features %v, want %v", b.Name, s.Features(), want)
		}
	}
}
