package forwardauth

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/core/secret"
	"sluice/internal/testkit"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/trial"
	"sluice/internal/wire/httpmsg"
)

func TestMain(m *testing.M) {
	httpmsg.SetPoison(true)
	testkit.Main(m)
}

// authServer is a real server that remembers the last question.
type authServer struct {
	*httptest.Server
	asked *http.Request
	body  string
}

func newAuth(t testing.TB, answer http.HandlerFunc) *authServer {
	t.Helper()
	a := &authServer{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		a.asked, a.body = r, string(body)
		if answer != nil {
			answer(w, r)
		}
	}))
	t.Cleanup(a.Close)
	return a
}

func config(address string, change func(*dynamic.ForwardAuth)) *dynamic.ForwardAuth {
	c := &dynamic.ForwardAuth{}
	c.SetDefaults()
	c.Address, c.TrustForwardHeader = address, new(false)
	if change != nil {
		change(c)
	}
	return c
}

func handler(t testing.TB, c *dynamic.ForwardAuth, next httpmsg.Handler) *guard {
	t.Helper()
	h, err := Kind().Build(&dynamic.Middleware{ForwardAuth: c}, middleware.Env{}, next)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.(*guard).server.Close)
	return h.(*guard)
}

// origin is the service; it remembers what reached it.
type origin struct {
	calls  int
	fields []string
	body   string
}

func (o *origin) Serve(x *httpmsg.Exchange) error {
	o.calls++
	o.fields = fieldsOf(&x.Req.Header)
	o.body = ""
	for b := x.Req.Body; b != nil; {
		p, err := b.Next()
		if err != nil {
			break
		}
		o.body += string(p)
	}
	x.Respond(200, "text/plain", "service")
	return nil
}

func fieldsOf(h *httpmsg.Header) []string {
	var out []string
	for i := range h.Len() {
		out = append(out, h.At(i).Name.String()+": "+h.At(i).Value.String())
	}
	return out
}

