package forwardauth

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"sluice/internal/core/fault"
	"sluice/internal/traffic/middleware/spool"
	"sluice/internal/wire/httpmsg"
)

// unsettable are the fields of a message that no answer sets on another one.
var unsettable = httpmsg.HopByHop | httpmsg.SetOf(httpmsg.HdrContentLength, httpmsg.HdrHost, httpmsg.HdrExpect)

// admit lets the request pass, with what the answer sets on it.
func (g *guard) admit(x *httpmsg.Exchange, res *http.Response) (bool, error) {
	if g.answer >= 0 {
		if res.ContentLength > g.answer && res.Request.Method != http.MethodHead {
			return false, fault.New(fault.Unauthorized, "forwardAuth: the answer says it is larger than maxResponseBodySize", nil)
		}
		switch n, err := io.Copy(io.Discard, io.LimitReader(res.Body, g.answer+1)); {
		case err != nil:
			return false, failed(x, "reading the auth server's answer", err)
		case n > g.answer:
			return false, fault.New(fault.Unauthorized, "forwardAuth: the answer is larger than maxResponseBodySize", nil)
		}
	} else if res.ContentLength != 0 && res.ContentLength <= drained {
		// The head has decided. An error only costs the connection.
		_, _ = io.CopyN(io.Discard, res.Body, drained)
	}

	fields := &x.Req.Header
	g.sets.Remove(fields)
	if g.setsLike != nil {
		fields.DeleteFunc(0, func(f *httpmsg.Field) bool { return !unsettable.Has(f.ID) && g.like(f.Name) })
	}
	for _, name := range g.sets {
		name = http.CanonicalHeaderKey(name)
		add(fields, name, res.Header[name])
	}
	if g.setsLike != nil {
		for _, name := range slices.Sorted(maps.Keys(res.Header)) {
			if g.setsLike.MatchString(name) && !g.sets.Has(httpmsg.Text(name)) {
				add(fields, name, res.Header[name])
			}
		}
	}
	if g.user != "" {
		if user := res.Header.Get(g.user); user != "" {
			x.Facts.User = user
		}
	}
	if lines := res.Header["Set-Cookie"]; len(g.cookies) > 0 && len(lines) > 0 {
		x.OnCommit(&cookies{names: g.cookies, lines: lines})
	}
	return true, nil
}

// like reports whether a field of the client's could be taken for one that the answer may set.
func (g *guard) like(name httpmsg.View) bool {
	text := http.CanonicalHeaderKey(name.String())
	if g.setsLike.MatchString(text) {
		return true
	}
	// Some servers read an underscore as a hyphen.
	return strings.IndexByte(text, '_') >= 0 && g.setsLike.MatchString(http.CanonicalHeaderKey(strings.ReplaceAll(text, "_", "-")))
}

// add appends values of a name, which live as long as anybody looks at them.
func add(h *httpmsg.Header, name string, values []string) {
	id := httpmsg.IDOf(name)
	if unsettable.Has(id) || !httpmsg.IsToken(httpmsg.Text(name)) {
		return
	}
	for _, v := range values {
		if httpmsg.IsFieldValue(httpmsg.Text(v)) {
			h.Append(httpmsg.Field{Name: httpmsg.Text(name), Value: httpmsg.Text(v), ID: id})
		}
	}
}

// cookies puts cookies of the answer in the place of the server's. It implements httpmsg.Edit.
type cookies struct{ names, lines []string }

// EditResponse implements httpmsg.Edit.
func (c *cookies) EditResponse(x *httpmsg.Exchange) {
	h := &x.Res.Header
	h.DeleteFunc(0, func(f *httpmsg.Field) bool { return f.ID == httpmsg.HdrSetCookie && named(c.names, string(f.Value)) })
	for _, line := range c.lines {
		if named(c.names, line) {
			add(h, "Set-Cookie", []string{line})
		}
	}
}

// refuse makes the answer the response.
func (g *guard) refuse(x *httpmsg.Exchange, res *http.Response) error {
	if res.StatusCode < 200 || res.StatusCode > 999 {
		return fault.New(fault.Internal, "forwardAuth: the auth server answered with a status that is none", nil)
	}
	if res.StatusCode == http.StatusUnauthorized && g.signIn != "" {
		x.Respond(http.StatusFound, "text/plain; charset=utf-8", "Found")
		x.Res.Header.AddID(httpmsg.HdrLocation, httpmsg.Text(g.signIn))
		return nil
	}
	location := res.Header.Get("Location")
	if location != "" && !g.keepLocation {
		u, err := res.Location() // relative to the address that was asked
		if err != nil {
			return fault.New(fault.Internal, "forwardAuth: the auth server redirects to what is no URL", err)
		}
		location = u.String()
	}
	limits := spool.Limits{Max: largest, Budget: g.memory}
	if g.answer >= 0 {
		limits.Max = g.answer
	}
	body, whole, err := spool.Read(&download{src: res.Body}, res.ContentLength, limits)
	if err != nil {
		return failed(x, "reading the auth server's answer", err)
	}
	x.OnFinish(body)
	if !whole {
		return fault.New(fault.Unauthorized, "forwardAuth: the answer is larger than maxResponseBodySize", nil)
	}
	x.DropResponse()
	x.Res.Status, x.Res.Body, x.Res.ContentLength = res.StatusCode, body.Source(), body.Size()
	if x.Req.Method.Is("HEAD") && res.ContentLength > 0 {
		x.Res.ContentLength = res.ContentLength
	}
	named := connectionTokens(res.Header)
	for _, name := range slices.Sorted(maps.Keys(res.Header)) {
		if named[name] || name == "Trailers" {
			continue
		}
		if name == "Location" {
			if location != "" {
				add(&x.Res.Header, name, []string{location})
			}
			continue
		}
		add(&x.Res.Header, name, res.Header[name])
	}
	return nil
}

// connectionTokens are the fields that Connection names (RFC 9110 section 7.6.1).
func connectionTokens(h http.Header) map[string]bool {
	var out map[string]bool
	for _, line := range h["Connection"] {
		for token := range strings.SplitSeq(line, ",") {
			if out == nil {
				out = map[string]bool{}
			}
			out[http.CanonicalHeaderKey(trim(token))] = true
		}
	}
	return out
}

// download is the body of an answer as httpmsg has it.
type download struct {
	src io.Reader
	buf [8 << 10]byte
}

// Next implements httpmsg.Body.
func (d *download) Next() ([]byte, error) {
	for {
		n, err := d.src.Read(d.buf[:])
		if n > 0 {
			return d.buf[:n], nil // an error comes again
		}
		if err != nil {
			return nil, err
		}
	}
}

// Ready implements httpmsg.Body.
func (d *download) Ready() bool { return false }

// Trailer implements httpmsg.Body.
func (d *download) Trailer() *httpmsg.Header { return nil }

// Close implements httpmsg.Body.
func (d *download) Close() {}
