package selectors

// entry is what the core knows of one descriptor. The zero entry is free.
type entry struct {
	key    *SelectorKey
	id     uint64 // fileID of the file, where the backend needs it to tell files apart
	gen    uint32 // which of all registrations this is; they are numbered
	slot   int32  // where the descriptor stands in its array, the backend's or the core's; -1: in none
	events Event  // key.Events, kept here to spare the hot path a cache miss
	state  state  // 0 for a plain registration that is working
	told   hints  // reported with nothing of the interest beside them
	//lint:ignore U1000 where there is a kqueue it is used
	mark uint8 // what else the backend has to remember
}

type state uint8

const (
	emulated state = 1 << iota // the kernel refused to watch it because it is always ready
	silent                     // reports nothing until it is modified: it has fired, or its descriptor is closed
	invalid                    // silent because its descriptor was closed
	muted                      // only hints are left to report, and they were reported
	hinted                     // told is not empty
	once                       // events has OneShot
)

// initial is the state of an entry that was just armed.
func initial(events Event) state {
	if events&OneShot != 0 {
		return once
	}
	return 0
}

type hints uint8 // an Event, cut to the bits of the hints

const pageSize = 128

// table finds entries by descriptor. Descriptors are small and dense, so it is
// an array; it is paged, so that one high number does not cost megabytes, and
// so that entries never move.
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

// put stores the entry of a descriptor and returns where it stands.
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

// free forgets an entry.
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
