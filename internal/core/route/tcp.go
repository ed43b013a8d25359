package route

// TCPTable holds the TCP routers that compete for connections: the plain or the TLS ones of an entry point. It is
// immutable.
type TCPTable struct {
	t table
	// catchAll tells for each entry of the list whether its rule is only HostSNI(`*`).
	catchAll []bool
}

// CompileTCP is CompileHTTP for rules of the TCP layer.
func CompileTCP(prev *TCPTable, entries []Entry) *TCPTable {
	out := &TCPTable{catchAll: make([]bool, len(entries))}
	for i, e := range entries {
		out.catchAll[i] = e.Rule.IsCatchAllSNI()
	}
	if prev == nil {
		out.t = *compile(nil, entries)
	} else {
		out.t = *compile(&prev.t, entries)
	}
	return out
}

// Len returns the number of entries; a nil table has none.
func (t *TCPTable) Len() int {
	if t == nil {
		return 0
	}
	return len(t.t.sorted)
}

// Lookup returns the index, in the list that the table was compiled from, of the entry that takes c; false if none does
// or the table is nil.
func (t *TCPTable) Lookup(c *Conn) (int, bool) {
	if t == nil {
		return 0, false
	}
	v := c.view()
	return t.t.lookup(&v)
}

// Scan is Lookup without the index: slow, and obviously right.
func (t *TCPTable) Scan(c *Conn) (int, bool) {
	if t == nil {
		return 0, false
	}
	v := c.view()
	return t.t.scan(&v)
}

// Explain tells for each entry, in order of precedence, whether it would take c.
func (t *TCPTable) Explain(c *Conn) []Verdict {
	if t == nil {
		return nil
	}
	v := c.view()
	return t.t.explain(&v)
}
