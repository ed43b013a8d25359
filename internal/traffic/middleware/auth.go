package middleware

import (
	"bytes"
	"fmt"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// gate is what basicAuth and digestAuth have in common: how a user is admitted, and how others are turned away.
type gate struct {
	realm   string // quoted
	field   string // request header that gets the user's name, empty if none
	claimed Names  // the client's copies of it
	remove  bool   // drop Authorization before the server
	next    httpmsg.Handler
}

func checkGate(kind, realm, field string) diag.List {
	var l diag.List
	if !httpmsg.IsFieldValue(httpmsg.Text(strings.TrimSpace(realm))) {
		l.Add(Bad(kind+".realm", "the realm holds a control character", ""))
	}
	if field != "" && !Settable(field) {
		l.Add(Bad(kind+".headerField", fmt.Sprintf("%q is no name of a header that can be set", field), "a usual one is X-WebAuth-User"))
	}
	return l
}

func newGate(realm, field string, remove bool, next httpmsg.Handler) gate {
	if realm == "" {
		realm = dynamic.DefaultRealm
	}
	g := gate{realm: quoted(realm), field: field, remove: remove, next: next}
	if field != "" {
		g.claimed = Names{field}
	}
	return g
}

// quoted returns s as a quoted-string (RFC 9110 section 5.6.4).
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// credentials returns what stands behind the scheme in Authorization; nil where that is another scheme, or where there are several
// fields, of which the server might read another one than we do.
func (g *gate) credentials(x *httpmsg.Exchange, scheme string) []byte {
	h := &x.Req.Header
	at := h.IndexID(httpmsg.HdrAuthorization, 0)
	if at < 0 || h.IndexID(httpmsg.HdrAuthorization, at+1) >= 0 {
		return nil
	}
	v := h.At(at).Value
	if len(v) <= len(scheme) || v[len(scheme)] != ' ' || !v[:len(scheme)].EqualFold(scheme) {
		return nil
	}
	return bytes.TrimLeft(v[len(scheme):], " ")
}

// claim removes what the client says about the user, before anything is decided (FLD-08).
func (g *gate) claim(x *httpmsg.Exchange) {
	if g.claimed != nil {
		g.claimed.Remove(&x.Req.Header)
	}
}

// admit passes the request of a user on. name outlives the exchange.
func (g *gate) admit(x *httpmsg.Exchange, name string) error {
	x.Facts.User = name
	if g.remove {
		x.Req.Header.DelID(httpmsg.HdrAuthorization)
	}
	if g.field != "" {
		x.Req.Header.Add(g.field, name)
	}
	return g.next.Serve(x)
}

// turnAway is the answer to all who are not admitted. It is never changed.
var turnAway = func() *fault.Fault {
	f := fault.New(fault.Unauthorized, "the request has no valid credentials", nil)
	f.Body = "401 Unauthorized\n"
	return f
}()

// attempted keeps a name that was tried for the access log.
func attempted(x *httpmsg.Exchange, name []byte) {
	x.Facts.User = string(name[:min(len(name), 128)])
}

// Challenge says on a 401 how to authenticate (RFC 9110 section 11.6.1). It is registered with OnCommit by who refuses.
type Challenge struct{ value string }

// NewChallenge returns the challenge with a value such as Bearer.
func NewChallenge(value string) *Challenge { return &Challenge{value} }

// EditResponse adds the challenge. A page in place of the 401 keeps it as long as the status stays.
func (c *Challenge) EditResponse(x *httpmsg.Exchange) {
	if x.Res.Status == 401 {
		x.Res.Header.AddID(httpmsg.HdrWWWAuthenticate, httpmsg.Text(c.value))
	}
}
