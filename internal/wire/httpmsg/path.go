package httpmsg

// SetPath makes p the path of the request, as a handler wants it forwarded: escaped, without query. p is not copied and must
// stay as it is while the exchange lives (Scratch memory, a constant, configuration). A path that begins with no slash
// gets one, and what may not stand in a request line is percent-encoded, so that no path can end the line or begin a
// query (RFC 9112 section 3.2).
func (x *Exchange) SetPath(p View) {
	odd := 0
	for _, c := range p {
		if !inPath(c) {
			odd++
		}
	}
	rooted := len(p) > 0 && p[0] == '/'
	if odd == 0 && rooted {
		x.Req.Path = p
		return
	}
	const hex = "0123456789ABCDEF"
	out := x.Scratch(len(p) + 2*odd + 1)[:0]
	if !rooted {
		out = append(out, '/')
	}
	for _, c := range p {
		if inPath(c) {
			out = append(out, c)
		} else {
			out = append(out, '%', hex[c>>4], hex[c&15])
		}
	}
	x.Req.Path = out
}

// inPath reports whether c may stand raw in a path that we write.
func inPath(c byte) bool { return class[c]&inTarget != 0 && c < 0x80 && c != '?' && c != '\\' }
