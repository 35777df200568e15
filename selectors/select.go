package selectors

// SelectSelector is a [Selector] on select(2). Every wait hands the kernel
// three sets of descriptors: on Unix bitmaps as long as the highest of them,
// on Windows, where they are sockets only, lists. A waiting Select blocks a
// thread. On Linux the bitmaps grow with need, and the lists do on Windows;
// elsewhere Register refuses descriptors that do not fit an fd_set, with
// [ErrFDTooLarge].
//
// select cannot tell hang-ups and errors: they show as readable, writable or
// both, without the hints.
type SelectSelector struct {
	core
	sel selectBackend
}

// NewSelectSelector returns a selector on select(2), where there is one;
// elsewhere it is [errors.ErrUnsupported]. Options that concern epoll only have
// no effect.
func NewSelectSelector(opts ...Option) (*SelectSelector, error) {
	s := &SelectSelector{}
	if err := s.sel.open(&s.core.table); err != nil {
		return nil, &Error{Op: "new", Backend: "select", FD: -1, Err: err}
	}
	s.core.init(s, "select", &s.sel, selectTraits)
	return s, nil
}
