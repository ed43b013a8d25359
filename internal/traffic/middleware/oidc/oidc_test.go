// This file is long because it follows one login from its beginning to its end, case by case, over one provider and one browser.

package oidc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	josepkg "github.com/go-jose/go-jose/v4"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/secret"
)

func TestLogin(t *testing.T) {
	p := newProvider(t)
	s := newSite(t, config(p, func(c *dynamic.OIDC) {
		c.ForwardHeaders, c.UsernameClaim, c.Claims = map[string]string{"X-User": "sub", "X-Group": "id_token.grp"}, "sub", "Equals(`grp`, `admin`)"
		c.Scopes, c.AuthParams = []string{"openid", "email"}, map[string]string{"hd": "example.com"}
	}))
	if p.asked != 0 {
		t.Error("building asked the provider")
	}
	b := newBrowser(s)
	a := b.get("https://app.test/deep/%2Flink?a=b&c=%20")
	u, _ := url.Parse(a.location)
	q := u.Query()
	if a.status != 302 || a.header.Get("Cache-Control") != "no-store" || s.calls > 0 {
		t.Fatalf("got %d %v", a.status, a.header)
	}
	for name, want := range map[string]string{"response_type": "code", "client_id": "client", "redirect_uri": "https://app.test/callback", "scope": "openid email", "tenant": "1", "hd": "example.com", "code_challenge": "", "prompt": ""} {
		if q.Get(name) != want {
			t.Errorf("%s is %q", name, q.Get(name))
		}
	}
	if len(q.Get("state")) < 32 || len(q.Get("nonce")) < 32 || q.Get("state") == q.Get("nonce") {
		t.Errorf("state %q, nonce %q", q.Get("state"), q.Get("nonce"))
	}
	if len(b.last) != 1 || !strings.HasPrefix(b.last[0], "login-state-") || !strings.HasSuffix(b.last[0], "; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax") {
		t.Errorf("state cookie %q", b.last)
	}
	back := p.authorize(a.location, nil)
	a = b.get(back)
	if a.status != 302 || a.location != "https://app.test/deep/%2Flink?a=b&c=%20" {
		t.Fatalf("the login led to %d %q: %v", a.status, a.location, a.err)
	}
	if len(b.cookies) != 1 || !strings.Contains(strings.Join(b.last, "\n"), "; Path=/; Max-Age=86400; HttpOnly; Secure; SameSite=Lax") {
		t.Errorf("cookies %q", b.last)
	}
	if auth := p.auth[0]; auth != "Basic "+base64.StdEncoding.EncodeToString([]byte("client:the+client%27s+secret")) {
		t.Errorf("the provider got %q", auth)
	}
	b.cookies["other"] = "kept"
	a = b.get("https://app.test/deep", "X-User: forged", "x_group: forged", "Cookie: a=b")
	if a.status != 200 || a.user != "ann" || !slices.Equal(s.has("X-User"), []string{"ann"}) || !slices.Equal(s.has("X-Group"), []string{"admin"}) || s.has("x_group") != nil {
		t.Errorf("got %d for %q, %v; the service got %q", a.status, a.user, a.err, s.fields)
	}
	if got := s.has("Cookie"); !slices.Equal(got, []string{"a=b; other=kept"}) {
		t.Errorf("the service got the cookies %q", got)
	}
	// The same callback again is not known any more.
	if a := b.get(back); a.status != 400 {
		t.Errorf("the callback was taken twice: %d", a.status)
	}
	// Sessions need no provider.
	p.set(func() { p.dark = true })
	if a := b.get("https://app.test/"); a.status != 200 {
		t.Errorf("without the provider: %d, %v", a.status, a.err)
	}
	// What is sealed shows nothing.
	for name, v := range b.cookies {
		if strings.Contains(v, "eyJhbGciOi") || strings.Contains(v, "refresh") {
			t.Errorf("the cookie %s shows tokens", name)
		}
	}
}

func TestPKCEAndPublicClients(t *testing.T) {
	for name, change := range map[string]func(*dynamic.OIDC){
		"asked for": func(c *dynamic.OIDC) { c.PKCE = true },
		"no secret": func(c *dynamic.OIDC) { c.ClientSecret = secret.String{} },
		"offline":   func(c *dynamic.OIDC) { c.PKCE, c.Scopes = true, []string{"openid", "offline_access"} },
	} {
		p := newProvider(t)
		b := newBrowser(newSite(t, config(p, change)))
		a := b.get("http://app.test/")
		u, _ := url.Parse(a.location)
		if u.Query().Get("code_challenge_method") != "S256" || (u.Query().Get("prompt") == "consent") != (name == "offline") {
			t.Errorf("%s: %v", name, u.Query())
		}
		if a := b.get(p.authorize(a.location, nil)); a.status != 302 || a.location != "http://app.test/" {
			t.Errorf("%s: %d %v", name, a.status, a.err)
		}
		if name == "no secret" && (p.auth[0] != "" || p.grants[0].Get("client_id") != "client") {
			t.Errorf("the provider got %q, %v", p.auth[0], p.grants[0])
		}
		if strings.Contains(strings.Join(b.last, ""), "Secure") {
			t.Error("cookies of plain connections would not come back")
		}
	}
}

