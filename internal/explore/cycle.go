package explore

// A cycle without progress is looked for among the steps that are neither optional
// nor progress. A set of states that can all be reached from one another by such
// steps is a violation, unless the scheduler would have to neglect a process for
// ever: one that can always go on in these states, and never does.

// findCycle returns a state and a cycle from it to itself, or nil. Of all cycles
// it returns the one with the shortest way to it.
//
//go:norace
func (x *explorer[S]) findCycle() (int32, []int32) {
	component, count := x.components()
	everywhere := make([]uint32, count) // the processes that can always go on in a component
	moving := make([]uint32, count)     // those that do, and stay in the component
	for i := range everywhere {
		everywhere[i] = 1<<32 - 1
	}
	for at := range x.count {
		c := component[at]
		everywhere[c] &= x.node(at).enabled
		first, end := x.edgesOf(at)
		for _, e := range x.edges[first:end] {
			if component[e.to] == c {
				moving[c] |= 1 << e.process
			}
		}
	}
	for at := range x.count { // in the order of the distance from the first state
		if c := component[at]; moving[c] != 0 && everywhere[c]&^moving[c] == 0 {
			return at, x.cycleFrom(at, component)
		}
	}
	return 0, nil
}

// components numbers the strongly connected components of the graph of the edges
// (Tarjan's algorithm, without recursion). It returns the number of each node's
// component, and how many there are.
//
//go:norace
func (x *explorer[S]) components() (component []int32, count int32) {
	component = make([]int32, x.count)
	order, low := make([]int32, x.count), make([]int32, x.count)
	for i := range component {
		component[i] = -1
	}
	type call struct{ at, next, end int32 }
	var stack []int32
	var calls []call
	entered := int32(0)
	enter := func(at int32) {
		entered++
		order[at], low[at] = entered, entered
		first, end := x.edgesOf(at)
		stack, calls = append(stack, at), append(calls, call{at, first, end})
	}
	for root := range x.count {
		if order[root] != 0 {
			continue
		}
		enter(root)
		for len(calls) > 0 {
			current := &calls[len(calls)-1]
			at := current.at
			if current.next < current.end {
				to := x.edges[current.next].to
				current.next++
				switch {
				case order[to] == 0:
					enter(to)
				case component[to] < 0:
					low[at] = min(low[at], order[to])
				}
				continue
			}
			calls = calls[:len(calls)-1]
			if len(calls) > 0 {
				caller := calls[len(calls)-1].at
				low[caller] = min(low[caller], low[at])
			}
			if low[at] == order[at] {
				for component[at] < 0 {
					last := stack[len(stack)-1]
					stack = stack[:len(stack)-1]
					component[last] = count
				}
				count++
			}
		}
	}
	return component, count
}

// cycleFrom returns the shortest cycle from a state to itself.
func (x *explorer[S]) cycleFrom(begin int32, component []int32) []int32 {
	from := map[int32]int32{}
	for queue := []int32{begin}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		first, end := x.edgesOf(at)
		for _, e := range x.edges[first:end] {
			if component[e.to] != component[begin] {
				continue
			}
			if _, known := from[e.to]; !known {
				from[e.to] = at
				queue = append(queue, e.to)
			}
			if e.to != begin {
				continue
			}
			cycle := []int32{begin}
			for at := from[begin]; ; at = from[at] {
				cycle = append([]int32{at}, cycle...)
				if at == begin {
					return cycle
				}
			}
		}
	}
	panic("explore: a component without a cycle")
}