func request(target string, fields ...string) *httpmsg.Exchange {
	x := &httpmsg.Exchange{Peer: netip.MustParseAddrPort("[::ffff:192.0.2.7]:1234")}
	x.Req.Method, x.Req.Host = httpmsg.Text("POST"), httpmsg.Text("app.test:8443")
	x.Req.TLS = true
	if err := x.SetTarget(httpmsg.Text(target)); err != nil {
		panic(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		x.Req.Header.Add(name, value)
	}
	return x
}

// values returns name=value of the wanted headers of a question, "-" where one is missing.
func values(h http.Header, names ...string) string {
	var out []string
	for _, n := range names {
		v := "-"
		if h[n] != nil {
			v = strings.Join(h[n], "|")
		}
		out = append(out, v)
	}
	return strings.Join(out, " ")
}

func TestQuestion(t *testing.T) {
	auth := newAuth(t, nil)
	sent := []string{"Accept: */*", "Cookie: a=b", "Authorization: Basic x", "Connection: keep-alive, Upgrade", "Keep-Alive: 1", "TE: trailers", "Trailers: x",
		"Transfer-Encoding: chunked", "Upgrade: websocket", "Content-Length: 5", "Expect: 100-continue", "Proxy-Authorization: Basic y", "X-Twice: 1", "X-Twice: 2",
		"X-Forwarded-For: 10.1.1.1", "X-Forwarded-Proto: wss", "X-Forwarded-Host: old.test", "X-Forwarded-Port: 99", "X-Forwarded-Server: s", "X-Real-Ip: 10.1.1.1",
		"X-Forwarded-Method: PUT"}
	usual := []string{"Accept", "Cookie", "Authorization", "Proxy-Authorization", "X-Twice"}
	for _, c := range []struct {
		name   string
		trust  *bool
		list   []string
		fields []string
		want   string // of For, Method, Proto, Port, Host, Uri, Server, X-Real-Ip
		usual  string
	}{
		{"distrusted", new(false), nil, sent, "192.0.2.7 POST https 8443 app.test:8443 /a%20b?c=d - -", "*/* a=b Basic x Basic y 1|2"},
		{"trusted", new(true), nil, sent, "10.1.1.1, 192.0.2.7 PUT https 99 old.test /a%20b?c=d s 10.1.1.1", "*/* a=b Basic x Basic y 1|2"},
		{"legacy", nil, nil, sent, "192.0.2.7 POST https 99 app.test:8443 /a%20b?c=d s 10.1.1.1", "*/* a=b Basic x Basic y 1|2"},
		{"trusted, nothing there", new(true), nil, nil, "192.0.2.7 POST https 8443 app.test:8443 /a%20b?c=d - -", "- - - - -"},
		{"distrusted, listed", new(false), []string{"cookie", "X-Forwarded-Server"}, sent, "192.0.2.7 POST https 8443 app.test:8443 /a%20b?c=d - -", "- a=b - - -"},
		{"trusted, listed", new(true), []string{"cookie"}, sent, "10.1.1.1, 192.0.2.7 PUT https 99 old.test /a%20b?c=d s 10.1.1.1", "- a=b - - -"},
		{"legacy, listed", nil, []string{"X-Twice"}, sent, "192.0.2.7 POST https - app.test:8443 /a%20b?c=d - -", "- - - - 1|2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := &origin{}
			h := handler(t, config(auth.URL+"/check?x=1", func(f *dynamic.ForwardAuth) { f.TrustForwardHeader, f.AuthRequestHeaders = c.trust, c.list }), o)
			x := request("/a%20b?c=d", c.fields...)
			x.Req.Body, x.Req.ContentLength = &httpmsg.Bytes{Data: []byte("12345")}, 5
			if err := h.Serve(x); err != nil || o.calls != 1 {
				t.Fatal(err)
			}
			q := auth.asked
			if q.Method != "GET" || q.RequestURI != "/check?x=1" || q.Host != strings.TrimPrefix(auth.URL, "http://") || auth.body != "" {
				t.Errorf("asked %s %s of %s with %q", q.Method, q.RequestURI, q.Host, auth.body)
			}
			if got := values(q.Header, forwardedFor, forwardedMethod, forwardedProto, forwardedPort, forwardedHost, forwardedURI, "X-Forwarded-Server", "X-Real-Ip"); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if got := values(q.Header, usual...); got != c.usual {
				t.Errorf("got %s, want %s", got, c.usual)
			}
			if got := values(q.Header, "Connection", "Keep-Alive", "Te", "Trailers", "Upgrade", "Expect", "User-Agent", "Content-Length", "Accept-Encoding"); got != "- - - - - - - - -" {
				t.Errorf("the question has too much: %s", got)
			}
			// The request itself is as it was.
			if o.body != "12345" || !slices.Equal(o.fields, c.fields) {
				t.Errorf("the service got %q with %q", o.body, o.fields)
			}
		})
	}
}

func TestPreserveMethod(t *testing.T) {
	auth := newAuth(t, nil)
	h := handler(t, config(auth.URL, func(c *dynamic.ForwardAuth) { c.PreserveRequestMethod = true }), &origin{})
	if err := h.Serve(request("/")); err != nil || auth.asked.Method != "POST" {
		t.Errorf("%v, asked with %s", err, auth.asked.Method)
	}
}

func TestBodies(t *testing.T) {
	auth := newAuth(t, nil)
	for _, c := range []struct {
		name   string
		limit  int64
		size   int
		length bool
		status int
	}{
		{"unlimited", -1, 2 << 20, true, 200},
		{"unlimited, length unknown", -1, 2 << 20, false, 200},
		{"at the limit", 100, 100, true, 200},
		{"at the limit, length unknown", 100, 100, false, 200},
		{"beyond", 100, 101, true, 401},
		{"beyond, length unknown", 100, 101, false, 401},
		{"zero allows empty bodies", 0, 0, true, 200},
		{"zero allows nothing else", 0, 1, true, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := &origin{}
			h := handler(t, config(auth.URL, func(f *dynamic.ForwardAuth) { f.ForwardBody, f.MaxBodySize = true, new(c.limit) }), o)
			text := strings.Repeat("x", c.size)
			x := request("/")
			if c.size > 0 {
				x.Req.Body, x.Req.ContentLength = &httpmsg.Bytes{Data: []byte(text)}, int64(c.size)
				if !c.length {
					x.Req.ContentLength = -1
				}
			}
			auth.asked = nil
			err := h.Serve(x)
			if got := fault.Status(err); got != c.status {
				t.Fatalf("got %d, %v", got, err)
			}
			if c.status == 200 && (auth.body != text || o.body != text) {
				t.Errorf("%d bytes became %d for the auth server and %d for the service", c.size, len(auth.body), len(o.body))
			}
			if c.status != 200 && (auth.asked != nil || o.calls > 0) {
				t.Error("somebody was asked")
			}
			x.Finish()
		})
	}
}

