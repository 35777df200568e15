package eventloop

import "goselectors/selectors"

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
	return l.setFile("register", l.sel.Register, fileobj, events, callback)
}

// Modify changes the interest and the callback of a registered file.
func (l *Loop) Modify(fileobj any, events selectors.Event, callback Callback) (*selectors.SelectorKey, error) {
	return l.setFile("modify", l.sel.Modify, fileobj, events, callback)
}

// Replace is Modify if the file is registered, and Register otherwise, as
// asyncio's add_reader does.
func (l *Loop) Replace(fileobj any, events selectors.Event, callback Callback) (*selectors.SelectorKey, error) {
	set := l.sel.Register
	if _, err := l.sel.Key(fileobj); err == nil {
		set = l.sel.Modify
	}
	return l.setFile("replace", set, fileobj, events, callback)
}

// setFile registers or modifies a file with set, a method of the selector.
func (l *Loop) setFile(op string, set func(any, selectors.Event, any) (*selectors.SelectorKey, error), fileobj any, events selectors.Event, callback Callback) (*selectors.SelectorKey, error) {
	if err := l.checkCall(op, callback == nil); err != nil {
		return nil, err
	}
	l.filesChanged = true
	if l.filesRegisteredAt == nil {
		return set(fileobj, events, callback)
	}
	oldKey, _ := l.sel.Key(fileobj)
	key, err := set(fileobj, events, callback)
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
