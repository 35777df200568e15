package selectors

// An entry is what the core stores about one descriptor. The zero entry is free.
type entry struct {
	key           *SelectorKey
	fileID        uint64  // sys.FileID of the file, where the backend needs it to tell files apart
	generation    uint32  // number of the change that made or last modified the registration; see core
	slot          int32   // index of the descriptor in a list of the backend, or in core.alwaysReady; -1: in neither
	events        Event   // key.Events, kept here to save the hot path a cache miss
	state         state   // 0 for an ordinary, enabled registration
	reportedHints hintSet // hints that were reported without any event of the interest
	//lint:ignore U1000 used where there is a kqueue
	filters uint8 // for kqueue: the filters that are set and the kind of file
	//lint:ignore U1000 used where there is epoll
	nesting uint8 // for epoll: whether the file may be asked through the gate
}

// state is a set of flags. It is 0 in the common case.
type state uint8

const (
	alwaysReady   state = 1 << iota // the kernel refused to watch it because it is always ready
	disabled                        // reports nothing until it is modified: a one-shot that fired, or a closed descriptor
	invalid                         // disabled because its descriptor was closed
	muted                           // has only hints to report: the backend's mute was called
	checked                         // hints were reported; the next poll or sleep shows whether they last: see core.isNews
	hintsReported                   // reportedHints is not empty
	oneShot                         // events has OneShot
	edgeWatched                     // the kernel watches the file edge-triggered for everything, whatever the interest: see epoll.watchEdges
)

// Bits of entry.nesting: see epoll_nesting_linux.go.
//
//lint:ignore U1000 used where there is epoll
const (
	fileSafe         uint8 = 1 << iota // asking the file has no effect
	fileUnsafe                         // it makes a difference who asks the file
	fileTakesNews                      // asking the file may take its news away
	unclassified                       // neither is known yet; the descriptor is in epoll.unclassified
	pathLimited                        // the kernel refuses the registration in a nested set: see epoll.watch
	nestingForbidden                   // the registration keeps the set out of the gate
	missedNews                         // an event came while the key was disabled
)

// initialState returns the state of an entry that was just armed.
func initialState(events Event) state {
	if events&OneShot != 0 {
		return oneShot
	}
	return 0
}

// A hintSet is the low 8 bits of an Event that has only hints.
type hintSet uint8

const pageSize = 128

// A table finds entries by descriptor. Descriptors are small and dense, so it is
// an array. It is divided into pages, so that one high descriptor does not need a
// large array, and so that entries never move.
type table struct {
	pages []*[pageSize]entry
	len   int // entries in use
}

// find returns the entry of a registered descriptor, or nil.
func (t *table) find(fd int) *entry {
	if page := uint(fd) / pageSize; page < uint(len(t.pages)) && t.pages[page] != nil {
		if e := &t.pages[page][uint(fd)%pageSize]; e.key != nil {
			return e
		}
	}
	return nil
}

// put stores the entry of a descriptor and returns its address.
func (t *table) put(fd int, e entry) *entry {
	n := fd / pageSize
	for n >= len(t.pages) {
		t.pages = append(t.pages, nil)
	}
	if t.pages[n] == nil {
		t.pages[n] = new([pageSize]entry)
	}
	at := &t.pages[n][fd%pageSize]
	if at.key == nil {
		t.len++
	}
	*at = e
	return at
}

// free removes an entry.
func (t *table) free(e *entry) {
	*e = entry{}
	t.len--
}

// all calls f for every entry in use, by ascending descriptor.
func (t *table) all(f func(e *entry)) {
	for _, page := range t.pages {
		if page == nil {
			continue
		}
		for i := range page {
			if page[i].key != nil {
				f(&page[i])
			}
		}
	}
}
