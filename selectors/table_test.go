package selectors

import (
	"math"
	"slices"
	"testing"
)

func TestTable(t *testing.T) {
	var table table
	fds := []int{0, 1, pageSize - 1, pageSize, 5*pageSize + 3, 100_000}
	at := map[int]*entry{}
	for i, fd := range slices.Backward(fds) {
		if table.find(fd) != nil {
			t.Errorf("fd %d is found before put", fd)
		}
		at[fd] = table.put(fd, entry{key: &SelectorKey{FD: fd}, generation: uint32(i)})
	}
	if table.len != len(fds) {
		t.Errorf("len is %d, want %d", table.len, len(fds))
	}
	for _, fd := range fds {
		if e := table.find(fd); e != at[fd] || e.key.FD != fd {
			t.Errorf("fd %d is found at %p, want %p", fd, e, at[fd])
		}
	}
	for _, fd := range []int{-1, -2, math.MinInt, 2, pageSize + 1, 4 * pageSize, 100_001, math.MaxInt} {
		if e := table.find(fd); e != nil {
			t.Errorf("fd %d is found, but was not put", fd)
		}
	}
	pages := 0
	for _, page := range table.pages {
		if page != nil {
			pages++
		}
	}
	if pages != 4 {
		t.Errorf("there are %d pages, want 4", pages)
	}
	var order []int
	table.all(func(e *entry) { order = append(order, e.key.FD) })
	if !slices.Equal(order, fds) {
		t.Errorf("all visits %v, want %v", order, fds)
	}

	if again := table.put(pageSize, entry{key: &SelectorKey{FD: pageSize}}); again != at[pageSize] || table.len != len(fds) {
		t.Errorf("put again: at %p, want %p; len %d", again, at[pageSize], table.len)
	}
	table.free(at[pageSize])
	if table.find(pageSize) != nil || table.len != len(fds)-1 {
		t.Errorf("an entry is found after free; len is %d", table.len)
	}
}
