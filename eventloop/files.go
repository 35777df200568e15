package eventloop

import "goselectors/selectors"

// Register has callback called whenever fileobj is ready for events: asyncio's
// add_reader and add_writer in one. What a file object and an interest are,
// modes included, is said at [selectors.Selector]; its errors come back as they
// are. A file that is registered already is [selectors.ErrRegistered]; see
// Replace.
//
// The callback is the key's data, so this is the same as registering it with
// the selector directly, but for checks and for what debugging wants to know.
//
// A file that is unregistered, modified or replaced by a callback is not called
// back any more for what was ready in the same turn. If it is still ready, the
// next turn tells.
func (l *Loop) Register(fileobj any, events selectors.Event, callback Callback) (*selectors.SelectorKey, error) {
	return l.set("register", l.sel.Register, fileobj, events, callback)
}

// Modify changes what a registered file is watched for, and its callback.
func (l *Loop) Modify(fileobj any, events selectors.Event, callback Callback) (*selectors.SelectorKey, error) {
	return l.set("modify", l.sel.Modify, fileobj, events, callback)
}

// Replace is Modify if the file is registered, and else Register: what
// asyncio's add_reader does.
func (l *Loop) Replace(fileobj any, events selectors.Event, callback Callback) (*selectors.SelectorKey, error) {
	set := l.sel.Register
	if _, err := l.sel.Key(fileobj); err == nil {
		set = l.sel.Modify
	}
	return l.set("replace", set, fileobj, events, callback)
}

func (l *Loop) set(op string, set func(any, selectors.Event, any) (*selectors.SelectorKey, error), fileobj any, events selectors.Event, callback Callback) (*selectors.SelectorKey, error) {
	if err := l.check(op, callback == nil); err != nil {
		return nil, err
	}
	l.changed = true
	if l.sites == nil {
		return set(fileobj, events, callback)
	}
	old, _ := l.sel.Key(fileobj)
	key, err := set(fileobj, events, callback)
	if err == nil {
		delete(l.sites, old)
		l.sites[key] = caller()
	}
	return key, err
}

// Unregister stops watching a file, given the file object or its number, and
// returns the key that was. It works after the file was closed, too.
func (l *Loop) Unregister(fileobj any) (*selectors.SelectorKey, error) {
	if err := l.check("unregister", false); err != nil {
		return nil, err
	}
	l.changed = true
	key, err := l.sel.Unregister(fileobj)
	if l.sites != nil {
		delete(l.sites, key)
	}
	return key, err
}
