package oidc

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/httpmsg"
)

const (
	// chunk is the longest value of one cookie, in bytes: browsers take 4096 with name and attributes.
	chunk = 3600
	// maxChunks is how many cookies a session may take. Together they stay below what servers accept as a head.
	maxChunks = 5
)

// jar writes and reads one kind of cookie, split where it is long. Immutable.
type jar struct {
	name     string
	path     string
	domain   string
	maxAge   int // seconds
	sameSite http.SameSite
	httpOnly bool
	secure   bool // also where the request was not encrypted
}

// sameSiteOf reads the option.
func sameSiteOf(text string) (http.SameSite, bool) {
	switch strings.ToLower(text) {
	case "lax", "":
		return http.SameSiteLaxMode, true
	case "strict":
		return http.SameSiteStrictMode, true
	case "none":
		return http.SameSiteNoneMode, true
	}
	return 0, false
}

// line is a Set-Cookie line; a negative age makes the browser forget the cookie.
func (j *jar) line(x *httpmsg.Exchange, name, value string, maxAge int) string {
	c := http.Cookie{Name: name, Value: value, Path: j.path, Domain: j.domain, MaxAge: maxAge, HttpOnly: j.httpOnly, SameSite: j.sameSite,
		Secure: j.secure || middleware.Scheme(x) == "https"}
	return c.String()
}

// write returns the lines that set the cookie to value, and that remove parts which an earlier, longer value left behind.
func (j *jar) write(x *httpmsg.Exchange, value string) ([]string, error) {
	n := (len(value) + chunk - 1) / chunk
	if n > maxChunks {
		return nil, fmt.Errorf("%d bytes do not fit into %d cookies", len(value), maxChunks)
	}
	var lines []string
	for i := range n {
		part := value[i*chunk : min((i+1)*chunk, len(value))]
		if i == 0 {
			part = strconv.Itoa(n) + "." + part
		}
		lines = append(lines, j.line(x, j.part(i), part, j.maxAge))
	}
	return append(lines, j.forget(x, n)...), nil
}

// read returns the value; ok is false where parts are missing.
func (j *jar) read(x *httpmsg.Exchange) (value string, ok bool) {
	var parts [maxChunks]httpmsg.View
	for name, v := range middleware.Cookies(&x.Req.Header) {
		// Of several cookies of one name browsers send that of the narrowest path first.
		if i := j.which(name); i >= 0 && parts[i] == nil {
			parts[i] = v
		}
	}
	count, first, ok := strings.Cut(string(parts[0]), ".")
	n, err := strconv.Atoi(count)
	if !ok || err != nil || n < 1 || n > maxChunks {
		return "", false
	}
	value = first
	for _, p := range parts[1:n] {
		if p == nil {
			return "", false
		}
		value += string(p)
	}
	return value, true
}

// forget returns the lines that remove the parts from number from on which the request has.
func (j *jar) forget(x *httpmsg.Exchange, from int) []string {
	var lines []string
	var seen []int
	for name := range middleware.Cookies(&x.Req.Header) {
		if i := j.which(name); i >= from && !slices.Contains(seen, i) {
			seen = append(seen, i)
			lines = append(lines, j.line(x, j.part(i), "", -1))
		}
	}
	return lines
}

// part is the name of the cookie with a part.
func (j *jar) part(i int) string {
	if i == 0 {
		return j.name
	}
	return j.name + "-" + strconv.Itoa(i)
}

// which returns what part a cookie of a name holds, -1 if none.
func (j *jar) which(name httpmsg.View) int {
	rest, ok := strings.CutPrefix(string(name), j.name)
	switch {
	case !ok:
		return -1
	case rest == "":
		return 0
	case len(rest) == 2 && rest[0] == '-' && '1' <= rest[1] && rest[1] < '0'+maxChunks:
		return int(rest[1] - '0')
	}
	return -1
}

// setCookies adds Set-Cookie lines to the response. It implements httpmsg.UpgradeEdit.
type setCookies []string

// EditResponse implements httpmsg.Edit.
func (s setCookies) EditResponse(x *httpmsg.Exchange) {
	for _, line := range s {
		x.Res.Header.AddID(httpmsg.HdrSetCookie, httpmsg.Text(line))
	}
}

// OnUpgrade implements httpmsg.UpgradeEdit.
func (s setCookies) OnUpgrade() bool { return true }

// withhold takes the cookies for which ours holds off the request: the server has no use for them, and some have no room.
func withhold(x *httpmsg.Exchange, ours func(name httpmsg.View) bool) {
	h := &x.Req.Header
	found := false
	for name := range middleware.Cookies(h) {
		if found = ours(name); found {
			break
		}
	}
	if !found {
		return
	}
	// All remaining ones in one field, as RFC 6265 section 5.4 has it.
	size, n := 0, 0
	each(h, func(pair httpmsg.View) { size += len(pair) + 2 })
	kept := x.Scratch(size)[:0]
	each(h, func(pair httpmsg.View) {
		name, _, _ := strings.Cut(string(pair), "=")
		if ours(httpmsg.View(strings.TrimRight(name, " \t"))) {
			return
		}
		if n++; n > 1 {
			kept = append(kept, "; "...)
		}
		kept = append(kept, pair...)
	})
	if n == 0 {
		h.DelID(httpmsg.HdrCookie)
		return
	}
	h.SetID(httpmsg.HdrCookie, kept)
}

// each calls f for each pair of the Cookie fields as it is written.
func each(h *httpmsg.Header, f func(pair httpmsg.View)) {
	for i := h.IndexID(httpmsg.HdrCookie, 0); i >= 0; i = h.IndexID(httpmsg.HdrCookie, i+1) {
		for pair := range strings.SplitSeq(string(h.At(i).Value), ";") {
			if pair = strings.Trim(pair, " \t"); pair != "" {
				f(httpmsg.View(pair))
			}
		}
	}
}
