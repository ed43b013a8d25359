package plan

import (
	"fmt"
	"slices"
	"strings"
)

// vertex is an element in the graph of references.
type vertex struct {
	kind string
	name Name
}

// loops tells which elements lead back to themselves. Two elements of one loop have the same number.
type loops struct {
	next func(vertex) []vertex
	// number is the loop of an element; those without have none.
	number map[vertex]int
}

// findLoops looks for loops in what can be reached from the given elements (Tarjan's strongly connected components).
func findLoops(from []vertex, next func(vertex) []vertex) loops {
	l := loops{next, map[vertex]int{}}
	t := walk{loops: &l, index: map[vertex]int{}, low: map[vertex]int{}}
	for _, v := range from {
		if t.index[v] == 0 {
			t.visit(v)
		}
	}
	return l
}

type walk struct {
	*loops
	index, low map[vertex]int
	stack      []vertex
}

func (t *walk) visit(v vertex) {
	t.index[v] = len(t.index) + 1
	t.low[v] = t.index[v]
	at := len(t.stack)
	t.stack = append(t.stack, v)
	itself := false
	for _, w := range t.next(v) {
		itself = itself || w == v
		if t.index[w] == 0 {
			t.visit(w)
			t.low[v] = min(t.low[v], t.low[w])
		} else if t.index[w] < done {
			t.low[v] = min(t.low[v], t.index[w])
		}
	}
	if t.low[v] < t.index[v] {
		return
	}
	component := t.stack[at:]
	if len(component) > 1 || itself {
		for _, w := range component {
			t.number[w] = t.index[v]
		}
	}
	for _, w := range component {
		t.index[w] += done
	}
	t.stack = t.stack[:at]
}

// done is added to the index of what belongs to no path any more.
const done = 1 << 40

// leadsBack reports whether the reference of v to w is a part of a loop.
func (l *loops) leadsBack(v, w vertex) bool {
	if len(l.number) == 0 {
		return false
	}
	n := l.number[v]
	return n != 0 && n == l.number[w]
}

// maxWay bounds the elements that are visited to word a loop, and that are named.
const maxWay = 1000

// way words the shortest way from w to v and back to w.
func (l *loops) way(v, w vertex) string {
	came := map[vertex]vertex{}
	for queue := []vertex{w}; len(queue) > 0 && queue[0] != v && len(came) < maxWay; queue = queue[1:] {
		for _, x := range l.next(queue[0]) {
			if _, seen := came[x]; !seen && x != w && l.number[x] == l.number[w] {
				came[x] = queue[0]
				queue = append(queue, x)
			}
		}
	}
	path := []string{w.name.String()}
	for x, ok := v, true; x != w; {
		path = append(path, x.name.String())
		if x, ok = came[x]; !ok {
			path = append(path, "...")
			break
		}
	}
	path = append(path, w.name.String())
	slices.Reverse(path)
	_, word, _ := strings.Cut(strings.TrimSuffix(w.kind, "s"), ".")
	return fmt.Sprintf("the %s %q refers to itself: %s", word, w.name, strings.Join(path, " -> "))
}
