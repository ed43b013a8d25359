package httpmsg

// Mark remembers the request as it was, for handlers that may send it more than once. Marks nest; one is good until its
// exchange ends.
type Mark struct {
	req      Request
	from, to int // its fields in Exchange.saved
	edits    int
	filters  int
	finish   int
	held     int
}

// Mark takes the mark. The list of fields is kept in memory of the exchange, so it costs no allocation once that has grown.
func (x *Exchange) Mark() Mark {
	from := len(x.saved)
	x.saved = append(x.saved, x.Req.Header.fields...)
	return Mark{req: x.Req, from: from, to: len(x.saved), edits: len(x.edits), filters: len(x.filters),
		finish: len(x.finish), held: x.held}
}

// Rewind undoes what an attempt did to the exchange since the mark: request edits, the response, registered edits and
// filters, holds of 1xx. The request body is rewound only if it is a *Bytes; whoever repeats a request must have put one
// there, or know that nothing was read. OnFinish hooks registered since the mark are run now, with the response already
// gone. Facts and CloseAfter stay: what the attempt learned is true.
func (x *Exchange) Rewind(m *Mark) {
	x.DropResponse()
	for i := len(x.finish) - 1; i >= m.finish; i-- {
		x.finish[i].Finish(x)
	}
	clear(x.finish[m.finish:])
	x.finish = x.finish[:m.finish]
	clear(x.edits[m.edits:])
	x.edits = x.edits[:m.edits]
	for _, f := range x.filters[m.filters:] {
		f.Close()
	}
	clear(x.filters[m.filters:])
	x.filters = x.filters[:m.filters]
	x.held = m.held
	x.RewindRequest(m)
}

// RewindRequest undoes what happened to the request since the mark and leaves the response alone.
func (x *Exchange) RewindRequest(m *Mark) {
	fields := x.Req.Header.fields
	clear(fields)
	x.Req = m.req
	x.Req.Header.fields = append(fields[:0], x.saved[m.from:m.to]...)
	if b, ok := x.Req.Body.(*Bytes); ok {
		b.Rewind()
	}
}
