package policy

import (
	"net/http"
	"net/netip"
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

func config(allow string, users ...string) *dynamic.Policy {
	c := &dynamic.Policy{}
	c.SetDefaults()
	c.Allow, c.Users = allow, users
	return c
}

func handler(t testing.TB, c *dynamic.Policy) httpmsg.Handler {
	t.Helper()
	h, err := Kind().Build(&dynamic.Middleware{Policy: c}, middleware.Env{}, httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { x.Respond(200, "", "ok"); return nil }))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func request(t testing.TB, target string, fields ...string) *httpmsg.Exchange {
	t.Helper()
	x := &httpmsg.Exchange{Peer: netip.MustParseAddrPort("[::ffff:192.0.2.7]:1000")}
	x.Req.Method, x.Req.Host = httpmsg.Text("GET"), httpmsg.Text("App.test:8080")
	if err := x.SetTarget(httpmsg.Text(target)); err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		x.Req.Header.Add(name, value)
	}
	return x
}

func TestRules(t *testing.T) {
	for _, c := range []struct {
		allow, target string
		fields        []string
		want          int
	}{
		{"Method(`GET`)", "/", nil, 200},
		{"Method(`POST`)", "/", nil, 403},
		{"Host(`app.test`) && !PathPrefix(`/admin`)", "/x", nil, 200},
		{"Host(`app.test`) && !PathPrefix(`/admin`)", "/admin/x", nil, 403},
		{"!PathPrefix(`/admin`)", "/%61dm%69n/x", nil, 403},
		{"!PathPrefix(`/admin`)", "/a%zz", nil, 400},
		{"!PathPrefix(`/admin`) || ClientIP(`192.0.2.0/24`)", "/admin/x", nil, 200},
		{"ClientIP(`10.0.0.0/8`)", "/", []string{"X-Forwarded-For: 10.0.0.1"}, 403},
		{"Header(`X-Role`, `admin`)", "/", []string{"x-role: user", "X-ROLE: admin"}, 200},
		{"Header(`X-Role`, `admin`)", "/", []string{"X_Role: admin"}, 403},
		{"HeaderRegexp(`X-Role`, `^adm`) && Query(`a`, `b`)", "/?a=b", []string{"X-Role: admin"}, 200},
		{"Query(`a`, `b`)", "/?a=c", nil, 403},
	} {
		x := request(t, c.target, c.fields...)
		if err := handler(t, config(c.allow)).Serve(x); err != nil {
			x.Fail(err)
		}
		if x.Res.Status != c.want {
			t.Errorf("%s of %s: got %d", c.allow, c.target, x.Res.Status)
		}
	}
}

func TestUsersAndMore(t *testing.T) {
	for _, c := range []struct {
		name, user string
		config     *dynamic.Policy
		want       int
	}{
		{"listed", "ann", config("", "ann", "bob"), 200}, {"other", "eve", config("", "ann"), 403}, {"nobody", "", config("", "ann"), 403}, {"case", "Ann", config("", "ann"), 403},
		{"user and rule", "ann", config("Method(`GET`)", "ann"), 200}, {"user and wrong rule", "ann", config("Method(`POST`)", "ann"), 403},
		{"depth", "", &dynamic.Policy{Allow: "ClientIP(`10.0.0.0/8`)", IPStrategy: &dynamic.IPStrategy{Depth: 1}, RejectStatusCode: 404}, 200},
		{"missing depth", "", &dynamic.Policy{Allow: "ClientIP(`10.0.0.0/8`)", IPStrategy: &dynamic.IPStrategy{Depth: 2}, RejectStatusCode: 404}, 404},
	} {
		x := request(t, "/", "X-Forwarded-For: 10.0.0.1")
		x.Facts.User = c.user
		if err := handler(t, c.config).Serve(x); err != nil {
			x.Fail(err)
		}
		if x.Res.Status != c.want {
			t.Errorf("%s: got %d", c.name, x.Res.Status)
		}
	}
}

func TestEveryProtocol(t *testing.T) {
	h := handler(t, config("Method(`GET`) && Header(`X-Key`, `1`) || Path(`/open`)"))
	trial.Each(t, h, func(t *testing.T, f *trial.Front) {
		for target, want := range map[string]int{"/": 403, "/open": 200, "/op%65n": 200} {
			res, err := f.Client.Get(f.URL + target)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != want || want == 403 && res.Header.Get("Sluice-Error") != "FORBIDDEN" {
				t.Errorf("%s: got %d", target, res.StatusCode)
			}
		}
		r, _ := http.NewRequest("GET", f.URL, nil)
		r.Header.Set("X-Key", "1")
		if res, err := f.Client.Do(r); err != nil || res.StatusCode != 200 {
			t.Errorf("got %v, %v", res, err)
		} else {
			res.Body.Close()
		}
	})
}

func TestCheck(t *testing.T) {
	for key, c := range map[string]*dynamic.Policy{
		"policy": config(""), "policy.allow": config("Hosts(`a`)"), "policy.users": config("", ""),
		"policy.rejectStatusCode": {Allow: "Method(`GET`)", RejectStatusCode: 200}, "policy.ipStrategy.depth": {Allow: "Method(`GET`)", RejectStatusCode: 403, IPStrategy: &dynamic.IPStrategy{Depth: -1}},
	} {
		m := &dynamic.Middleware{Policy: c}
		if err := middleware.Refusal(Kind().Check(m)); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
			t.Errorf("%s: got %v", key, err)
		}
		if _, err := Kind().Build(m, middleware.Env{}, nil); err == nil {
			t.Errorf("%s: was built", key)
		}
	}
}

func TestCostsNoAllocation(t *testing.T) {
	h := handler(t, config("Host(`app.test`) && !PathPrefix(`/admin`) && Header(`X-A`, `1`)"))
	x := request(t, "/x", "X-A: 1")
	req, field := x.Req, *x.Req.Header.At(0)
	run := func() {
		x.Reset(nil)
		head := x.Req.Header
		x.Req = req
		x.Req.Header = head
		x.Req.Header.Append(field)
		if err := h.Serve(x); err != nil {
			t.Fatal(err)
		}
		x.Finish()
	}
	run()
	if n := testing.AllocsPerRun(100, run); n > 0 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
}
