package middleware

import (
	"crypto/md5"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"sluice/internal/core/dynamic"
	"sluice/internal/wire/httpmsg"
)

func md5Text(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }

// digestClient makes Authorization fields as a browser does.
type digestClient struct {
	name, realm, password, nonce, opaque string
	nc                                   int
}

// learn takes what a 401 says.
func (d *digestClient) learn(t *testing.T, x *httpmsg.Exchange) (stale bool) {
	t.Helper()
	v := x.Res.Header.Lookup("WWW-Authenticate").String()
	if x.Res.Status != 401 || !strings.HasPrefix(v, "Digest realm=") || !strings.Contains(v, `qop="auth", algorithm=MD5`) {
		t.Fatalf("got %d %q", x.Res.Status, v)
	}
	param := func(name string) string {
		_, rest, _ := strings.Cut(v, name+`="`)
		value, _, _ := strings.Cut(rest, `"`)
		return value
	}
	d.nonce, d.opaque, d.nc = param("nonce"), param("opaque"), 0
	return strings.Contains(v, "stale=true")
}

func (d *digestClient) field(method, uri string, nc int) string {
	count := fmt.Sprintf("%08x", nc)
	response := md5Text(md5Text(d.name+":"+d.realm+":"+d.password) + ":" + d.nonce + ":" + count + ":cn:auth:" + md5Text(method+":"+uri))
	return fmt.Sprintf(`Authorization: Digest username="%s", realm="%s", nonce="%s", uri="%s", cnonce="cn", nc=%s, qop=auth, response="%s", opaque="%s", algorithm=MD5`,
		d.name, d.realm, d.nonce, uri, count, response, d.opaque)
}

func digestUser1(realm string) string { return "ann:" + realm + ":" + md5Text("ann:"+realm+":secret") }

func digestOf(change func(*dynamic.DigestAuth)) *dynamic.Middleware {
	d := dynamic.DigestAuth{Users: secrets(digestUser1("traefik"))}
	d.SetDefaults()
	if change != nil {
		change(&d)
	}
	return &dynamic.Middleware{DigestAuth: &d}
}

func TestDigestAuth(t *testing.T) {
	env := Env{Name: "d@file", Router: "r@file", State: &State{}}
	o := &origin{}
	h := build(t, env, o, digestOf(func(d *dynamic.DigestAuth) { d.HeaderField, d.RemoveHeader = "X-User", true }))
	c := &digestClient{name: "ann", realm: "traefik", password: "secret"}
	c.learn(t, serve(t, h, ask{}))
	try := func(name, field, target string, status int, stale bool) {
		t.Helper()
		o.calls, o.fields = 0, nil
		x := serve(t, h, ask{target: target, fields: []string{"x_user: root", field}})
		if x.Res.Status != status || (o.calls == 1) != (status == 200) {
			t.Errorf("%s: got %d", name, x.Res.Status)
		}
		if got := strings.Contains(x.Res.Header.Lookup("WWW-Authenticate").String(), "stale=true"); got != stale {
			t.Errorf("%s: stale is %v", name, got)
		}
		if status == 200 && (x.Facts.User != "ann" || !slices.Equal(o.fields, []string{"X-User: ann"})) {
			t.Errorf("%s: got %q %q", name, x.Facts.User, o.fields)
		}
	}
	try("right", c.field("GET", "/a?b=c", 1), "/a?b=c", 200, false)
	try("again", c.field("GET", "/a?b=c", 1), "/a?b=c", 401, false)
	try("next", c.field("GET", "/", 2), "/", 200, false)
	try("skipping", c.field("GET", "/", 70), "/", 200, false)
	try("side by side", c.field("GET", "/", 69), "/", 200, false)
	try("side by side, again", c.field("GET", "/", 69), "/", 401, false)
	try("far behind", c.field("GET", "/", 5), "/", 401, true)
	try("other method", c.field("POST", "/", 71), "/", 401, false)
	try("other page", c.field("GET", "/a", 71), "/b", 401, false)
	try("a page below", c.field("GET", "/a", 71), "/a/b", 401, false)
	try("other query", c.field("GET", "/a?b", 71), "/a?c", 401, false)
	try("query left out", c.field("GET", "/a", 71), "/a?c", 401, false)
	try("absolute form", c.field("GET", "http://example.test/a?c", 71), "/a?c", 200, false)
	try("path as it was before cleaning", c.field("GET", "/x/../%61//b/?q;r", 72), "/a/b/?q&r", 200, false)
	try("semicolon encoded", c.field("GET", "/a?q;r", 73), "/a?q%3Br", 200, false)
	try("upper case scheme", strings.Replace(c.field("GET", "/", 74), "Digest", "DIGEST", 1), "/", 200, false)
	for i, broken := range []string{
		strings.Replace(c.field("GET", "/", 80), "qop=auth, ", "", 1),
		strings.Replace(c.field("GET", "/", 80), "qop=auth", "qop=auth-int", 1),
		strings.Replace(c.field("GET", "/", 80), "algorithm=MD5", "algorithm=SHA-256", 1),
		strings.Replace(c.field("GET", "/", 80), "algorithm=MD5", "username=\"root\"", 1),
		strings.Replace(c.field("GET", "/", 80), "nc=00000050", "nc=50", 1),
		c.field("GET", "/", 0),
		"Authorization: Digest",
		"Authorization: Digest ,",
		"Authorization: Digest username",
		`Authorization: Digest username="ann`,
		strings.Replace(c.field("GET", "/", 80), "username", "user name", 1),
	} {
		try(fmt.Sprint("broken ", i), broken, "/", 401, false)
	}
	wrong := *c
	wrong.password = "Secret"
	try("wrong password", wrong.field("GET", "/", 81), "/", 401, false)
	wrong = *c
	wrong.name = "eve"
	try("unknown user", wrong.field("GET", "/", 81), "/", 401, false)
	wrong = *c
	wrong.nonce = "z" + wrong.nonce[1:]
	try("forged nonce", wrong.field("GET", "/", 81), "/", 401, true)
	wrong = *c
	wrong.opaque = ""
	try("opaque not echoed", wrong.field("GET", "/", 81), "/", 401, true)
	// A reload with the same router and middleware keeps nonces, a new process does not.
	h = build(t, env, o, digestOf(func(d *dynamic.DigestAuth) { d.HeaderField, d.RemoveHeader = "X-User", true }))
	try("after a reload", c.field("GET", "/", 82), "/", 200, false)
	h = build(t, Env{}, o, digestOf(nil))
	try("nonce of another process", c.field("GET", "/", 83), "/", 401, true)
}

