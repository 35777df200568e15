package eventloop

import (
	"errors"

	"goselectors/selectors"
)

// Register makes the loop call callback whenever fileobj is ready for events. One
// callback serves all of them; AddReader and AddWriter are for readers and writers
// that know nothing of each other. See [selectors.Selector] for file objects,
// interests and modes. Errors of the selector are returned unchanged; a file that
// is already registered is [selectors.ErrRegistered] (see Replace).
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
	return l.register(fileobj, events, callback)
}

// RegisterHandler is Register for a FileHandler.
func (l *Loop) RegisterHandler(fileobj any, events selectors.Event, h FileHandler) (*selectors.SelectorKey, error) {
	if err := l.checkCall("register", isNil(h)); err != nil {
		return nil, err
	}
	return l.register(fileobj, events, h)
}

// Modify changes the interest and the callback of a registered file.
func (l *Loop) Modify(fileobj any, events selectors.Event, callback Callback) (*selectors.SelectorKey, error) {
	if err := l.checkCall("modify", callback == nil); err != nil {
		return nil, err
	}
	return l.modify("modify", fileobj, events, callback)
}

// ModifyHandler is Modify for a FileHandler.
func (l *Loop) ModifyHandler(fileobj any, events selectors.Event, h FileHandler) (*selectors.SelectorKey, error) {
	if err := l.checkCall("modify", isNil(h)); err != nil {
		return nil, err
	}
	return l.modify("modify", fileobj, events, h)
}

// Replace is Modify if the file is registered, and Register otherwise. It
// recognises a number that has come back as that of another file, as Register does.
func (l *Loop) Replace(fileobj any, events selectors.Event, callback Callback) (*selectors.SelectorKey, error) {
	if err := l.checkCall("replace", callback == nil); err != nil {
		return nil, err
	}
	if key, err := l.register(fileobj, events, callback); !errors.Is(err, selectors.ErrRegistered) {
		return key, err
	}
	return l.modify("replace", fileobj, events, callback)
}

// register registers a file. data is a Callback or a FileHandler.
func (l *Loop) register(fileobj any, events selectors.Event, data any) (*selectors.SelectorKey, error) {
	l.releaseIdleKey()
	return l.setFile(l.sel.Register, fileobj, events, data)
}

// modify modifies a file that register has registered.
func (l *Loop) modify(op string, fileobj any, events selectors.Event, data any) (*selectors.SelectorKey, error) {
	l.releaseIdleKey()
	if l.watchersOf(fileobj) != nil {
		return nil, opError(op, selectors.ErrRegistered)
	}
	return l.setFile(l.sel.Modify, fileobj, events, data)
}

// setFile registers or modifies a file with set, a method of the selector.
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

// Unregister stops watching a file and returns its last key. It removes readers,
// writers and waiters of the file, too. The argument is the file object or its
// descriptor's number. It also works after the file was closed.
func (l *Loop) Unregister(fileobj any) (*selectors.SelectorKey, error) {
	if err := l.checkCall("unregister", false); err != nil {
		return nil, err
	}
	l.releaseIdleKey()
	l.filesChanged = true
	key, err := l.sel.Unregister(fileobj)
	if l.filesRegisteredAt != nil {
		delete(l.filesRegisteredAt, key)
	}
	return key, err
}