// TestBadLogins holds that nothing but the provider's own answer to this browser's own login makes a session.
func TestBadLogins(t *testing.T) {
	attacker, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	for _, c := range []struct {
		name   string
		change func(*fakeProvider)
		answer func(url.Values)
		want   int
	}{
		{"fine", nil, nil, 302},
		{"fine, says who it is", nil, nil, 302},
		{"no state", nil, func(v url.Values) { v.Del("state") }, 400},
		{"another state", nil, func(v url.Values) { v.Set("state", random(24)) }, 400},
		{"state of the same beginning", nil, func(v url.Values) { v.Set("state", v.Get("state")[:8]+random(18)) }, 400},
		{"two states", nil, func(v url.Values) { v.Add("state", "x") }, 400},
		{"no code", nil, func(v url.Values) { v.Del("code") }, 400},
		{"another code", nil, func(v url.Values) { v.Set("code", "x") }, 400},
		{"two codes", nil, func(v url.Values) { v.Add("code", "x") }, 400},
		{"another issuer answers", nil, func(v url.Values) { v.Set("iss", "https://evil.test") }, 403},
		{"does not say who it is", func(p *fakeProvider) { p.discover["authorization_response_iss_parameter_supported"] = true }, nil, 403},
		{"refused", nil, func(v url.Values) { v.Set("error", "access_denied") }, 403},
		{"busy", nil, func(v url.Values) { v.Set("error", "temporarily_unavailable") }, 503},
		{"junk for an error", nil, func(v url.Values) { v.Set("error", "<script>\r\n") }, 403},
		{"token endpoint fails", func(p *fakeProvider) { p.down = true }, nil, 503},
		{"token endpoint refuses us", func(p *fakeProvider) { p.status, p.answer["error"] = 401, "invalid_client" }, nil, 503},
		{"no ID token", func(p *fakeProvider) { p.answer["id_token"] = nil }, nil, 403},
		{"no access token", func(p *fakeProvider) { p.answer["access_token"] = nil }, nil, 503},
		{"another type of token", func(p *fakeProvider) { p.answer["token_type"] = "mac" }, nil, 503},
		{"huge answer", func(p *fakeProvider) { p.answer["x"] = strings.Repeat("x", maxTokens) }, nil, 503},
		{"another nonce", func(p *fakeProvider) { p.claims["nonce"] = "x" }, nil, 403},
		{"no nonce", func(p *fakeProvider) { p.claims["nonce"] = nil }, nil, 403},
		{"another issuer", func(p *fakeProvider) { p.claims["iss"] = "https://evil.test" }, nil, 403},
		{"another audience", func(p *fakeProvider) { p.claims["aud"] = "other" }, nil, 403},
		{"among others", func(p *fakeProvider) { p.claims["aud"], p.claims["azp"] = []string{"other", "client"}, "client" }, nil, 302},
		{"made for another", func(p *fakeProvider) { p.claims["aud"], p.claims["azp"] = []string{"other", "client"}, "other" }, nil, 403},
		{"made for nobody in particular", func(p *fakeProvider) { p.claims["aud"] = []string{"other", "client"} }, nil, 403},
		{"expired", func(p *fakeProvider) { p.claims["exp"] = time.Now().Add(-time.Minute).Unix() }, nil, 403},
		{"expired by the other clock", func(p *fakeProvider) { p.claims["exp"] = time.Now().Add(-5 * time.Second).Unix() }, nil, 302},
		{"no expiry", func(p *fakeProvider) { p.claims["exp"] = nil }, nil, 403},
		{"signed by another", func(p *fakeProvider) { p.signer = josepkg.JSONWebKey{Key: attacker, KeyID: "k"} }, nil, 403},
		{"unknown key", func(p *fakeProvider) { p.signer = josepkg.JSONWebKey{Key: attacker, KeyID: "new"} }, nil, 403},
		{"signed with our secret", func(p *fakeProvider) {
			p.signer, p.alg = []byte("the client's secret padded to be long enough"), josepkg.HS256
		}, nil, 403},
		{"not signed", func(p *fakeProvider) { p.alg = "none" }, nil, 403},
		{"another access token", func(p *fakeProvider) { p.claims["at_hash"] = "AAAAAAAAAAAAAAAAAAAAAA" }, nil, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProvider(t)
			if c.change != nil {
				c.change(p)
			}
			b := newBrowser(newSite(t, config(p, nil)))
			answer := c.answer
			if c.name == "fine, says who it is" {
				answer = func(v url.Values) { v.Set("iss", p.URL) }
			}
			a := b.login(p, "https://app.test/x", answer)
			if a.status != c.want {
				t.Errorf("got %d, %v", a.status, a.err)
			}
			_, in := b.cookies["login-session"]
			if in != (c.want == 302) {
				t.Errorf("session: %v", in)
			}
			if a.err != nil && (strings.Contains(a.err.Error(), "script") || strings.Contains(a.err.Error(), "eyJhbGciOi")) {
				t.Errorf("the reason shows too much: %v", a.err)
			}
		})
	}
}