func TestAdmitted(t *testing.T) {
	auth := newAuth(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-User", "alice")
		w.Header()["X-Groups"] = []string{"a", "b"}
		w.Header().Set("X-Other", "1")
		w.Header().Set("Authorization", "Bearer new")
		w.WriteHeader(202)
	})
	for _, c := range []struct {
		name   string
		config func(*dynamic.ForwardAuth)
		fields []string
		want   []string
	}{
		{"nothing is set", nil, []string{"X-User: mallory"}, []string{"X-User: mallory"}},
		{"set", func(c *dynamic.ForwardAuth) { c.AuthResponseHeaders = []string{"x-user", "X-Groups"} }, []string{"A: b"}, []string{"A: b", "X-User: alice", "X-Groups: a", "X-Groups: b"}},
		{"FLD-08 spellings of the client's go", func(c *dynamic.ForwardAuth) { c.AuthResponseHeaders = []string{"X-User"} },
			[]string{"X-User: m", "x-uSER: m", "X_User: m", "x-user: n", "A: b"}, []string{"A: b", "X-User: alice"}},
		{"FLD-08 also where the answer has none", func(c *dynamic.ForwardAuth) { c.AuthResponseHeaders = []string{"X-Missing"} }, []string{"X-Missing: m", "X_MISSING: m"}, nil},
		{"known names", func(c *dynamic.ForwardAuth) { c.AuthResponseHeaders = []string{"Authorization"} }, []string{"Authorization: Basic old"}, []string{"Authorization: Bearer new"}},
		{"expression", func(c *dynamic.ForwardAuth) { c.AuthResponseHeadersRegex = "^X-(U|Gr|Z)" }, []string{"x-zebra: m", "X_Groups: m", "x_user: m", "X-Kept: 1"},
			[]string{"X-Kept: 1", "X-Groups: a", "X-Groups: b", "X-User: alice"}},
		{"expression is not anchored", func(c *dynamic.ForwardAuth) { c.AuthResponseHeadersRegex = "ser" }, []string{"X-User: m"}, []string{"X-User: alice"}},
		{"list and expression", func(c *dynamic.ForwardAuth) {
			c.AuthResponseHeaders, c.AuthResponseHeadersRegex = []string{"X-User"}, "^X-"
		}, nil, []string{"X-User: alice", "X-Groups: a", "X-Groups: b", "X-Other: 1"}},
		{"framing is never set", func(c *dynamic.ForwardAuth) { c.AuthResponseHeadersRegex = "^(Content-Length|Connection|Date)$" }, []string{"Content-Length: 3"}, []string{"Content-Length: 3", "Date: *"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := &origin{}
			x := request("/", c.fields...)
			if err := handler(t, config(auth.URL, c.config), o).Serve(x); err != nil || o.calls != 1 {
				t.Fatal(err)
			}
			for i, f := range o.fields {
				if strings.HasPrefix(f, "Date: ") {
					o.fields[i] = "Date: *"
				}
			}
			if !slices.Equal(o.fields, c.want) {
				t.Errorf("the service got %q, want %q", o.fields, c.want)
			}
		})
	}
}