func TestDigestUsers(t *testing.T) {
	c := &digestClient{name: "ann", realm: "traefik", password: "secret"}
	for name, m := range map[string]*dynamic.Middleware{
		"nobody":      digestOf(func(d *dynamic.DigestAuth) { d.Users = nil }),
		"other realm": digestOf(func(d *dynamic.DigestAuth) { d.Users = secrets(digestUser1("other")) }),
	} {
		if l := checkDigestAuth(m); len(l) != 1 || Refusal(l) != nil {
			t.Errorf("%s: got %v", name, l)
		}
		h := build(t, Env{}, &origin{}, m)
		c.learn(t, serve(t, h, ask{}))
		if x := serve(t, h, ask{fields: []string{c.field("GET", "/", 1)}}); x.Res.Status != 401 {
			t.Errorf("INV-8 %s: got %d", name, x.Res.Status)
		}
	}
	h := build(t, Env{}, &origin{}, digestOf(func(d *dynamic.DigestAuth) { d.Users, d.UsersFile = nil, fileOf("# x\n"+digestUser1("traefik")+"\n") }))
	c.learn(t, serve(t, h, ask{}))
	if x := serve(t, h, ask{fields: []string{c.field("GET", "/", 1)}}); x.Res.Status != 200 {
		t.Errorf("usersFile: got %d", x.Res.Status)
	}
	for _, line := range []string{"hunter2", "ann:hunter2", "ann:traefik:hunter2", ":traefik:" + md5Text("x"), "a:b:c:d"} {
		m := digestOf(func(d *dynamic.DigestAuth) { d.Users = secrets(line) })
		refuses(t, m, "digestAuth.users[0]")
		if strings.Contains(fmt.Sprint(checkDigestAuth(m)), "hunter2") {
			t.Error("INV-7: the line is shown")
		}
	}
}

func TestNoncesAreBounded(t *testing.T) {
	n := newNonces()
	for i := range uint64(3 * maxNonces) {
		n.issue()
		if v := n.use(i+1, 1); v != nonceGood {
			t.Fatalf("nonce %d: got %v", i, v)
		}
	}
	if len(n.used) != maxNonces || len(n.order) != maxNonces {
		t.Errorf("INV-6: %d nonces are kept", len(n.used))
	}
	for _, serial := range []uint64{1, maxNonces, 2 * maxNonces} {
		if v := n.use(serial, 2); v != nonceStale {
			t.Errorf("forgotten nonce %d: got %v", serial, v)
		}
	}
	if v := n.use(3*maxNonces, 1); v != nonceReplayed {
		t.Errorf("got %v", v)
	}
}

// TestNonceCountsOracle compares the window with a plain set.
func TestNonceCountsOracle(t *testing.T) {
	n, seen := newNonces(), map[uint32]bool{}
	for i := range uint32(5000) {
		count := 1 + (i*2654435761)%97 + i/3
		v := n.use(1, count)
		if v == nonceGood && seen[count] {
			t.Fatalf("count %d was taken twice", count)
		}
		seen[count] = seen[count] || v == nonceGood
	}
}

func TestDigestWithCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	h := build(t, Env{}, &origin{}, digestOf(nil))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := ask{method: r.Method, host: r.Host, target: r.RequestURI}
		if v := r.Header.Get("Authorization"); v != "" {
			a.fields = []string{"Authorization: " + v}
		}
		x := serve(t, h, a)
		for _, f := range list(&x.Res.Header) {
			name, value, _ := strings.Cut(f, ": ")
			w.Header().Add(name, value)
		}
		w.WriteHeader(x.Res.Status)
	}))
	defer s.Close()
	for password, want := range map[string]string{"secret": "200", "wrong": "401"} {
		out, err := exec.Command(curl, "-s", "-o", "/dev/null", "-w", "%{http_code}", "--noproxy", "*", "--digest", "-u", "ann:"+password, s.URL+"/a%20b?c=d;e").Output()
		if err != nil || string(out) != want {
			t.Errorf("%s: got %s %v", password, out, err)
		}
	}
}

func FuzzDigestParams(f *testing.F) {
	c := &digestClient{name: `a\"n`, realm: "traefik", password: "secret", nonce: "n", opaque: "o"}
	full := strings.TrimPrefix(c.field("GET", "/", 1), "Authorization: Digest ")
	for _, s := range []string{full, `username="`, `a="\`, "a=,b", ",,,", "=", strings.Repeat(`x="\"",`, 50)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var p digestParams
		if p.parse([]byte(text), ask{}.exchange(t)) && (p.username == nil || len(p.nc) != 8 || p.count == 0) {
			t.Errorf("%q counts as complete", text)
		}
	})
}
