package eventloop

import (
	"reflect"

	"goselectors/selectors"
)

// Register makes the loop call callback whenever fileobj is ready for events.
// It is asyncio's add_reader and add_writer in one. See [selectors.Selector]
// for file objects, interests and modes. Errors of the selector are returned
// unchanged; a file that is already registered is [selectors.ErrRegistered]
// (see Replace).
//
// The callback becomes the key's data. Registering it directly with the
// selector is equivalent, except for the checks and the debug information.
//
// If a callback unregisters, modifies or replaces a file, the pending callback
// of that file in the same turn is not called. A file that is still ready is
// reported in the next turn.
func (l *Loop) Register(fileobj any, events selectors.Event, callback Callback) (*selectors.SelectorKey, error) {
	if err := l.checkCall("register", callback == nil); err != nil {
		return nil, err
	}
	return l.setFile(l.sel.Register, fileobj, events, callback)
}

// RegisterHandler is Register for a FileHandler.
func (l *Loop) RegisterHandler(fileobj any, events selectors.Event, h FileHandler) (*selectors.SelectorKey, error) {
	if err := l.checkCall("register", isNil(h)); err != nil {
		return nil, err
	}
	return l.setFile(l.sel.Register, fileobj, events, h)
}

// Modify changes the interest and the callback of a registered file.
func (l *Loop) Modify(fileobj any, events selectors.Event, callback Callback) (*selectors.SelectorKey, error) {
	if err := l.checkCall("modify", callback == nil); err != nil {
		return nil, err
	}
	return l.setFile(l.sel.Modify, fileobj, events, callback)
}

// ModifyHandler is Modify for a FileHandler.
func (l *Loop) ModifyHandler(fileobj any, events selectors.Event, h FileHandler) (*selectors.SelectorKey, error) {
	if err := l.checkCall("modify", isNil(h)); err != nil {
		return nil, err
	}
	return l.setFile(l.sel.Modify, fileobj, events, h)
}

// Replace is Modify if the file is registered, and Register otherwise, as
// asyncio's add_reader does.
func (l *Loop) Replace(fileobj any, events selectors.Event, callback Callback) (*selectors.SelectorKey, error) {
	if err := l.checkCall("replace", callback == nil); err != nil {
		return nil, err
	}
	set := l.sel.Register
	if _, err := l.sel.Key(fileobj); err == nil {
		set = l.sel.Modify
	}
	return l.setFile(set, fileobj, events, callback)
}

// isNil reports whether h is nil or holds a nil pointer or function.
func isNil(h FileHandler) bool {
	switch v := reflect.ValueOf(h); v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Slice, reflect.Chan:
		return v.IsNil()
	}
	return false
}

// setFile registers or modifies a file with set, a method of the selector. data
// is a Callback or a FileHandler.
func (l *Loop) setFile(set func(any, selectors.Event, any) (*selectors.SelectorKey, error), fileobj any, events selectors.Event, data any) (*selectors.SelectorKey, error) {
	l.filesChanged = true
	if l.filesRegisteredAt == nil {
		return set(fileobj, events, data)
	}
	oldKey, _ := l.sel.Key(fileobj)
	key, err := set(fileobj, events, data)
	if err == nil {
		delete(l.filesRegisteredAt, oldKey)
		l.filesRegisteredAt[key] = callerPC()
	}
	return key, err
}

// Unregister stops watching a file and returns its last key. The argument is
// the file object or its descriptor's number. It also works after the file was
// closed.
func (l *Loop) Unregister(fileobj any) (*selectors.SelectorKey, error) {
	if err := l.checkCall("unregister", false); err != nil {
		return nil, err
	}
	l.filesChanged = true
	key, err := l.sel.Unregister(fileobj)
	if l.filesRegisteredAt != nil {
		delete(l.filesRegisteredAt, key)
	}
	return key, err
}
