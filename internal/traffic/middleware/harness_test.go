package middleware

import (
	"net/netip"
	"strings"
	"testing"

	"sluice/internal/core/dynamic"
	"sluice/internal/wire/httpmsg"
)

// ask is a request as the entry point hands it over.
type ask struct {
	method, host, target, peer string // GET, example.test, / and 192.0.2.1:1000 where empty
	tls                        bool
	fields                     []string // Name: value
	upgrade                    string
}

func (a ask) exchange(t testing.TB) *httpmsg.Exchange {
	t.Helper()
	or := func(v, usual string) string {
		if v == "" {
			return usual
		}
		return v
	}
	x := &httpmsg.Exchange{Peer: netip.MustParseAddrPort(or(a.peer, "192.0.2.1:1000"))}
	x.Req.Method, x.Req.Host = httpmsg.Text(or(a.method, "GET")), httpmsg.Text(or(a.host, "example.test"))
	x.Req.TLS, x.Req.Proto, x.Req.UpgradeTo = a.tls, httpmsg.HTTP11, httpmsg.Text(a.upgrade)
	if err := x.SetTarget(httpmsg.Text(or(a.target, "/"))); err != nil {
		t.Fatal(err)
	}
	for _, f := range a.fields {
		name, value, _ := strings.Cut(f, ":")
		x.Req.Header.Add(name, strings.TrimSpace(value))
	}
	return x
}

// origin is the end of a chain. It remembers what it was asked.
type origin struct {
	calls  int
	path   string
	host   string
	fields []string
	answer func(x *httpmsg.Exchange)
}

func (o *origin) Serve(x *httpmsg.Exchange) error {
	o.calls++
	o.path, o.host, o.fields = x.Req.Path.String(), x.Req.Host.String(), list(&x.Req.Header)
	x.Respond(200, "", "ok")
	if o.answer != nil {
		o.answer(x)
	}
	return nil
}

// list returns fields as Name: value.
func list(h *httpmsg.Header) []string {
	var out []string
	for i := range h.Len() {
		out = append(out, h.At(i).Name.String()+": "+h.At(i).Value.String())
	}
	return out
}

// build makes a chain of middlewares, the first one outermost, and fails the test if one cannot be built.
func build(t testing.TB, env Env, end httpmsg.Handler, chain ...*dynamic.Middleware) httpmsg.Handler {
	t.Helper()
	h := end
	for i := len(chain) - 1; i >= 0; i-- {
		name := chain[i].Kinds()[0]
		kind, ok := Light().Lookup(name)
		if !ok {
			t.Fatalf("no row for %s", name)
		}
		var err error
		if h, err = kind.Build(chain[i], env, h); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return h
}

// serve runs a handler and what a connection's loop does up to the response head.
func serve(t testing.TB, h httpmsg.Handler, a ask) *httpmsg.Exchange {
	t.Helper()
	x := a.exchange(t)
	finish(x, h)
	return x
}

func finish(x *httpmsg.Exchange, h httpmsg.Handler) {
	if err := h.Serve(x); err != nil {
		x.Fail(err)
	}
	x.RunEdits()
}

// body returns the text of a response of our own.
func body(x *httpmsg.Exchange) string {
	if x.Res.Body == nil {
		return ""
	}
	p, _ := x.Res.Body.Next()
	return string(p)
}

// refuses checks that Check finds an error at key, that Build refuses too, and that neither shows secret text.
func refuses(t *testing.T, m *dynamic.Middleware, key string) {
	t.Helper()
	name := m.Kinds()[0]
	kind, _ := Light().Lookup(name)
	l := kind.Check(m)
	if err := Refusal(l); err == nil {
		t.Errorf("%s was accepted", key)
	} else if !strings.HasPrefix(err.Error(), key+": ") {
		t.Errorf("got %v, want a finding at %s", err, key)
	}
	if h, err := kind.Build(m, Env{}, &origin{}); err == nil || h != nil {
		t.Errorf("%s was built", key)
	}
}

// allocations fails the test if an exchange through h costs any, once its memory has grown.
func allocations(t *testing.T, h httpmsg.Handler, a ask) {
	t.Helper()
	x := a.exchange(t)
	fields := append([]httpmsg.Field{}, fieldsOf(&x.Req.Header)...)
	req := x.Req
	run := func() {
		x.Reset(nil)
		head := x.Req.Header
		x.Req = req
		x.Req.Header = head
		for _, f := range fields {
			x.Req.Header.Append(f)
		}
		if h.Serve(x) == nil {
			x.RunEdits()
		}
		x.Finish()
	}
	run()
	if n := testing.AllocsPerRun(100, run); n > 0 && !raceEnabled {
		t.Errorf("%v allocations per request", n)
	}
}

func fieldsOf(h *httpmsg.Header) []httpmsg.Field {
	var out []httpmsg.Field
	for i := range h.Len() {
		out = append(out, *h.At(i))
	}
	return out
}

// silent is an end of a chain that costs nothing.
var silent = httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { x.Respond(200, "", "ok"); return nil })