func TestUserIsRecorded(t *testing.T) {
	auth := newAuth(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-User", "alice") })
	x := request("/")
	if handler(t, config(auth.URL, func(c *dynamic.ForwardAuth) { c.HeaderField = "x-user" }), &origin{}).Serve(x); x.Facts.User != "alice" {
		t.Errorf("on record is %q", x.Facts.User)
	}
}

func TestCookies(t *testing.T) {
	for _, c := range []struct {
		name  string
		names []string
		auth  []string
		want  []string
	}{
		{"none asked for", nil, []string{"s=auth"}, []string{"s=service; Path=/", "t=service"}},
		{"none in the answer", []string{"s"}, nil, []string{"s=service; Path=/", "t=service"}},
		{"replaced", []string{"s"}, []string{"s=auth; Secure", "u=auth"}, []string{"t=service", "s=auth; Secure"}},
		{"dropped where the answer has others", []string{"s"}, []string{"u=auth"}, []string{"t=service"}},
		{"several", []string{"s", "u"}, []string{"s=1", "s=2; Path=/x", "u=3"}, []string{"t=service", "s=1", "s=2; Path=/x", "u=3"}},
		{"names have letter case", []string{"S"}, []string{"S=auth"}, []string{"s=service; Path=/", "t=service", "S=auth"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			auth := newAuth(t, func(w http.ResponseWriter, _ *http.Request) { w.Header()["Set-Cookie"] = c.auth })
			x := request("/")
			h := handler(t, config(auth.URL, func(f *dynamic.ForwardAuth) { f.AddAuthCookiesToResponse = c.names }), httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
				x.Respond(200, "", "")
				x.Res.Header.Add("Set-Cookie", "s=service; Path=/")
				x.Res.Header.Add("Set-Cookie", "t=service")
				return nil
			}))
			if err := h.Serve(x); err != nil {
				t.Fatal(err)
			}
			x.RunEdits()
			x.RunEdits() // must bear it
			var got []string
			for _, f := range fieldsOf(&x.Res.Header) {
				got = append(got, strings.TrimPrefix(f, "Set-Cookie: "))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		config func(*dynamic.ForwardAuth)
		status int
		header http.Header
		body   string
		want   int
		text   string
		fields string // of the answer: Location, X-A, Www-Authenticate, X-B, Set-Cookie
	}{
		{"forbidden", nil, 403, http.Header{"X-A": {"1"}, "Connection": {"X-B"}, "X-B": {"2"}, "Keep-Alive": {"3"}, "Set-Cookie": {"a=b", "c=d"}}, "no", 403, "no", "- 1 - - a=b|c=d"},
		{"challenge", nil, 401, http.Header{"Www-Authenticate": {"Basic"}}, "who?", 401, "who?", "- - Basic - -"},
		{"redirect", nil, 302, http.Header{"Location": {"https://login.test/?a=b"}}, "", 302, "", "https://login.test/?a=b - - - -"},
		{"relative redirect", nil, 302, http.Header{"Location": {"/login"}}, "", 302, "", "AUTH/login - - - -"},
		{"relative redirect kept", func(c *dynamic.ForwardAuth) { c.PreserveLocationHeader = true }, 302, http.Header{"Location": {"/login"}}, "", 302, "", "/login - - - -"},
		{"redirect to junk", nil, 302, http.Header{"Location": {"http://[::1"}}, "", 500, "", ""},
		{"sign in", func(c *dynamic.ForwardAuth) { c.AuthSigninURL = "https://login.test/" }, 401, http.Header{"X-A": {"1"}}, "who?", 302, "Found", "https://login.test/ - - - -"},
		{"sign in is for 401 only", func(c *dynamic.ForwardAuth) { c.AuthSigninURL = "https://login.test/" }, 403, nil, "no", 403, "no", "- - - - -"},
		{"failure of the auth server", nil, 503, nil, "down", 503, "down", "- - - - -"},
		{"not modified", nil, 304, nil, "", 304, "", "- - - - -"},
		{"answer at the limit", func(c *dynamic.ForwardAuth) { c.MaxResponseBodySize = new(int64(4)) }, 403, nil, "four", 403, "four", "- - - - -"},
		{"answer beyond the limit", func(c *dynamic.ForwardAuth) { c.MaxResponseBodySize = new(int64(3)) }, 403, nil, "four", 401, "", ""},
		{"good answer beyond the limit", func(c *dynamic.ForwardAuth) { c.MaxResponseBodySize = new(int64(3)) }, 200, nil, "four", 401, "", ""},
		{"long answer", nil, 403, nil, strings.Repeat("x", 3<<20), 403, strings.Repeat("x", 3<<20), "- - - - -"},
	} {
		t.Run(c.name, func(t *testing.T) {
			auth := newAuth(t, func(w http.ResponseWriter, _ *http.Request) {
				for name, v := range c.header {
					w.Header()[name] = v
				}
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			})
			o := &origin{}
			trial.Each(t, handler(t, config(auth.URL+"/check", c.config), o), func(t *testing.T, f *trial.Front) {
				res, err := f.Client.Get(f.URL)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				text, _ := io.ReadAll(res.Body)
				if o.calls > 0 {
					t.Fatal("the request passed")
				}
				if res.StatusCode != c.want {
					t.Fatalf("got %d %q", res.StatusCode, text)
				}
				if c.fields == "" {
					if res.Header.Get("Sluice-Error") == "" {
						t.Error("the error is not ours")
					}
					return
				}
				want := strings.ReplaceAll(c.fields, "AUTH", auth.URL)
				if got := values(res.Header, "Location", "X-A", "Www-Authenticate", "X-B", "Set-Cookie"); got != want || string(text) != c.text {
					t.Errorf("got %s with %d bytes, want %s", got, len(text), want)
				}
			})
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	other := newAuth(t, nil)
	auth := newAuth(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) })
	o := &origin{}
	x := request("/")
	if err := handler(t, config(auth.URL, nil), o).Serve(x); err != nil || x.Res.Status != 302 || o.calls > 0 || other.asked != nil {
		t.Errorf("%v, %d, %d calls, followed %v", err, x.Res.Status, o.calls, other.asked != nil)
	}
}

// TestFailures holds that nothing that goes wrong lets a request pass.
func TestFailures(t *testing.T) {
	cut := testkit.Listen(t, func(c *testkit.PeerConn, _ int) { c.ReadUntil("\r\n\r\n") })
	half := testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
		c.ReadUntil("\r\n\r\n")
		io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nhalf")
	})
	junk := testkit.Listen(t, func(c *testkit.PeerConn, _ int) { io.WriteString(c, "SSH-2.0-OpenSSH\r\n\r\n") })
	for name, address := range map[string]string{"refused": "http://" + trial.Refusing(t), "cut": "http://" + cut.Addr, "half an answer": "http://" + half.Addr,
		"junk": "http://" + junk.Addr, "no TLS there": "https://" + junk.Addr} {
		o := &origin{}
		err := handler(t, config(address, nil), o).Serve(request("/"))
		if fault.Status(err) != 500 || o.calls > 0 {
			t.Errorf("%s: got %v after %d calls", name, err, o.calls)
		}
	}
}

func TestClientGoes(t *testing.T) {
	x := request("/")
	auth := testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
		c.ReadUntil("\r\n\r\n")
		x.Cancel(errors.New("gone"))
		c.ReadUntil("never")
	})
	err := handler(t, config("http://"+auth.Addr, nil), &origin{}).Serve(x)
	if f := fault.Of(err); f == nil || f.Kind != fault.ClientGone || f.Status() != 499 {
		t.Errorf("got %v", err)
	}
}