// TestLoginBelongsToABrowser holds that nobody is logged in by somebody else's answer (login forgery).
func TestLoginBelongsToABrowser(t *testing.T) {
	p := newProvider(t)
	s := newSite(t, config(p, nil))
	attacker, victim := newBrowser(s), newBrowser(s)
	back := p.authorize(attacker.get("https://app.test/").location, nil)
	if a := victim.get(back); a.status != 400 || len(victim.cookies) > 0 {
		t.Errorf("got %d with %v", a.status, victim.cookies)
	}
	// Nor with a login of his own under way.
	victim.get("https://app.test/")
	if a := victim.get(back); a.status != 400 {
		t.Errorf("got %d", a.status)
	}
	// A sealed login cannot pass for a session, nor be moved to another name.
	for name, v := range maps.Clone(victim.cookies) {
		victim.cookies["login-session"] = "1." + v
		delete(victim.cookies, name)
	}
	if a := victim.get("https://app.test/"); a.status != 302 {
		t.Errorf("got %d", a.status)
	}
}

func TestManyLogins(t *testing.T) {
	p := newProvider(t)
	b := newBrowser(newSite(t, config(p, nil)))
	var locations []string
	for range 12 {
		a := b.get("https://app.test/")
		locations = append(locations, a.location)
		if len(b.cookies) > maxPending {
			t.Fatalf("%d cookies", len(b.cookies))
		}
	}
	// Two tabs at once both work.
	n := len(locations)
	for _, l := range []string{locations[n-2], locations[n-1]} {
		if a := b.get(p.authorize(l, nil)); a.status != 302 {
			t.Errorf("got %d, %v", a.status, a.err)
		}
	}
}

func TestWhoIsSentToLogIn(t *testing.T) {
	p := newProvider(t)
	plain := newSite(t, config(p, nil))
	asking := newSite(t, config(p, func(c *dynamic.OIDC) { c.LoginURL, c.PostLoginRedirectURL = "/login", "/welcome" }))
	never := newSite(t, config(p, func(c *dynamic.OIDC) { c.DisableLogin = true }))
	elsewhere := newSite(t, config(p, func(c *dynamic.OIDC) { c.LoginURL = "login.test/in" }))
	for _, c := range []struct {
		name   string
		site   *site
		method string
		at     string
		fields []string
		want   int
	}{
		{"browser", plain, "GET", "/", []string{"Accept: text/html,application/xhtml+xml,*/*;q=0.8", "Sec-Fetch-Mode: navigate"}, 302},
		{"HEAD", plain, "HEAD", "/", nil, 302},
		{"curl", plain, "GET", "/", []string{"Accept: */*"}, 302},
		{"nothing said", plain, "GET", "/", nil, 302},
		{"fetch", plain, "GET", "/", []string{"Accept: */*", "Sec-Fetch-Mode: cors"}, 401},
		{"image", plain, "GET", "/", []string{"Accept: image/*", "Sec-Fetch-Mode: no-cors"}, 401},
		{"XHR", plain, "GET", "/", []string{"X-Requested-With: XMLHttpRequest"}, 401},
		{"JSON", plain, "GET", "/", []string{"Accept: application/json"}, 401},
		{"POST", plain, "POST", "/", []string{"Accept: text/html"}, 401},
		{"WebSocket", plain, "GET", "/", []string{"Upgrade: websocket"}, 401},
		{"never", never, "GET", "/", nil, 401},
		{"not asked for", asking, "GET", "/", nil, 401},
		{"asked for", asking, "GET", "/login", nil, 302},
		{"on another host", elsewhere, "GET", "/in", nil, 401},
	} {
		b := newBrowser(c.site)
		a := b.do(c.method, "https://app.test"+c.at, "", c.fields...)
		if a.status != c.want || c.site.calls > 0 {
			t.Errorf("%s: got %d after %d calls", c.name, a.status, c.site.calls)
		}
		if c.want == 401 && (a.header.Get("WWW-Authenticate") == "" || len(b.cookies) > 0) {
			t.Errorf("%s: %v", c.name, a.header)
		}
	}
	b := newBrowser(asking)
	if a := b.login(p, "https://app.test/login", nil); a.location != "https://app.test/welcome" {
		t.Errorf("went to %q", a.location)
	}
	if a := b.get("https://app.test/login"); a.status != 302 || a.location != "https://app.test/welcome" {
		t.Errorf("logged in already: %d %q", a.status, a.location)
	}
	if a := b.get("https://app.test/anything"); a.status != 200 {
		t.Errorf("got %d", a.status)
	}
	b = newBrowser(elsewhere)
	if a := b.get("https://LOGIN.test:443/in"); a.status != 302 {
		t.Errorf("got %d", a.status)
	}
}

