package route

// HTTPTable holds the HTTP routers that compete for requests: those of one entry point and one TLS side, or the children
// of a router. It is immutable.
type HTTPTable struct{ t table }

// CompileHTTP compiles entries, whose rules are of the HTTP layer, in any order (sorted by descending priority and
// ascending tie is fastest). With a previous table only what differs is compiled; a table serves equally well whatever it
// was compiled from. prev may be nil.
func CompileHTTP(prev *HTTPTable, entries []Entry) *HTTPTable {
	if prev == nil {
		return &HTTPTable{*compile(nil, entries)}
	}
	return &HTTPTable{*compile(&prev.t, entries)}
}

// Len returns the number of entries.
func (t *HTTPTable) Len() int { return len(t.t.sorted) }

// Lookup returns the index, in the list that the table was compiled from, of the entry that takes r; false if none does.
func (t *HTTPTable) Lookup(r *Request) (int, bool) {
	v := r.view()
	return t.t.lookup(&v)
}

// Scan is Lookup without the index: slow, and obviously right.
func (t *HTTPTable) Scan(r *Request) (int, bool) {
	v := r.view()
	return t.t.scan(&v)
}

// Explain tells for each entry, in order of precedence, whether it would take r. The first that would is Lookup's answer.
func (t *HTTPTable) Explain(r *Request) []Verdict {
	v := r.view()
	return t.t.explain(&v)
}
