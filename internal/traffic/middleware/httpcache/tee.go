package httpcache

import (
	"io"

	"sluice/internal/wire/httpmsg"
)

// firstBytes is what is set aside for a body of unknown length.
const firstBytes = 4 << 10

// tee is a body on its way to a client, of which the store gets a copy once it is whole. It implements httpmsg.Body.
type tee struct {
	httpmsg.Body
	h      *handler
	q      *question
	r      *result // nil once it is settled what becomes of the copy
	length int64   // what the body is said to have, -1 if unknown
	copied []byte
}

func newTee(h *handler, q *question, r *result, body httpmsg.Body, length int64) *tee {
	t := &tee{Body: body, h: h, q: q, r: r, length: length}
	if length < 0 {
		length = firstBytes
	}
	if !t.grow(length) {
		t.give()
	}
	return t
}

// grow makes room for size bytes, all of which the entry takes from the budget.
func (t *tee) grow(size int64) bool {
	have := int64(cap(t.copied))
	if size <= have {
		return true
	}
	if !t.r.entry.take(t.h.budget, size-have) {
		return false
	}
	bigger := make([]byte, len(t.copied), size)
	copy(bigger, t.copied)
	t.copied = bigger
	return true
}

// Next implements httpmsg.Body.
func (t *tee) Next() ([]byte, error) {
	p, err := t.Body.Next()
	if t.r == nil {
		return p, err
	}
	switch {
	case err == io.EOF:
		t.whole()
	case err != nil:
		t.give()
	default:
		t.keep(p)
	}
	return p, err
}

// keep copies p: its memory is the body's, and used again.
func (t *tee) keep(p []byte) {
	size := int64(len(t.copied) + len(p))
	if size > t.h.maxEntry {
		t.h.passes.add(t.q.common)
		t.give()
		return
	}
	if size > int64(cap(t.copied)) && !t.grow(min(max(size, 2*int64(cap(t.copied))), t.h.maxEntry)) {
		t.give()
		return
	}
	t.copied = append(t.copied, p...)
}

// whole puts the copy into the store.
func (t *tee) whole() {
	r := t.r
	if t.Body.Trailer() != nil || t.length >= 0 && t.length != int64(len(t.copied)) {
		t.give()
		return
	}
	t.r = nil
	if unused := cap(t.copied) - len(t.copied); unused > len(t.copied)/8 {
		t.copied = append(make([]byte, 0, len(t.copied)), t.copied...)
	}
	r.entry.body = t.copied
	r.entry.release() // what the copy took; the store takes what the entry needs
	t.h.put(r.key, r.entry)
	t.h.land(t.q, r)
}

// give gives the copy up.
func (t *tee) give() {
	r := t.r
	t.r, t.copied = nil, nil
	r.entry.release()
	t.h.land(t.q, nil)
}

// Close implements httpmsg.Body.
func (t *tee) Close() {
	t.Body.Close()
	if t.r != nil {
		t.give()
	}
}