// TestRedirectsLeadHome holds that a login cannot be made to lead elsewhere.
func TestRedirectsLeadHome(t *testing.T) {
	p := newProvider(t)
	s := newSite(t, config(p, nil))
	for at, want := range map[string]string{
		"https://app.test//evil.test/x":                          "https://app.test//evil.test/x",
		"https://app.test/%5cevil.test":                          "https://app.test/%5cevil.test",
		"https://app.test/?next=//evil.test":                     "https://app.test/?next=//evil.test",
		"https://app.test/x?" + strings.Repeat("y", 3000):        "https://app.test/x",
		"https://app.test/" + strings.Repeat("z", 3000):          "https://app.test/",
		"https://app.test/%0d%0aSet-Cookie:a=b?%0d%0aLocation:x": "https://app.test/%0d%0aSet-Cookie:a=b?%0d%0aLocation:x",
	} {
		b := newBrowser(s)
		if a := b.login(p, at, nil); a.location != want {
			t.Errorf("%.60s: led to %q", at, a.location)
		}
	}
	// A login that began under another host leads to the start page, unless cookies are shared.
	for domain, want := range map[string]string{"": "/", "example.com": "https://one.example.com/x", "other.com": "/", "ample.com": "/"} {
		s := newSite(t, config(p, func(c *dynamic.OIDC) { c.RedirectURL, c.Session.Domain = "https://auth.example.com/callback", domain }))
		b := newBrowser(s)
		if a := b.login(p, "https://one.example.com/x", nil); a.location != want {
			t.Errorf("domain %q: led to %q, want %q", domain, a.location, want)
		}
	}
}

func TestProviderAway(t *testing.T) {
	p := newProvider(t)
	p.set(func() { p.dark = true })
	s := newSite(t, config(p, nil))
	b := newBrowser(s)
	for range 20 {
		a := b.get("https://app.test/")
		if a.status != 503 || a.header.Get("Sluice-Error") != "AUTH-UNAVAILABLE" || s.calls > 0 {
			t.Fatalf("got %d", a.status)
		}
	}
	p.set(func() {
		p.dark = false
		if p.asked > 1 {
			t.Errorf("asked %d times", p.asked)
		}
	})
	time.Sleep(1100 * time.Millisecond) // the pause after the first failure
	if a := b.login(p, "https://app.test/", nil); a.status != 302 {
		t.Errorf("got %d, %v", a.status, a.err)
	}
	for name, d := range map[string]map[string]any{
		"another issuer": {"issuer": "https://evil.test"}, "no keys": {"jwks_uri": ""}, "no URL": {"token_endpoint": "token"}, "no scheme": {"authorization_endpoint": "javascript:alert(1)"},
	} {
		p := newProvider(t)
		p.discover = d
		if a := newBrowser(newSite(t, config(p, nil))).get("https://app.test/"); a.status != 503 {
			t.Errorf("%s: got %d", name, a.status)
		}
	}
	p = newProvider(t)
	p.discover["issuer"] = "https://login.test/common"
	s = newSite(t, config(p, func(c *dynamic.OIDC) { c.TrustedIssuer = "https://login.test/common" }))
	p.claims["iss"] = "https://login.test/common"
	if a := newBrowser(s).login(p, "https://app.test/", nil); a.status != 302 {
		t.Errorf("trusted issuer: got %d, %v", a.status, a.err)
	}
	p.claims["iss"] = "https://login.test/tenant"
	if a := newBrowser(s).login(p, "https://app.test/", nil); a.status != 403 {
		t.Errorf("another than the trusted issuer: got %d, %v", a.status, a.err)
	}
	s = newSite(t, config(p, func(c *dynamic.OIDC) { c.DisableIssuerCheck = true }))
	if a := newBrowser(s).login(p, "https://app.test/", nil); a.status != 302 {
		t.Errorf("any issuer: got %d, %v", a.status, a.err)
	}
}

func TestDiscoveryParams(t *testing.T) {
	u, err := discoveryURL("https://a.test/tenant/?x=y", map[string]string{"appid": "1 2"})
	if err != nil || u.String() != "https://a.test/tenant/.well-known/openid-configuration?appid=1+2&x=y" {
		t.Errorf("got %v, %v", u, err)
	}
}

func TestClaimsRefuse(t *testing.T) {
	p := newProvider(t)
	p.access = p.sign(map[string]any{"scope": "read write"})
	s := newSite(t, config(p, func(c *dynamic.OIDC) {
		c.Claims = "SplitContains(`access_token.scope`, ` `, `write`) && !Equals(`id_token.grp`, `guest`)"
	}))
	b := newBrowser(s)
	b.login(p, "https://app.test/", nil)
	if a := b.get("https://app.test/"); a.status != 200 {
		t.Errorf("got %d, %v", a.status, a.err)
	}
	p.claims["grp"] = "guest"
	b = newBrowser(s)
	b.login(p, "https://app.test/", nil)
	if a := b.get("https://app.test/"); a.status != 403 || s.calls != 1 {
		t.Errorf("got %d", a.status)
	}
}

