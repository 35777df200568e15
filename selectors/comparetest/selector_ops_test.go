//go:build linux

package comparetest_test

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"goselectors/selectors"
	"goselectors/selectors/internal/fdtest"
)

// selectorVerbs are the operations on selectors, which every instance runs.
var selectorVerbs map[string]struct {
	args string
	do   func(e *env, op operation) ([]result, error)
}

func init() { // not in the declaration: `after` refers to selectorVerbs
	type verb = struct {
		args string
		do   func(e *env, op operation) ([]result, error)
	}
	selectorVerbs = map[string]verb{
		"register":       {"FILE EVENTS", (*env).register},
		"modify":         {"FILE EVENTS", (*env).register},
		"unregister":     {"FILE", (*env).unregister},
		"select":         {"[TIMEOUT]", (*env).selectAll},
		"keys":           {"", (*env).listKeys},
		"wake":           {"", (*env).wakeAll},
		"close-selector": {"", (*env).closeSelectors},
		"after":          {"DELAY OPERATION [ARGUMENT...]", (*env).after},
	}
}

func (e *env) register(op operation) ([]result, error) {
	name := op.args[0]
	events, err := parseEvents(op.args[1])
	if err != nil {
		return nil, err
	}
	n := e.number(name)
	return e.forEach(func(inst *instance) result {
		change := inst.Register
		if op.verb == "modify" {
			change = inst.Modify
		}
		key, err := change(n, events, name)
		if err == nil {
			if key.FD != n || key.Events != events || key.Data != any(name) {
				return result{text: fmt.Sprintf("a wrong key: %+v", key)}
			}
			inst.mu.Lock()
			inst.keys[name] = key
			inst.mu.Unlock()
		}
		return result{text: errorText(err)}
	}), nil
}

func (e *env) unregister(op operation) ([]result, error) {
	name := op.args[0]
	n := e.number(name)
	return e.forEach(func(inst *instance) result {
		key, err := inst.Unregister(n)
		if err == nil {
			inst.mu.Lock()
			defer inst.mu.Unlock()
			if key != inst.keys[name] {
				return result{text: fmt.Sprintf("a wrong key: %+v", key)}
			}
			delete(inst.keys, name)
		}
		return result{text: errorText(err)}
	}), nil
}

// wakeAll calls Wake of every instance.
func (e *env) wakeAll(operation) ([]result, error) {
	return e.forEach(func(inst *instance) result {
		inst.mu.Lock()
		defer inst.mu.Unlock()
		inst.woken = true
		return result{text: errorText(inst.Wake())}
	}), nil
}

// closeSelectors calls Close of every instance.
func (e *env) closeSelectors(operation) ([]result, error) {
	return e.forEach(func(inst *instance) result { return result{text: errorText(inst.Close())} }), nil
}

// listKeys returns the interests of all keys, and checks Keys and Len.
func (e *env) listKeys(operation) ([]result, error) {
	return e.forEach(func(inst *instance) result { return inst.listKeys() }), nil
}

func (inst *instance) listKeys() result {
	list, last := report{}, -1
	for key := range inst.Keys() {
		name, _ := key.Data.(string)
		if key != inst.keys[name] || key.FD <= last {
			return result{text: fmt.Sprintf("a wrong key after descriptor %d: %+v", last, key)}
		}
		last = key.FD
		list[name] = key.Events
	}
	if inst.Len() != len(list) {
		return result{text: fmt.Sprintf("Len is %d, but there are %d keys", inst.Len(), len(list))}
	}
	return result{batch: list}
}

// after starts an operation in the background that runs after a delay. The next
// select waits until it is done.
func (e *env) after(op operation) ([]result, error) {
	delay, err := time.ParseDuration(op.args[0])
	if err != nil {
		return nil, err
	}
	op = operation{op.args[1], op.args[2:]}
	e.hadBackground = true
	e.background.Add(1)
	go func() {
		defer e.background.Done()
		time.Sleep(delay)
		results, err := e.do(op)
		for _, r := range results {
			if r.String() != "ok" {
				err = errors.Join(err, fmt.Errorf("%v, in the background: %v", op, r))
			}
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.backgroundErr = errors.Join(e.backgroundErr, err)
	}()
	return e.forAll(result{text: "ok"}), nil
}

// selectAll calls Select of all instances: in turn if they do not wait,
// otherwise all at the same time.
func (e *env) selectAll(op operation) ([]result, error) {
	var timeout time.Duration
	switch limit := op.arg(0, "0s"); limit {
	case "forever":
		timeout = -1
	default:
		var err error
		if timeout, err = time.ParseDuration(limit); err != nil {
			return nil, err
		}
	}
	if timeout == 0 && !e.hadBackground {
		return e.forEach(func(inst *instance) result {
			ready, err := inst.Select(0)
			return inst.toResult(ready, err, true)
		}), nil
	}

	results := make([]result, len(e.instances))
	errs := make([]error, len(e.instances))
	var wg sync.WaitGroup
	start, cpuBefore := time.Now(), fdtest.CPUTime()
	hangTimer := time.AfterFunc(max(timeout, 0)+fdtest.Timeout, func() {
		for _, inst := range e.instances {
			inst.Close()
		}
	})
	for i, inst := range e.instances {
		wg.Add(1)
		go func() {
			defer wg.Done()
			ready, err := inst.Select(timeout)
			took := time.Since(start)
			inst.mu.Lock()
			woken := inst.woken
			inst.mu.Unlock()
			switch {
			case timeout > 0 && took < timeout && len(ready) == 0 && err == nil && !woken:
				errs[i] = fmt.Errorf("%s: Select(%v) reported nothing after %v", inst.name, timeout, took)
			case timeout >= fdtest.Timeout && took > timeout/2:
				errs[i] = fmt.Errorf("%s: Select(%v) was not woken and took %v", inst.name, timeout, took)
			}
			e.background.Wait()
			results[i] = inst.toResult(ready, err, !e.hadBackground)
		}()
	}
	wg.Wait()
	e.hadBackground = false
	if !hangTimer.Stop() {
		return nil, errors.New("Select hangTimer")
	}
	// A wait that spins uses a whole processor.
	if took := time.Since(start); took > 100*time.Millisecond {
		if cpu := fdtest.CPUTime() - cpuBefore; cpu > took/2 {
			errs = append(errs, fmt.Errorf("a wait of %v used %v of processor time", took, cpu))
		}
	}
	return results, errors.Join(append(errs, e.backgroundErr)...)
}

// toResult converts what Select returned. With checkKeys the keys must be those
// that are registered.
func (inst *instance) toResult(ready []selectors.Ready, err error, checkKeys bool) result {
	inst.mu.Lock()
	defer inst.mu.Unlock()
	inst.woken = false
	if err != nil {
		return result{text: errorText(err)}
	}
	b := make(report, len(ready))
	for _, r := range ready {
		name, _ := r.Key.Data.(string)
		switch {
		case checkKeys && r.Key != inst.keys[name]:
			return result{text: fmt.Sprintf("a key that is not registered: %+v", r.Key)}
		case b[name] != 0:
			return result{text: fmt.Sprintf("two entries for %s: %v and %v", name, b[name], r.Events)}
		case r.Events == 0:
			return result{text: fmt.Sprintf("an entry without events for %s", name)}
		}
		b[name] = r.Events
	}
	// Other hints than those that Features promises are optional.
	return result{batch: b.reportable(inst.Features())}
}