// TestEarlyAnswer holds that an auth server which answers before it has read the body leaves nobody reading behind.
func TestEarlyAnswer(t *testing.T) {
	testkit.LeakCheck(t)
	for range 5 {
		auth := testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
			c.ReadUntil("\r\n\r\n")
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		})
		o := &origin{}
		h := handler(t, config("http://"+auth.Addr, func(c *dynamic.ForwardAuth) { c.ForwardBody = true }), o)
		x := request("/")
		text := strings.Repeat("x", 3<<20)
		x.Req.Body, x.Req.ContentLength = &httpmsg.Bytes{Data: []byte(text)}, int64(len(text))
		switch err := h.Serve(x); {
		case err == nil && o.body != text:
			t.Fatalf("the service got %d bytes", len(o.body))
		case err != nil && (fault.Status(err) != 500 || o.calls > 0): // the connection may have broken first
			t.Fatal(err)
		}
		x.Finish()
		h.server.Close()
		auth.Close()
	}
}

func TestTLS(t *testing.T) {
	auth := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Proto", r.Proto) }))
	defer auth.Close()
	ca := dynamic.Material{Written: "ca.pem", Content: secret.New(pemOf(auth))}
	for name, c := range map[string]struct {
		tls  *dynamic.ClientTLS
		want int
	}{
		"trusted":   {&dynamic.ClientTLS{CA: ca}, 200},
		"insecure":  {&dynamic.ClientTLS{InsecureSkipVerify: true}, 200},
		"untrusted": {nil, 500},
	} {
		err := handler(t, config(auth.URL, func(f *dynamic.ForwardAuth) { f.TLS = c.tls }), &origin{}).Serve(request("/"))
		if got := fault.Status(err); got != c.want {
			t.Errorf("%s: got %d, %v", name, got, err)
		}
	}
}

