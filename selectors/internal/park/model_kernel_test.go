package park_test

// The kernel's part of the model: fs/eventpoll.c and fs/timerfd.c of Linux 6.x. A
// system call is one step. An event is two: ep_poll_callback runs for the
// selector's set, and then for the sets around it.

// An item is a file in the selector's set, as a bit.
type item uint8

const (
	itemFile   item = 1 << iota // the user's, level-triggered
	itemOrphan                  // always ready; its registration cannot be deleted
	itemNews                    // level-triggered; tells its news only to the first who asks
	itemWaker                   // an eventfd, edge-triggered, which nobody reads
	itemTimer                   // a timerfd, edge-triggered

	levelTriggered = itemFile | itemOrphan | itemNews
	ofTheUser      = levelTriggered
)

type kernel struct {
	ready item // files that poll(2) would report
	inSet item // files in the selector's set
	onSet item // files on its ready list

	inGate     bool // the selector's set is in the gate
	gateMask   bool // its mask there has EPOLLIN: one-shot, cleared when it is reported
	onGate     bool // it is on the gate's ready list
	scanned    bool // it was on that list when the epoll_wait in progress began
	onRuntime  bool // the gate is on the ready list of the runtime's set
	rgReady    bool // pollDesc.rg is pdReady
	rd         uint8
	timerIsDue bool // the timerfd's time has passed, and its callback will run

	isClosed    bool // the descriptors are closed
	afterClosed bool // one was used then
	newsLost    bool // somebody else than epoll_wait on the set has got the news
}

// Values of kernel.rd, the read deadline of the gate's pollDesc.
const (
	rdNone uint8 = iota
	rdAhead
	rdPast
)

// use is called by every system call on a descriptor of the selector's.
func (k *kernel) use() { k.afterClosed = k.afterClosed || k.isClosed }

// isReady is ep_item_poll for the selector's set. It takes files off the ready list
// that are not ready (__ep_eventpoll_poll).
func (k *kernel) isReady() bool {
	k.onSet &= k.ready
	k.newsLost = k.newsLost || k.onSet&itemNews != 0
	return k.onSet != 0
}

// isGateReady is ep_item_poll for the gate. It takes the selector's set off the
// ready list if the set is not ready, or is not asked for.
func (k *kernel) isGateReady() bool {
	k.onGate = k.onGate && k.isReady() && k.gateMask // the files are asked whatever the mask
	return k.onGate
}

// waitSet is epoll_wait on the selector's set.
func (k *kernel) waitSet() (found item) {
	k.use()
	found = k.onSet & k.ready
	k.onSet = found & levelTriggered
	k.ready &^= found & itemNews
	return found
}

// beginWaitGate and waitGate are epoll_wait on the gate (ep_send_events): it takes
// the ready list away, asks the set, and clears the mask if it reports the set. An
// event that comes in between puts the set on the list again (ovflist).
func (k *kernel) beginWaitGate() {
	k.use()
	k.scanned, k.onGate = k.onGate, false
}

func (k *kernel) waitGate() bool {
	reported := k.scanned && k.isReady() && k.gateMask
	if reported {
		k.gateMask = false
	}
	k.scanned = false
	return reported
}

// ctlGate is EPOLL_CTL_ADD or EPOLL_CTL_MOD of the selector's set in the gate. A
// set that is ready and not on the gate's ready list gets there, and only then
// the runtime's set is notified (ep_insert, ep_modify).
func (k *kernel) ctlGate(mask bool) {
	k.use()
	k.inGate, k.gateMask = true, mask
	if k.isReady() && mask && !k.onGate {
		k.onGate, k.onRuntime = true, true
	}
}

// removeFromGate is EPOLL_CTL_DEL, or the end of the set.
func (k *kernel) removeFromGate() {
	k.use()
	k.inGate, k.gateMask, k.onGate, k.scanned = false, false, false, false
}

// addToSet is EPOLL_CTL_ADD of a file to the selector's set.
func (k *kernel) addToSet(i item) {
	k.use()
	k.inSet |= i
	k.onSet |= i & k.ready
}

