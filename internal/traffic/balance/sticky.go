package balance

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"sluice/internal/wire/httpmsg"
)

// CookieOptions are the options of a sticky cookie.
type CookieOptions struct {
	// Name as configured; empty derives it from the service's name.
	Name string
	// Secure and HTTPOnly set the attributes of that name.
	Secure, HTTPOnly bool
	// SameSite is none, lax or strict in any case; empty sends no attribute.
	SameSite string
	// MaxAge in seconds; 0 is a session cookie, negative asks the browser to forget it at once.
	MaxAge int
	// Path of the cookie; empty is "/".
	Path string
	// Domain of the cookie; empty sends no attribute.
	Domain string
}

// Validate reports what is wrong with the options, nil if nothing is.
func (o *CookieOptions) Validate() error {
	if _, err := sameSite(o.SameSite); err != nil {
		return err
	}
	return nil
}

func sameSite(s string) (http.SameSite, error) {
	switch strings.ToLower(s) {
	case "":
		return 0, nil
	case "none":
		return http.SameSiteNoneMode, nil
	case "lax":
		return http.SameSiteLaxMode, nil
	case "strict":
		return http.SameSiteStrictMode, nil
	}
	return 0, fmt.Errorf("sameSite %q is none of none, lax, strict", s)
}

// CookieName is the name of the sticky cookie of a service: given, with every byte that a cookie name cannot have replaced
// by '_', or if that is empty, '_' and the first five hexadecimal digits of a sum over the qualified service name.
func CookieName(given, service string) string {
	if given != "" {
		clean := []byte(given)
		for i, c := range clean {
			alnum := c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
			if !alnum && strings.IndexByte("!#$%&'*+-.^`|~", c) < 0 {
				clean[i] = '_'
			}
		}
		return string(clean)
	}
	// The constant is what existing cookies were derived from: clients keep their server through a migration.
	sum := sha1.Sum([]byte("_TRAEFIK_BACKEND_" + service))
	return "_" + hex.EncodeToString(sum[:])[:5]
}

// Sticky brings a client back to the endpoint that its cookie names. Update follows the endpoints of the picker beside it.
// Safe for concurrent use.
type Sticky struct {
	name     string
	template http.Cookie
	table    atomic.Pointer[sticks]
}

// sticks finds endpoints by cookie value and by key.
type sticks struct{ byValue, byKey map[string]*stick }

// stick is one endpoint as seen by cookies. It is the edit that sets the cookie, built once so that a request that needs
// it allocates nothing.
type stick struct {
	e      *Endpoint
	cookie string
	// current is the value in the form we write; another one found in a cookie is an old form.
	current string
}

// NewSticky returns the cookie of service (its qualified name). Options must be valid.
func NewSticky(o CookieOptions, service string) *Sticky {
	site, _ := sameSite(o.SameSite)
	path := o.Path
	if path == "" {
		path = "/"
	}
	name := CookieName(o.Name, service)
	s := &Sticky{name: name, template: http.Cookie{
		Name: name, Path: path, Domain: o.Domain, MaxAge: o.MaxAge, Secure: o.Secure, HttpOnly: o.HTTPOnly, SameSite: site,
	}}
	s.table.Store(&sticks{})
	return s
}

// Name returns the cookie's name.
func (s *Sticky) Name() string { return s.name }

// Update replaces the endpoints.
func (s *Sticky) Update(endpoints []*Endpoint) {
	t := &sticks{byValue: make(map[string]*stick, 4*len(endpoints)), byKey: make(map[string]*stick, len(endpoints))}
	for _, e := range endpoints {
		sum := sha256.Sum256([]byte(e.Key))
		st := &stick{e: e, current: hex.EncodeToString(sum[:])[:16]}
		c := s.template
		c.Value = st.current
		st.cookie = c.String()
		t.byKey[e.Key] = st
		old := fnv1(e.Key)
		t.byValue[e.Key], t.byValue[old], t.byValue[fnv1(old)] = st, st, st
	}
	// Current values come last, so that no old form shadows one.
	for _, st := range t.byKey {
		t.byValue[st.current] = st
	}
	s.table.Store(t)
}

func fnv1(s string) string {
	h := fnv.New64()
	h.Write([]byte(s))
	return strconv.FormatUint(h.Sum64(), 16)
}

// Lookup returns the endpoint that the request's cookie names, or nil if there is no cookie, nothing is known under its
// value, or that endpoint is down. stale tells that the value is of an old form, so that the cookie is to be set
// anew.
func (s *Sticky) Lookup(x *httpmsg.Exchange) (e *Endpoint, stale bool) {
	h := &x.Req.Header
	for i := h.IndexID(httpmsg.HdrCookie, 0); i >= 0; i = h.IndexID(httpmsg.HdrCookie, i+1) {
		for rest := []byte(h.At(i).Value); len(rest) > 0; {
			var pair []byte
			pair, rest, _ = bytes.Cut(rest, semicolon)
			name, value, ok := bytes.Cut(bytes.Trim(pair, " \t"), equals)
			if !ok || string(name) != s.name {
				continue
			}
			if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
				value = value[1 : len(value)-1]
			}
			// As the first cookie of a name counts everywhere else, so here.
			st := s.table.Load().byValue[string(value)]
			if st == nil || !st.e.Up() {
				return nil, false
			}
			return st.e, st.current != string(value)
		}
	}
	return nil, false
}

var semicolon, equals = []byte{';'}, []byte{'='}

// Stick sets the cookie for e when the response is committed.
func (s *Sticky) Stick(x *httpmsg.Exchange, e *Endpoint) {
	if st := s.table.Load().byKey[e.Key]; st != nil {
		x.OnCommit(st)
	}
}

// EditResponse adds the Set-Cookie field.
func (st *stick) EditResponse(x *httpmsg.Exchange) {
	x.Res.Header.AddID(httpmsg.HdrSetCookie, httpmsg.Text(st.cookie))
}

// OnUpgrade asks that the cookie is set on a 101 too: a WebSocket client sticks like any other.
func (st *stick) OnUpgrade() bool { return true }