func TestLargeSessions(t *testing.T) {
	p := newProvider(t)
	s := newSite(t, config(p, func(c *dynamic.OIDC) { c.ForwardHeaders = map[string]string{"X-N": "n"} }))
	b := newBrowser(s)
	for _, size := range []int{0, 3000, 8000, 100, 40_000} {
		p.set(func() { p.claims["big"], p.claims["n"] = strings.Repeat("x", size), size })
		delete(b.cookies, "login-session") // as if it had run out
		a := b.login(p, "https://app.test/", nil)
		if size == 40_000 {
			if a.status != 500 || len(b.cookies) > maxChunks {
				t.Errorf("%d: got %d", size, a.status)
			}
			continue
		}
		parts := 0
		for name := range b.cookies {
			if strings.HasPrefix(name, "login-session") {
				parts++
			}
		}
		if want := map[int]int{0: 1, 3000: 2, 8000: 5, 100: 1}[size]; parts != want {
			t.Errorf("%d: %d cookies, want %d", size, parts, want)
		}
		if a := b.get("https://app.test/"); a.status != 200 || len(s.has("Cookie")) > 0 {
			t.Errorf("%d: got %d, %v; the service got %q", size, a.status, a.err, s.has("Cookie"))
		}
		if size == 8000 {
			b.cookies["login-session-2"], b.cookies["login-session-3"] = b.cookies["login-session-3"], b.cookies["login-session-2"]
			if a := b.get("https://app.test/"); a.status != 302 {
				t.Errorf("parts in another order: got %d", a.status)
			}
		}
	}
}

func TestForgedSessions(t *testing.T) {
	p := newProvider(t)
	s := newSite(t, config(p, nil))
	b := newBrowser(s)
	b.login(p, "https://app.test/", nil)
	good := b.cookies["login-session"]
	flipped := []byte(good)
	flipped[len(flipped)/2] ^= 1
	for name, v := range map[string]string{"empty": "", "junk": "junk", "no count": good[2:], "more parts": "2" + good[1:], "no parts": "0" + good[1:], "many parts": "9" + good[1:], "negative": "-1" + good[1:],
		"flipped": string(flipped), "cut": good[:len(good)-4], "longer": good + "AAAA", "a token": "1." + p.sign(map[string]any{"sub": "ann"})} {
		b.cookies = map[string]string{"login-session": v}
		calls := s.calls
		if a := b.get("https://app.test/"); a.status != 302 || s.calls != calls {
			t.Errorf("%s: got %d", name, a.status)
		}
	}
	// Another middleware's session, and one sealed with another secret.
	for name, change := range map[string]func(*dynamic.OIDC){"secret": func(c *dynamic.OIDC) { c.ClientSecret = secret.New("another") }, "client": func(c *dynamic.OIDC) { c.ClientID = "other" }} {
		s.build(config(p, change))
		b.cookies = map[string]string{"login-session": good}
		if a := b.get("https://app.test/"); a.status != 302 {
			t.Errorf("another %s: got %d", name, a.status)
		}
	}
	s.build(config(p, nil))
	b.cookies = map[string]string{"login-session": good}
	if a := b.get("https://app.test/"); a.status != 200 {
		t.Errorf("the good one: got %d", a.status)
	}
}

// aged gives the browser a session that was begun and last written some time ago.
func (b *browser) aged(t *testing.T, begun, last, expires time.Duration) {
	t.Helper()
	s := b.session(t)
	now := time.Now()
	s.Begun, s.Last, s.Expires = now.Add(-begun).Unix(), now.Add(-last).Unix(), now.Add(expires).Unix()
	sealed, err := b.site.guard.seals.seal("login-session", s)
	if err != nil {
		t.Fatal(err)
	}
	b.cookies["login-session"] = "1." + sealed
}

