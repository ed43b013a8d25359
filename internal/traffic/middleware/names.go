package middleware

import (
	"sluice/internal/wire/httpmsg"
)

// Names are names of header fields, compared as the most careless servers compare them: without case, and with '_' taken
// for '-'. A middleware that sets a field removes the client's copies with them first (FLD-03, FLD-08).
type Names []string

// Has reports whether name is one of the names in any spelling.
func (n Names) Has(name httpmsg.View) bool {
	for _, own := range n {
		if sameName(name, own) {
			return true
		}
	}
	return false
}

// Remove deletes all fields with one of the names.
func (n Names) Remove(h *httpmsg.Header) {
	for i := range h.Len() {
		if n.Has(h.At(i).Name) {
			h.DeleteFunc(i, func(f *httpmsg.Field) bool { return n.Has(f.Name) })
			return
		}
	}
}

func sameName(a httpmsg.View, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(b) {
		if foldByte(a[i]) != foldByte(b[i]) {
			return false
		}
	}
	return true
}

func foldByte(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c | 0x20
	case c == '_':
		return '-'
	}
	return c
}

// framing are the fields that describe the message and the connection. They are written from the parsed form (INV-1), so
// no middleware sets them.
var framing = httpmsg.HopByHop | httpmsg.SetOf(httpmsg.HdrContentLength, httpmsg.HdrHost, httpmsg.HdrExpect)

// Settable reports whether a middleware may set a field called name.
func Settable(name string) bool {
	return httpmsg.IsToken(httpmsg.Text(name)) && !framing.Has(httpmsg.IDOf(name))
}
