package oidc

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/secret"
	"sluice/internal/testkit"
	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/httpmsg"
)

func TestMain(m *testing.M) {
	httpmsg.SetPoison(true)
	testkit.Main(m)
}

func config(p *fakeProvider, change func(*dynamic.OIDC)) *dynamic.OIDC {
	c := &dynamic.OIDC{}
	c.SetDefaults()
	c.Issuer, c.RedirectURL, c.ClientID, c.ClientSecret = "https://issuer.test", "/callback", "client", secret.New("the client's secret")
	if p != nil {
		c.Issuer = p.URL
	}
	c.ClientConfig = &dynamic.IdentityClient{TimeoutSeconds: 2}
	if change != nil {
		change(c)
	}
	return c
}

// site is a guarded service.
type site struct {
	t     testing.TB
	guard *guard
	state *middleware.State
	mu    sync.Mutex
	calls int
	// What reached the service last.
	fields []string
	target string
}

func newSite(t testing.TB, c *dynamic.OIDC) *site {
	t.Helper()
	s := &site{t: t, state: &middleware.State{}}
	t.Cleanup(func() { s.state.Begin(); s.state.Sweep() })
	s.build(c)
	return s
}

// build puts a configuration in force.
func (s *site) build(c *dynamic.OIDC) {
	s.t.Helper()
	h, err := Kind().Build(&dynamic.Middleware{OIDC: c}, middleware.Env{Name: "login@file", Router: "r@file", State: s.state}, s)
	if err != nil {
		s.t.Fatal(err)
	}
	s.guard = h.(*guard)
}

// Serve is the service.
func (s *site) Serve(x *httpmsg.Exchange) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.fields, s.target = nil, x.Req.Path.String()
	for i := range x.Req.Header.Len() {
		f := x.Req.Header.At(i)
		s.fields = append(s.fields, f.Name.String()+": "+f.Value.String())
	}
	x.Respond(200, "text/plain", "service")
	return nil
}

// has returns the values of a field that the service got.
func (s *site) has(name string) []string {
	var out []string
	for _, f := range s.fields {
		if n, v, _ := strings.Cut(f, ": "); strings.EqualFold(n, name) {
			out = append(out, v)
		}
	}
	return out
}

// browser keeps cookies by name, as if for one host and path.
type browser struct {
	site    *site
	cookies map[string]string
	// last is how the last answer set cookies.
	last []string
}

func newBrowser(s *site) *browser { return &browser{site: s, cookies: map[string]string{}} }

// answer is what a browser got.
type answer struct {
	status   int
	location string
	header   http.Header
	user     string
	err      error
}

// do sends a request for a URL.
func (b *browser) do(method, at string, body string, fields ...string) answer {
	b.site.t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		b.site.t.Fatal(err)
	}
	x := &httpmsg.Exchange{}
	x.Req.Method, x.Req.Host, x.Req.TLS = httpmsg.Text(method), httpmsg.Text(u.Host), u.Scheme == "https"
	target := u.EscapedPath()
	if target == "" {
		target = "/"
	}
	if u.RawQuery != "" {
		target += "?" + u.RawQuery
	}
	if err := x.SetTarget(httpmsg.Text(target)); err != nil {
		b.site.t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		if strings.EqualFold(name, "upgrade") {
			x.Req.UpgradeTo = httpmsg.Text(value)
		}
		x.Req.Header.Add(name, value)
	}
	if body != "" {
		x.Req.Body, x.Req.ContentLength = &httpmsg.Bytes{Data: []byte(body)}, int64(len(body))
	}
	if len(b.cookies) > 0 {
		x.Req.Header.Add("Cookie", b.cookieLine())
	}
	err = b.site.guard.Serve(x)
	if err != nil {
		x.Fail(err)
	}
	x.RunEdits()
	a := answer{status: x.Res.Status, location: x.Res.Header.Get(httpmsg.HdrLocation).String(), header: http.Header{}, user: strings.Clone(x.Facts.User), err: err}
	for i := range x.Res.Header.Len() {
		a.header.Add(x.Res.Header.At(i).Name.String(), x.Res.Header.At(i).Value.String())
	}
	b.last = a.header["Set-Cookie"]
	for _, line := range b.last {
		c, err := http.ParseSetCookie(line)
		if err != nil {
			b.site.t.Fatalf("%q: %v", line, err)
		}
		if len(line) > 4096 {
			b.site.t.Errorf("the cookie %s has %d bytes", c.Name, len(line))
		}
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	x.Finish()
	return a
}

func (b *browser) cookieLine() string {
	var pairs []string
	for name, v := range b.cookies {
		pairs = append(pairs, name+"="+v)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "; ")
}

func (b *browser) get(at string, fields ...string) answer { return b.do("GET", at, "", fields...) }

// login goes to a URL through the provider, and returns the answer to the callback.
func (b *browser) login(p *fakeProvider, at string, change func(url.Values)) answer {
	b.site.t.Helper()
	a := b.get(at)
	if a.status != 302 {
		b.site.t.Fatalf("no login: %d, %v", a.status, a.err)
	}
	back := p.authorize(a.location, change)
	return b.get(back)
}