// becomes makes a file ready and runs ep_poll_callback for the selector's set.
func (k *kernel) becomes(i item) {
	k.ready |= i
	k.onSet |= i & k.inSet
}

// notify is the step that follows: ep_poll_callback for the gate, and for the
// runtime's set, which watches the gate edge-triggered.
func (m *model) notify() step {
	return step{Name: "ep_poll_callback: the gate, if armed; the runtime's set",
		Private: func(*state) bool { return m.coarse },
		Do: func(s *state) {
			if s.inGate && s.gateMask {
				s.onGate, s.onRuntime = true, true
			}
		}}
}

// fileSteps: the user's file becomes ready, also if it is ready already.
func (m *model) fileSteps(func(*state) *uint8) []step {
	return []step{
		{Name: "the file becomes ready", Optional: true, Do: func(s *state) { s.becomes(itemFile) }},
		m.notify(),
	}
}

// newsSteps: the file that tells its news once gets some.
func (m *model) newsSteps(func(*state) *uint8) []step {
	return []step{
		{Name: "there is news", Optional: true,
			When: func(s *state) bool { return s.inSet&itemNews != 0 },
			Do:   func(s *state) { s.becomes(itemNews) }},
		m.notify(),
	}
}

// orphanSteps: a registration of the user's becomes an orphan that is ready, and at
// some time it is not ready any more.
func (m *model) orphanSteps(func(*state) *uint8) []step {
	return []step{
		{Name: "a registration becomes an orphan", Optional: true,
			When: func(s *state) bool { return s.inSet&itemOrphan == 0 && !s.mu && !s.isClosed },
			Do:   func(s *state) { s.inSet |= itemOrphan; s.becomes(itemOrphan) }},
		m.notify(),
		{Name: "the orphan is not ready any more", Optional: true, Do: func(s *state) { s.ready &^= itemOrphan }},
	}
}

// timerSteps: the timerfd goes off.
func (m *model) timerSteps(func(*state) *uint8) []step {
	return []step{
		{Name: "timerfd_triggered",
			When: func(s *state) bool { return s.timerIsDue },
			Do:   func(s *state) { s.timerIsDue = false; s.becomes(itemTimer) }},
		m.notify(),
	}
}

// resetTimer is timerfd_settime with a time that lies ahead.
func (k *kernel) resetTimer() {
	k.use()
	k.timerIsDue = false
	k.ready &^= itemTimer
}

// timeSteps: time passes, as far as somebody waits for it.
func (m *model) timeSteps(func(*state) *uint8) []step {
	return []step{
		{Name: "time passes", Optional: true,
			When: func(s *state) bool {
				return s.timer != timerPassed || s.limit == limitAhead || s.finite && !s.timeUp || s.retry
			},
			Do: func(s *state) {
				switch {
				case s.retry:
					s.retry = false
				case s.limit == limitAhead && m.either():
					s.limit = limitPassed
				case s.timer == timerInTime || s.timer == timerTooLate && s.timeUp:
					s.timer, s.timerIsDue = timerPassed, true
				case s.finite:
					s.timeUp = true
				}
			}},
	}
}

// runtimeSteps: some thread of the runtime polls the network (netpoll).
func (m *model) runtimeSteps() []step {
	return []step{
		{Name: "netpoll: epoll_wait",
			When: func(s *state) bool { return s.onRuntime },
			Do: func(s *state) {
				s.onRuntime = false // edge-triggered
				if !s.isGateReady() {
					s.runtimePC = 0
				}
			}},
		{Name: "netpollready: rg=pdReady", Do: func(s *state) { s.rgReady = true }},
	}
}

// deadlineSteps: the runtime's timer for the read deadline of the gate's file.
func (m *model) deadlineSteps(func(*state) *uint8) []step {
	return []step{
		{Name: "netpollReadDeadline: rd=-1",
			When: func(s *state) bool { return s.rd == rdAhead && s.limit != limitAhead },
			Do:   func(s *state) { s.rd = rdPast }},
	}
}