func TestConnectionsAreKept(t *testing.T) {
	conns := map[string]bool{}
	auth := newAuth(t, func(w http.ResponseWriter, r *http.Request) { conns[r.RemoteAddr] = true; io.WriteString(w, "fine") })
	var state middleware.State
	for range 5 {
		h, err := Kind().Build(&dynamic.Middleware{ForwardAuth: config(auth.URL, nil)}, middleware.Env{Name: "a@file", State: &state}, &origin{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.(*guard).server.Close)
		if err := h.Serve(request("/")); err != nil {
			t.Fatal(err)
		}
	}
	if len(conns) != 1 {
		t.Errorf("%d connections for 5 questions", len(conns))
	}
}

// TestSpoofing sends a client's copies over every protocol to a real service.
func TestSpoofing(t *testing.T) {
	auth := newAuth(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Forwarded-Uri") == "/named" {
			w.Header().Set("X-User", "alice")
		}
	})
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var seen []any
		for _, spelling := range []string{"X-User", "X_User", "X_user"} {
			seen = append(seen, r.Header[spelling])
		}
		fmt.Fprint(w, seen...)
	}))
	defer service.Close()
	h := handler(t, config(auth.URL, func(c *dynamic.ForwardAuth) { c.AuthResponseHeaders = []string{"X-User"} }), trial.Service(t, service.URL))
	trial.Each(t, h, func(t *testing.T, f *trial.Front) {
		for path, want := range map[string]string{"/named": "[alice] [] []", "/unnamed": "[] [] []"} {
			r, _ := http.NewRequest("GET", f.URL+path, nil)
			r.Header["X-User"], r.Header["x_user"], r.Header["Connection"] = []string{"m", "n"}, []string{"m"}, []string{"X-User"}
			if strings.Contains(t.Name(), "HTTP2") || strings.Contains(t.Name(), "h2c") {
				delete(r.Header, "Connection")
			}
			res, err := f.Client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if string(text) != want {
				t.Errorf("%s: the service got %s", path, text)
			}
		}
	})
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		key    string
		change func(*dynamic.ForwardAuth)
	}{
		{"address", func(c *dynamic.ForwardAuth) { c.Address = "" }},
		{"address", func(c *dynamic.ForwardAuth) { c.Address = "auth.test/check" }},
		{"address", func(c *dynamic.ForwardAuth) { c.Address = "ftp://auth.test" }},
		{"address", func(c *dynamic.ForwardAuth) { c.Address = "http://" }},
		{"address", func(c *dynamic.ForwardAuth) { c.Address = "http://user:pass word@a b/" }},
		{"tls.ca[0]", func(c *dynamic.ForwardAuth) { c.TLS = &dynamic.ClientTLS{CA: dynamic.Material{Written: "missing.pem"}} }},
		{"authResponseHeaders[1]", func(c *dynamic.ForwardAuth) { c.AuthResponseHeaders = []string{"A", "b c"} }},
		{"authRequestHeaders[0]", func(c *dynamic.ForwardAuth) { c.AuthRequestHeaders = []string{""} }},
		{"authResponseHeadersRegex", func(c *dynamic.ForwardAuth) { c.AuthResponseHeadersRegex = "(" }},
		{"addAuthCookiesToResponse[0]", func(c *dynamic.ForwardAuth) { c.AddAuthCookiesToResponse = []string{"a;b"} }},
		{"headerField", func(c *dynamic.ForwardAuth) { c.HeaderField = "a b" }},
		{"maxBodySize", func(c *dynamic.ForwardAuth) { c.MaxBodySize = new(int64(-2)) }},
		{"maxResponseBodySize", func(c *dynamic.ForwardAuth) { c.MaxResponseBodySize = new(int64(-2)) }},
		{"authSigninURL", func(c *dynamic.ForwardAuth) { c.AuthSigninURL = "https://a/\r\nX: y" }},
	} {
		m := &dynamic.Middleware{ForwardAuth: config("http://auth.test", c.change)}
		l := Kind().Check(m)
		if err := middleware.Refusal(l); err == nil || !strings.HasPrefix(err.Error(), "forwardAuth."+c.key+": ") {
			t.Errorf("%s: got %v", c.key, l)
		}
		for _, f := range l {
			if strings.Contains(f.String(), "pass word") {
				t.Errorf("a finding shows a password: %v", f)
			}
		}
		if _, err := Kind().Build(m, middleware.Env{}, nil); err == nil {
			t.Errorf("%s: was built", c.key)
		}
	}
	if l := Kind().Check(&dynamic.Middleware{ForwardAuth: config("http://auth.test", func(c *dynamic.ForwardAuth) { c.TrustForwardHeader = nil })}); len(l) != 1 || l[0].Severity != diag.Info {
		t.Errorf("legacy mode: %v", l)
	}
}
