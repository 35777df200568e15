package selectors

// SelectSelector is a [Selector] on select(2). Every wait passes three sets of
// descriptors to the kernel: on Unix bitmaps as long as the highest descriptor,
// on Windows lists of sockets. A waiting Select blocks a thread. On Linux and
// Windows the sets grow as needed; elsewhere Register refuses descriptors that
// do not fit an fd_set, with [ErrFDTooLarge].
//
// select does not report hang-ups and errors as such: they make a descriptor
// readable, writable or both, without the hints.
type SelectSelector struct {
	core
	fdsets selectBackend
}

// NewSelectSelector returns a selector on select(2). Where there is none, the
// error is [errors.ErrUnsupported]. Options for epoll have no effect.
func NewSelectSelector(opts ...Option) (*SelectSelector, error) {
	s := &SelectSelector{}
	if err := s.fdsets.open(&s.core.table); err != nil {
		return nil, &Error{Op: "new", Backend: "select", FD: -1, Err: err}
	}
	s.core.init(s, "select", &s.fdsets, selectTraits)
	return s, nil
}