func (b *browser) session(t *testing.T) *session {
	t.Helper()
	s := &session{}
	if err := b.site.guard.seals.open("login-session", strings.TrimPrefix(b.cookies["login-session"], "1."), s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestExpiry(t *testing.T) {
	p := newProvider(t)
	for _, c := range []struct {
		name        string
		sliding     bool
		begun, last time.Duration
		want        int
		renewed     bool
	}{
		{"fresh", true, 0, 0, 200, false},
		{"sliding, used lately", true, 100 * time.Hour, 30 * time.Minute, 200, false},
		{"sliding, used a while ago", true, 100 * time.Hour, 20 * time.Hour, 200, true},
		{"sliding, not used", true, 100 * time.Hour, 24 * time.Hour, 302, false},
		{"fixed", false, 23 * time.Hour, 23 * time.Hour, 200, false},
		{"fixed, over", false, 24 * time.Hour, time.Minute, 302, false},
		{"from the future", true, -time.Hour, 0, 302, false},
	} {
		s := newSite(t, config(p, func(c2 *dynamic.OIDC) { c2.Session.Sliding = new(c.sliding) }))
		b := newBrowser(s)
		b.login(p, "https://app.test/", nil)
		b.aged(t, c.begun, c.last, time.Hour)
		a := b.get("https://app.test/")
		if a.status != c.want || c.want == 200 && (len(b.last) > 0) != c.renewed {
			t.Errorf("%s: got %d, cookies %d", c.name, a.status, len(b.last))
		}
		if c.renewed {
			if again := b.session(t); time.Since(time.Unix(again.Last, 0)) > time.Minute || time.Since(time.Unix(again.Begun, 0)) < c.begun-time.Minute {
				t.Errorf("%s: begun %v, last %v", c.name, again.Begun, again.Last)
			}
		}
	}
}

func TestRefresh(t *testing.T) {
	p := newProvider(t)
	change := func(c *dynamic.OIDC) { c.ForwardHeaders = map[string]string{"X-Group": "grp"} }
	start := func(change func(*dynamic.OIDC)) *browser {
		b := newBrowser(newSite(t, config(p, change)))
		b.login(p, "https://app.test/", nil)
		b.aged(t, time.Hour, time.Minute, -time.Minute)
		p.set(func() { p.grants = nil })
		return b
	}
	b := start(change)
	p.set(func() { p.claims["grp"] = "renewed" })
	if a := b.get("https://app.test/"); a.status != 200 || !slices.Equal(b.site.has("X-Group"), []string{"renewed"}) || len(p.grants) != 1 || len(b.last) == 0 {
		t.Errorf("got %d, %v, %d grants, the service got %q", a.status, a.err, len(p.grants), b.site.fields)
	}
	if a := b.get("https://app.test/"); a.status != 200 || len(p.grants) != 1 {
		t.Errorf("again: got %d, %d grants", a.status, len(p.grants))
	}

	// Many requests with the old session share one renewal, those that come late among them.
	b = start(change)
	var wg sync.WaitGroup
	old := maps.Clone(b.cookies)
	for range 20 {
		wg.Go(func() {
			other := newBrowser(&site{t: t, guard: b.site.guard})
			other.cookies = maps.Clone(old)
			if a := other.get("https://app.test/"); a.status != 200 {
				t.Errorf("got %d, %v", a.status, a.err)
			}
		})
	}
	wg.Wait()
	if len(p.grants) != 1 {
		t.Errorf("%d grants for 20 requests", len(p.grants))
	}

	// A refresh token that is not good any more ends the session.
	b = start(nil)
	p.set(func() { p.refresh = "revoked" })
	if a := b.get("https://app.test/"); a.status != 302 || b.site.calls > 0 || b.cookies["login-session"] != "" {
		t.Errorf("revoked: got %d, %v", a.status, b.cookies)
	}
	b.cookies = old
	// A provider that is away is no reason to log in again.
	b = start(nil)
	p.set(func() { p.down = true })
	if a := b.get("https://app.test/"); a.status != 503 || b.site.calls > 0 || b.cookies["login-session"] == "" {
		t.Errorf("away: got %d", a.status)
	}
	p.set(func() { p.down = false })
	time.Sleep(holdBad + 100*time.Millisecond)
	if a := b.get("https://app.test/"); a.status != 200 {
		t.Errorf("back: got %d, %v", a.status, a.err)
	}
	// Somebody else's token, and one that is not good, end the session; none keeps the old one.
	for name, c := range map[string]struct {
		claims, answer map[string]any
		want           int
	}{"another user": {map[string]any{"sub": "eve"}, nil, 302}, "another issuer": {map[string]any{"iss": "https://evil.test"}, nil, 302}, "no ID token": {nil, map[string]any{"id_token": nil}, 200}} {
		p.set(func() { p.claims, p.answer = map[string]any{}, map[string]any{} })
		b = start(nil)
		p.set(func() { edit(p.claims, c.claims); p.answer = c.answer })
		if a := b.get("https://app.test/"); a.status != c.want {
			t.Errorf("%s: got %d, %v", name, a.status, a.err)
		}
	}
	p.set(func() { p.claims, p.answer = map[string]any{}, map[string]any{} })
	// Switched off, or without a refresh token, sessions live on.
	b = start(func(c *dynamic.OIDC) { c.Session.Refresh = new(false) })
	if a := b.get("https://app.test/"); a.status != 200 || len(p.grants) != 0 {
		t.Errorf("switched off: got %d, %d grants", a.status, len(p.grants))
	}
	p.set(func() { p.answer = map[string]any{"refresh_token": nil} })
	b = start(nil)
	if a := b.get("https://app.test/"); a.status != 200 || len(p.grants) != 0 {
		t.Errorf("no refresh token: got %d, %d grants", a.status, len(p.grants))
	}
}

func TestLogout(t *testing.T) {
	p := newProvider(t)
	for _, c := range []struct {
		name   string
		change func(*dynamic.OIDC)
		end    bool // the provider logs out
		want   string
	}{
		{"here only", func(c *dynamic.OIDC) { c.LogoutURL = "/logout" }, false, ""},
		{"here, then there", func(c *dynamic.OIDC) { c.LogoutURL, c.PostLogoutRedirectURL = "/logout", "www.test/bye" }, false, "https://www.test/bye"},
		{"at the provider", func(c *dynamic.OIDC) { c.LogoutURL = "/logout" }, true, "/end?client_id=client&id_token_hint="},
		{"at the provider, then there", func(c *dynamic.OIDC) { c.LogoutURL, c.PostLogoutRedirectURL = "/logout", "/bye" }, true, "/end?client_id=client&id_token_hint="},
	} {
		p.set(func() {
			delete(p.discover, "end_session_endpoint")
			if !c.end {
				p.discover["end_session_endpoint"] = ""
			}
		})
		s := newSite(t, config(p, func(o *dynamic.OIDC) { o.CSRF = &dynamic.OIDCCSRF{}; o.CSRF.SetDefaults(); c.change(o) }))
		b := newBrowser(s)
		b.login(p, "https://app.test/", nil)
		b.get("https://app.test/")
		kept := maps.Clone(b.cookies)
		a := b.get("https://app.test/logout")
		if len(b.cookies) > 0 || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v, %v", c.name, b.cookies, a.header)
		}
		switch {
		case c.want == "":
			if a.status != 200 {
				t.Errorf("%s: got %d", c.name, a.status)
			}
		case c.end:
			u, _ := url.Parse(a.location)
			after := u.Query().Get("post_logout_redirect_uri")
			if !strings.HasPrefix(a.location, p.URL+c.want) || (after == "https://app.test/bye") != strings.Contains(c.name, "then") {
				t.Errorf("%s: went to %q", c.name, a.location)
			}
		default:
			if a.location != c.want {
				t.Errorf("%s: went to %q", c.name, a.location)
			}
		}
		// The session is over, also for who has kept its cookie.
		b.cookies = kept
		if a := b.get("https://app.test/"); a.status != 302 || s.calls != 1 {
			t.Errorf("%s: the session goes on: %d", c.name, a.status)
		}
		// Without a session there is nothing to end.
		b.cookies = map[string]string{}
		if a := b.get("https://app.test/logout"); a.status != 200 && a.status != 302 || strings.Contains(a.location, "/end") {
			t.Errorf("%s: nobody: %d %q", c.name, a.status, a.location)
		}
	}
}

func TestBackchannelLogout(t *testing.T) {
	p := newProvider(t)
	s := newSite(t, config(p, func(c *dynamic.OIDC) { c.BackchannelLogoutURL = "/bye" }))
	token := func(change map[string]any) string {
		c := map[string]any{"iss": p.URL, "aud": "client", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(), "jti": "j", "sid": "sid-1", "sub": "ann",
			"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}
		edit(c, change)
		return p.sign(c)
	}
	provider := newBrowser(s)
	tell := func(body, kind string) int {
		return provider.do("POST", "https://app.test/bye", body, "Content-Type: "+kind).status
	}
	const form = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		name, body, kind string
		want             int
		ends             bool
	}{
		{"session", "logout_token=" + token(nil), form, 200, true},
		{"user", "logout_token=" + token(map[string]any{"sid": nil}), form + "; charset=utf-8", 200, true},
		{"another session", "logout_token=" + token(map[string]any{"sid": "sid-2"}), form, 200, false},
		{"another user", "logout_token=" + token(map[string]any{"sid": nil, "sub": "bob"}), form, 200, false},
		{"before this session", "logout_token=" + token(map[string]any{"iat": time.Now().Add(-time.Hour).Unix()}), form, 200, false},
		{"nobody", "logout_token=" + token(map[string]any{"sid": nil, "sub": nil}), form, 400, false},
		{"no event", "logout_token=" + token(map[string]any{"events": nil}), form, 400, false},
		{"an ID token", "logout_token=" + token(map[string]any{"events": nil, "nonce": "x"}), form, 400, false},
		{"another audience", "logout_token=" + token(map[string]any{"aud": "x"}), form, 400, false},
		{"another issuer", "logout_token=" + token(map[string]any{"iss": "x"}), form, 400, false},
		{"expired", "logout_token=" + token(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), form, 400, false},
		{"junk", "logout_token=junk", form, 400, false},
		{"none", "a=b", form, 400, false},
		{"two", "logout_token=" + token(nil) + "&logout_token=x", form, 400, false},
		{"no form", "logout_token=" + token(nil), "text/plain", 400, false},
		{"too large", "a=" + strings.Repeat("x", maxLogout) + "&logout_token=" + token(nil), form, 413, false},
	} {
		b := newBrowser(s)
		b.login(p, "https://app.test/", nil)
		s.guard.ended.mu.Lock()
		clear(s.guard.ended.at)
		s.guard.ended.mu.Unlock()
		if got := tell(c.body, c.kind); got != c.want {
			t.Errorf("%s: got %d", c.name, got)
		}
		if a := b.get("https://app.test/"); (a.status == 302) != c.ends {
			t.Errorf("%s: the session got %d", c.name, a.status)
		}
	}
	if a := provider.get("https://app.test/bye"); a.status != 405 {
		t.Errorf("GET: %d", a.status)
	}
	s.build(config(p, func(c *dynamic.OIDC) { c.BackchannelLogoutURL, c.BackchannelLogoutSessionsRequired = "/bye", true }))
	if got := tell("logout_token="+token(map[string]any{"sid": nil}), form); got != 400 {
		t.Errorf("without the required session: %d", got)
	}
	p.set(func() { p.dark = true })
	fresh := newSite(t, config(p, func(c *dynamic.OIDC) { c.BackchannelLogoutURL = "/bye" }))
	provider.site = fresh
	if got := tell("logout_token="+token(nil), form); got != 503 {
		t.Errorf("without the provider: %d", got)
	}
}

func TestEndedIsBounded(t *testing.T) {
	e := &ended{}
	now := time.Now().Unix()
	for i := range maxEnded + 10 {
		e.end(bySID, strconv.Itoa(i), now, time.Hour)
	}
	if len(e.at) > maxEnded {
		t.Errorf("%d are kept", len(e.at))
	}
	// Those that are not remembered one by one have ended with all others.
	if !e.has(&session{Begun: now - 100}) || e.has(&session{Begun: now + 100}) {
		t.Error("sessions from before go on")
	}
	e = &ended{}
	for i := range maxEnded {
		e.end(bySID, strconv.Itoa(i), now-7200, time.Hour)
	}
	if e.end(bySID, "y", now, time.Hour); len(e.at) != 1 || e.before != 0 {
		t.Errorf("%d old ones are kept", len(e.at))
	}
}

func TestCSRF(t *testing.T) {
	p := newProvider(t)
	s := newSite(t, config(p, func(c *dynamic.OIDC) { c.CSRF = &dynamic.OIDCCSRF{}; c.CSRF.SetDefaults() }))
	b := newBrowser(s)
	b.login(p, "https://app.test/", nil)
	a := b.get("https://app.test/")
	token := b.cookies[csrfCookie]
	if a.status != 200 || token == "" || !strings.HasSuffix(b.last[0], "; Path=/; Max-Age=86400; Secure; SameSite=Lax") {
		t.Fatalf("got %d, %q", a.status, b.last)
	}
	other := newBrowser(s)
	other.login(p, "https://app.test/", nil)
	other.get("https://app.test/")
	for _, c := range []struct {
		name, method string
		fields       []string
		want         int
	}{
		{"with the token", "POST", []string{"Hub-Csrf-Token: " + token}, 200},
		{"without", "POST", nil, 403},
		{"DELETE without", "DELETE", nil, 403},
		{"wrong", "POST", []string{"Hub-Csrf-Token: x"}, 403},
		{"empty", "POST", []string{"Hub-Csrf-Token: "}, 403},
		{"of another session", "POST", []string{"Hub-Csrf-Token: " + other.cookies[csrfCookie]}, 403},
		{"twice", "POST", []string{"Hub-Csrf-Token: " + token, "Hub-Csrf-Token: " + token}, 403},
		{"underscores", "POST", []string{"Hub_Csrf_Token: " + token}, 403},
		{"HEAD", "HEAD", nil, 200},
		{"WebSocket of this page", "GET", []string{"Upgrade: websocket", "Origin: https://app.test"}, 200},
		{"WebSocket of another page", "GET", []string{"Upgrade: websocket", "Origin: https://evil.test"}, 403},
	} {
		if a := b.do(c.method, "https://app.test/", "", c.fields...); a.status != c.want {
			t.Errorf("%s: got %d", c.name, a.status)
		}
	}
	// A forged cookie does not make a forged header good.
	b.cookies[csrfCookie] = "x"
	if a := b.do("POST", "https://app.test/", "", "Hub-Csrf-Token: x"); a.status != 403 {
		t.Errorf("got %d", a.status)
	}
}

// TestReloads holds that sessions and what is known of the provider outlive changes of the configuration.
func TestReloads(t *testing.T) {
	p := newProvider(t)
	for name, c := range map[string]*dynamic.OIDC{"secret": config(p, nil), "no secret": config(p, func(c *dynamic.OIDC) { c.ClientSecret = secret.String{} })} {
		s := newSite(t, c)
		b := newBrowser(s)
		b.login(p, "https://app.test/", nil)
		asked := p.asked
		changed := *c
		changed.ForwardHeaders = map[string]string{"X-User": "sub"}
		s.state.Begin()
		s.build(&changed)
		s.state.Sweep()
		if a := b.get("https://app.test/"); a.status != 200 || !slices.Equal(s.has("X-User"), []string{"ann"}) {
			t.Errorf("%s: got %d", name, a.status)
		}
		newBrowser(s).get("https://app.test/")
		if p.asked != asked {
			t.Errorf("%s: the provider was asked again", name)
		}
	}
}

func TestClientAuthentication(t *testing.T) {
	p := newProvider(t)
	p.discover["token_endpoint_auth_methods_supported"] = []string{"client_secret_post", "private_key_jwt"}
	newBrowser(newSite(t, config(p, nil))).login(p, "https://app.test/", nil)
	if p.auth[0] != "" || p.grants[0].Get("client_secret") != "the client's secret" || p.grants[0].Get("client_id") != "client" {
		t.Errorf("got %q, %v", p.auth[0], p.grants[0])
	}
}

func TestMethods(t *testing.T) {
	p := newProvider(t)
	b := newBrowser(newSite(t, config(p, nil)))
	back := p.authorize(b.get("https://app.test/").location, nil)
	if a := b.do("POST", back, ""); a.status != http.StatusMethodNotAllowed {
		t.Errorf("got %d", a.status)
	}
}
