package opa

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sluice/internal/core/dynamic"
	"sluice/internal/testkit"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/trial"
	"sluice/internal/wire/httpmsg"
)

func TestMain(m *testing.M) {
	httpmsg.SetPoison(true)
	testkit.Main(m)
}

// agent answers as the data API does: documents by path.
type agent struct {
	*httptest.Server
	documents map[string]string // the whole answer
	status    int
	asked     []string
	input     map[string]any
}

func newAgent(t testing.TB) *agent {
	a := &agent{documents: map[string]string{}, status: 200}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Input map[string]any }
		text, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(text, &body); err != nil || r.Method != "POST" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %v: %s", r.Method, r.Header, text)
		}
		a.asked, a.input = append(a.asked, r.URL.Path), body.Input
		w.WriteHeader(a.status)
		answer, ok := a.documents[r.URL.Path]
		if !ok {
			answer = "{}"
		}
		io.WriteString(w, answer)
	}))
	t.Cleanup(a.Close)
	return a
}

func handler(t testing.TB, c *dynamic.OPA, next httpmsg.Handler) httpmsg.Handler {
	t.Helper()
	state := &middleware.State{}
	t.Cleanup(func() { state.Begin(); state.Sweep() })
	if c.ClientConfig == nil {
		c.ClientConfig = &dynamic.IdentityClient{TimeoutSeconds: 2}
	}
	h, err := Kind().Build(&dynamic.Middleware{OPA: c}, middleware.Env{Name: "m@file", State: state}, next)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

type origin struct {
	calls  int
	fields []string
}

func (o *origin) Serve(x *httpmsg.Exchange) error {
	o.calls++
	o.fields = nil
	for i := range x.Req.Header.Len() {
		f := x.Req.Header.At(i)
		if strings.HasPrefix(strings.ToLower(f.Name.String()), "x") {
			o.fields = append(o.fields, f.Name.String()+": "+f.Value.String())
		}
	}
	x.Respond(200, "", "ok")
	return nil
}

func TestDecisions(t *testing.T) {
	a := newAgent(t)
	for _, c := range []struct {
		name, answer string
		status, want int
	}{
		{"true", `{"result": true}`, 200, 200}, {"false", `{"result": false}`, 200, 403}, {"undefined", `{}`, 200, 403}, {"null", `{"result": null}`, 200, 403},
		{"text", `{"result": "true"}`, 200, 403}, {"number", `{"result": 1}`, 200, 403}, {"object", `{"result": {"allow": true}}`, 200, 403}, {"list", `{"result": [true]}`, 200, 403},
		{"junk", `<html>`, 200, 503}, {"empty", ``, 200, 503}, {"huge", `{"result": true, "x": "` + strings.Repeat("x", maxResult) + `"}`, 200, 503},
		{"bad request", `{"result": true}`, 400, 503}, {"fails", `{"result": true}`, 500, 503}, {"redirects", `{"result": true}`, 302, 503}, {"not found", `{"result": true}`, 404, 503},
	} {
		a.documents["/v1/data/example/policies/allow"], a.status = c.answer, c.status
		o := &origin{}
		h := handler(t, &dynamic.OPA{URL: a.URL + "/", Allow: "data.example.policies.allow"}, o)
		trial.Each(t, h, func(t *testing.T, f *trial.Front) {
			o.calls = 0
			res, err := f.Client.Get(f.URL)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != c.want || (o.calls > 0) != (c.want == 200) {
				t.Errorf("%s: got %d after %d calls", c.name, res.StatusCode, o.calls)
			}
		})
	}
	o := &origin{}
	h := handler(t, &dynamic.OPA{URL: "http://" + trial.Refusing(t), Allow: "data.a.b"}, o)
	x := &httpmsg.Exchange{}
	_ = x.SetTarget(httpmsg.Text("/"))
	if err := h.Serve(x); err == nil || o.calls > 0 {
		t.Error("passed without an agent")
	} else if x.Fail(err); x.Res.Status != 503 || x.Res.Header.Get(httpmsg.HdrSluiceError).String() != "AUTH-UNAVAILABLE" {
		t.Errorf("got %d", x.Res.Status)
	}
}

func TestInputAndHeaders(t *testing.T) {
	a := newAgent(t)
	a.documents["/v1/data/p/allow"] = `{"result": true}`
	a.documents["/v1/data/p/group"] = `{"result": ["a", "b,c"]}`
	o := &origin{}
	h := handler(t, &dynamic.OPA{URL: a.URL, Allow: "data.p.allow", ForwardHeaders: map[string]string{"X-Group": "data.p.group", "X-None": "data.p.none"}}, o)
	x := &httpmsg.Exchange{Peer: netip.MustParseAddrPort("[::ffff:192.0.2.7]:1000")}
	x.Req.Method, x.Req.Host, x.Req.TLS, x.Facts.User = httpmsg.Text("GET"), httpmsg.Text("app.test:8443"), true, "ann"
	if err := x.SetTarget(httpmsg.Text("/%61%2Fb?q=1&q=2")); err != nil {
		t.Fatal(err)
	}
	for _, f := range [][2]string{{"authorization", "Bearer x"}, {"X-Two", "1"}, {"x-two", "2"}, {"Cookie", "a=b"}, {"Cookie", "c=d"}, {"X-Group", "forged"}, {"x_group", "forged"}, {"X_NONE", "forged"}} {
		x.Req.Header.Add(f[0], f[1])
	}
	if err := h.Serve(x); err != nil {
		t.Fatal(err)
	}
	want := `map[clientIP:192.0.2.7 headers:map[Authorization:Bearer x Cookie:a=b; c=d X-Two:1, 2] host:app.test:8443 method:GET path:/a%2Fb query:map[q:[1 2]] rawQuery:q=1&q=2 scheme:https user:ann]`
	if got := fmt.Sprint(a.input); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if want := []string{"X-Two: 1", "x-two: 2", "X-Group: a,b%2Cc"}; !slices.Equal(o.fields, want) {
		t.Errorf("the service got %q", o.fields)
	}
	if want := []string{"/v1/data/p/allow", "/v1/data/p/group", "/v1/data/p/none"}; !slices.Equal(a.asked, want) {
		t.Errorf("asked for %q", a.asked)
	}
}

func TestCheck(t *testing.T) {
	for key, c := range map[string]*dynamic.OPA{
		"opa.url":                         {Allow: "data.a.b"},
		"opa":                             {URL: "http://a.test"},
		"opa.allow":                       {URL: "http://a.test", Allow: "input.method == \"GET\""},
		"opa.policy":                      {URL: "http://a.test", Allow: "data.a.b", Policy: "package a"},
		"opa.bundlePath":                  {URL: "http://a.test", Allow: "data.a.b", BundlePath: "/b.tar.gz"},
		"opa.forwardHeaders.A":            {URL: "http://a.test", Allow: "data.a.b", ForwardHeaders: map[string]string{"A": "b"}},
		"opa.forwardHeaders.Host":         {URL: "http://a.test", Allow: "data.a.b", ForwardHeaders: map[string]string{"Host": "data.a.b"}},
		"opa.clientConfig.timeoutSeconds": {URL: "http://a.test", Allow: "data.a.b", ClientConfig: &dynamic.IdentityClient{TimeoutSeconds: -1}},
	} {
		m := &dynamic.Middleware{OPA: c}
		l := Kind().Check(m)
		if err := middleware.Refusal(l); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
			t.Errorf("%s: got %v", key, l)
		}
		if _, err := Kind().Build(m, middleware.Env{}, nil); err == nil {
			t.Errorf("%s: was built", key)
		}
	}
	for _, text := range []string{"data", "data.", "data.a.../b", "data.a[0]", "data.a == true", "data./a", "data.a.%2e", "data.a..b", "x.a", "data.a b"} {
		if l := Kind().Check(&dynamic.Middleware{OPA: &dynamic.OPA{URL: "http://a.test", Allow: text}}); middleware.Refusal(l) == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}
