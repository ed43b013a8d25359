package oidc

import (
	"context"
	"maps"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/secret"
	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/httpmsg"
)

func stored(p *fakeProvider, address string, change func(*dynamic.OIDC)) *dynamic.OIDC {
	return config(p, func(c *dynamic.OIDC) {
		c.Session.Store = &dynamic.TokenStore{Redis: &dynamic.RedisStore{Endpoints: []string{address}, Timeout: dynamic.Seconds(2)}}
		if change != nil {
			change(c)
		}
	})
}

func TestStore(t *testing.T) {
	redis := miniredis.RunT(t)
	p := newProvider(t)
	p.claims["big"] = strings.Repeat("x", 30_000) // has no room in cookies
	change := func(c *dynamic.OIDC) {
		c.BackchannelLogoutURL, c.LogoutURL, c.UsernameClaim = "/bye", "/logout", "sub"
	}
	// Two instances share sessions.
	one, two := newSite(t, stored(p, redis.Addr(), change)), newSite(t, stored(p, redis.Addr(), change))
	b := newBrowser(one)
	if a := b.login(p, "https://app.test/", nil); a.status != 302 {
		t.Fatalf("got %d, %v", a.status, a.err)
	}
	if len(b.cookieLine()) > 100 {
		t.Errorf("cookies %q", b.cookieLine())
	}
	b.site = two
	if a := b.get("https://app.test/"); a.status != 200 || a.user != "ann" {
		t.Errorf("the other instance: %d, %v", a.status, a.err)
	}
	// The store shows nothing of a session, neither content nor what a browser would have to send.
	id := strings.TrimPrefix(b.cookies["login-session"], "1.")
	for _, key := range redis.Keys() {
		v, _ := redis.Get(key)
		if strings.Contains(key+v, id) || strings.Contains(v, `"sub"`) || strings.Contains(v, "eyJhbGciOi") || !strings.HasPrefix(key, "sluice:oidc:login@file:") {
			t.Errorf("%s shows too much", key)
		}
		if redis.TTL(key) <= 0 {
			t.Errorf("%s lives for ever", key)
		}
	}
	// Somebody else's session under this name does not open.
	forged := newBrowser(one)
	forged.login(p, "https://app.test/", nil)
	other := strings.TrimPrefix(forged.cookies["login-session"], "1.")
	v, _ := redis.Get(one.guard.store.key("session", id))
	redis.Set(one.guard.store.key("session", other), v)
	if a := forged.get("https://app.test/"); a.status != 302 {
		t.Errorf("a moved session: %d", a.status)
	}
	// Logging out at one instance ends the session at both.
	kept := maps.Clone(b.cookies)
	b.get("https://app.test/logout")
	b.cookies, b.site = kept, one
	if a := b.get("https://app.test/"); a.status != 302 {
		t.Errorf("after the logout: %d", a.status)
	}
	// So does the provider.
	b = newBrowser(one)
	b.login(p, "https://app.test/", nil)
	token := p.sign(map[string]any{"iss": p.URL, "aud": "client", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(), "jti": "j", "sub": "ann",
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}})
	if a := newBrowser(two).do("POST", "https://app.test/bye", "logout_token="+url.QueryEscape(token), "Content-Type: application/x-www-form-urlencoded"); a.status != 200 {
		t.Errorf("back-channel: %d, %v", a.status, a.err)
	}
	if a := b.get("https://app.test/"); a.status != 302 {
		t.Errorf("after the provider's logout: %d", a.status)
	}
	// It sets its own end.
	b = newBrowser(one)
	b.login(p, "https://app.test/", nil)
	redis.FastForward(25 * time.Hour)
	if a := b.get("https://app.test/"); a.status != 302 {
		t.Errorf("after a day: %d", a.status)
	}
	// A store that is away lets nobody pass.
	b = newBrowser(one)
	b.login(p, "https://app.test/", nil)
	redis.SetError("LOADING")
	calls := one.calls
	if a := b.get("https://app.test/"); a.status != 503 || one.calls != calls {
		t.Errorf("without the store: %d", a.status)
	}
	redis.SetError("")
	if a := b.get("https://app.test/"); a.status != 200 {
		t.Errorf("with the store again: %d, %v", a.status, a.err)
	}
}

// TestStoreRenews holds that instances use a refresh token once between them.
func TestStoreRenews(t *testing.T) {
	redis := miniredis.RunT(t)
	p := newProvider(t)
	p.life = 1
	one, two := newSite(t, stored(p, redis.Addr(), nil)), newSite(t, stored(p, redis.Addr(), nil))
	b := newBrowser(one)
	b.login(p, "https://app.test/", nil)
	time.Sleep(1100 * time.Millisecond)
	p.set(func() { p.grants, p.life = nil, 3600 })
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			other := newBrowser(&site{t: t, guard: []*guard{one.guard, two.guard}[i%2]})
			other.cookies = maps.Clone(b.cookies)
			if a := other.get("https://app.test/"); a.status != 200 {
				t.Errorf("got %d, %v", a.status, a.err)
			}
		})
	}
	wg.Wait()
	if len(p.grants) != 1 {
		t.Errorf("%d grants", len(p.grants))
	}
	if a := b.get("https://app.test/"); a.status != 200 {
		t.Errorf("got %d", a.status)
	}
	for _, key := range redis.Keys() {
		if strings.Contains(key, ":lock:") {
			t.Error("the lock was not given back")
		}
	}
	// One that fails ends in time, and leaves the session for later.
	p.set(func() { p.life = 1 })
	b = newBrowser(one)
	b.login(p, "https://app.test/", nil)
	time.Sleep(1100 * time.Millisecond)
	p.set(func() { p.down = true })
	for range 3 {
		if a := b.get("https://app.test/"); a.status != 503 {
			t.Errorf("got %d", a.status)
		}
	}
	p.set(func() { p.down = false })
	time.Sleep(holdBad + 100*time.Millisecond)
	if a := b.get("https://app.test/"); a.status != 200 {
		t.Errorf("got %d, %v", a.status, a.err)
	}
}

// agedInStore changes a session in the store, and returns it as a request finds it then.
func (b *browser) agedInStore(t *testing.T, last, expires time.Duration) *session {
	t.Helper()
	g := b.site.guard
	id := strings.TrimPrefix(b.cookies["login-session"], "1.")
	s, err := g.fetch(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s.Last, s.Expires = now.Add(-last).Unix(), now.Add(expires).Unix()
	if err := g.put(t.Context(), s, false); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestStoredRenewalOutlivesClient holds that a refresh token which was used up for a client that left is replaced in the store.
func TestStoredRenewalOutlivesClient(t *testing.T) {
	redis := miniredis.RunT(t)
	p := newProvider(t)
	b := newBrowser(newSite(t, stored(p, redis.Addr(), nil)))
	b.login(p, "https://app.test/", nil)
	s := b.agedInStore(t, 0, -time.Minute)
	g := b.site.guard
	ctx, leave := context.WithCancel(t.Context())
	p.mu.Lock() // the provider takes its time
	done := make(chan error, 1)
	go func() {
		_, err := g.renewStored(ctx, s)
		done <- err
	}()
	for deadline := time.Now().Add(10 * time.Second); !redis.Exists(g.store.key("lock", s.stored)); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			p.mu.Unlock()
			t.Fatal("nobody renews")
		}
	}
	leave()
	p.mu.Unlock()
	if err := <-done; err != nil {
		t.Error(err)
	}
	now, err := g.fetch(t.Context(), s.stored)
	if err != nil || now.Refresh == s.Refresh || now.stale(time.Now()) {
		t.Errorf("the store has the session %+v, %v", now, err)
	}
}

// TestStoredSessionsSlide holds that a renewal of tokens does not keep a session from sliding, in the store or in the browser.
func TestStoredSessionsSlide(t *testing.T) {
	redis := miniredis.RunT(t)
	p := newProvider(t)
	b := newBrowser(newSite(t, stored(p, redis.Addr(), func(c *dynamic.OIDC) { c.Session.Sliding = new(true) })))
	b.login(p, "https://app.test/", nil)
	old := b.agedInStore(t, 20*time.Hour, -time.Minute)
	if a := b.get("https://app.test/"); a.status != 200 || len(b.last) == 0 {
		t.Fatalf("got %d, cookies %q, %v", a.status, b.last, a.err)
	}
	g := b.site.guard
	s, err := g.fetch(t.Context(), old.stored)
	if err != nil || s.Refresh == old.Refresh || time.Since(time.Unix(s.Last, 0)) > time.Minute {
		t.Errorf("the store has %+v, %v", s, err)
	}
	if left := redis.TTL(g.store.key("session", old.stored)); left < 23*time.Hour {
		t.Errorf("it lives for %v", left)
	}
	if a := b.get("https://app.test/"); a.status != 200 || len(b.last) > 0 {
		t.Errorf("again: %d, cookies %q", a.status, b.last)
	}
}

// TestEndedStaysEnded holds that a session which is ended while a request with it is under way does not come back.
func TestEndedStaysEnded(t *testing.T) {
	redis := miniredis.RunT(t)
	p := newProvider(t)
	b := newBrowser(newSite(t, stored(p, redis.Addr(), func(c *dynamic.OIDC) { c.Session.Sliding = new(true) })))
	b.login(p, "https://app.test/", nil)
	s := b.agedInStore(t, 20*time.Hour, time.Hour)
	g := b.site.guard
	if err := g.store.drop(t.Context(), s.stored); err != nil {
		t.Fatal(err)
	}
	x := &httpmsg.Exchange{}
	if now, lines, err := g.current(x, s); now != nil || lines != nil || err != nil {
		t.Errorf("got %+v, %q, %v", now, lines, err)
	}
	if err := g.put(t.Context(), s, false); err != errGrant {
		t.Errorf("storing it: %v", err)
	}
	for _, key := range redis.Keys() {
		if strings.Contains(key, ":session:") {
			t.Error("the session is back")
		}
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		key    string
		change func(*dynamic.OIDC)
	}{
		{"issuer", func(c *dynamic.OIDC) { c.Issuer = "issuer.test" }},
		{"clientId", func(c *dynamic.OIDC) { c.ClientID = "" }},
		{"redirectUrl", func(c *dynamic.OIDC) { c.RedirectURL = "" }},
		{"redirectUrl", func(c *dynamic.OIDC) { c.RedirectURL = "//evil.test/x" }},
		{"redirectUrl", func(c *dynamic.OIDC) { c.RedirectURL = "ftp://a.test/" }},
		{"redirectUrl", func(c *dynamic.OIDC) { c.RedirectURL = "https://user@a.test/" }},
		{"loginUrl", func(c *dynamic.OIDC) { c.LoginURL = "/a#b" }},
		{"logoutUrl", func(c *dynamic.OIDC) { c.LogoutURL = "https://a b/" }},
		{"postLoginRedirectUrl", func(c *dynamic.OIDC) { c.PostLoginRedirectURL = "javascript:alert(1)" }},
		{"postLogoutRedirectUrl", func(c *dynamic.OIDC) { c.PostLogoutRedirectURL = "/\r\nX: y" }},
		{"backchannelLogoutUrl", func(c *dynamic.OIDC) { c.BackchannelLogoutURL = "http://" }},
		{"scopes", func(c *dynamic.OIDC) { c.Scopes = []string{"email"} }},
		{"scopes[1]", func(c *dynamic.OIDC) { c.Scopes = []string{"openid", "a b"} }},
		{"authParams.State", func(c *dynamic.OIDC) { c.AuthParams = map[string]string{"State": "x"} }},
		{"stateCookie.name", func(c *dynamic.OIDC) { c.StateCookie.Name = "a b" }},
		{"stateCookie.path", func(c *dynamic.OIDC) { c.StateCookie.Path = "a" }},
		{"stateCookie.domain", func(c *dynamic.OIDC) { c.StateCookie.Domain = "a;b" }},
		{"stateCookie.sameSite", func(c *dynamic.OIDC) { c.StateCookie.SameSite = "loose" }},
		{"stateCookie.maxAge", func(c *dynamic.OIDC) { c.StateCookie.MaxAge = 0 }},
		{"session.expiry", func(c *dynamic.OIDC) { c.Session.Expiry = -1 }},
		{"session.path", func(c *dynamic.OIDC) { c.Session.Path = "/; Domain=x" }},
		{"session.name", func(c *dynamic.OIDC) { c.Session.Name, c.StateCookie.Name = "x", "x" }},
		{"session.store.redis.endpoints[0]", func(c *dynamic.OIDC) {
			c.Session.Store = &dynamic.TokenStore{Redis: &dynamic.RedisStore{Endpoints: []string{"redis"}}}
		}},
		{"session.store.redis.sentinel.masterSet", func(c *dynamic.OIDC) {
			c.Session.Store = &dynamic.TokenStore{Redis: &dynamic.RedisStore{Endpoints: []string{"redis:1"}, Sentinel: &dynamic.RedisSentinel{}}}
		}},
		{"csrf.headerName", func(c *dynamic.OIDC) { c.CSRF = &dynamic.OIDCCSRF{HeaderName: "a b"} }},
		{"claims", func(c *dynamic.OIDC) { c.Claims = "x" }},
		{"forwardHeaders.Host", func(c *dynamic.OIDC) { c.ForwardHeaders = map[string]string{"Host": "sub"} }},
		{"clientConfig.maxRetries", func(c *dynamic.OIDC) { c.ClientConfig.MaxRetries = 100 }},
	} {
		m := &dynamic.Middleware{OIDC: config(nil, c.change)}
		l := Kind().Check(m)
		if err := middleware.Refusal(l); err == nil || !strings.HasPrefix(err.Error(), "oidc."+c.key+": ") {
			t.Errorf("%s: got %v", c.key, l)
		}
		if _, err := Kind().Build(m, middleware.Env{}, nil); err == nil {
			t.Errorf("%s: was built", c.key)
		}
	}
	for _, c := range []struct {
		key    string
		change func(*dynamic.OIDC)
	}{
		{"issuer", func(c *dynamic.OIDC) { c.Issuer = "http://issuer.test" }},
		{"disableIssuerCheck", func(c *dynamic.OIDC) { c.DisableIssuerCheck = true }},
		{"redirectUrl", func(c *dynamic.OIDC) { c.RedirectURL = "https://app.test" }},
		{"postLoginRedirectUrl", func(c *dynamic.OIDC) { c.PostLoginRedirectURL = "/x" }},
		{"postLogoutRedirectUrl", func(c *dynamic.OIDC) { c.PostLogoutRedirectURL = "/x" }},
		{"session.sameSite", func(c *dynamic.OIDC) { c.Session.SameSite = "Strict" }},
		{"stateCookie.sameSite", func(c *dynamic.OIDC) { c.StateCookie.SameSite = "none" }},
		{"clientSecret", func(c *dynamic.OIDC) { c.ClientSecret = secret.String{} }},
		{"backchannelLogoutUrl", func(c *dynamic.OIDC) { c.BackchannelLogoutURL = "/bye" }},
	} {
		l := Kind().Check(&dynamic.Middleware{OIDC: config(nil, c.change)})
		if len(l) != 1 || l[0].Key != "oidc."+c.key || middleware.Refusal(l) != nil {
			t.Errorf("%s: got %v", c.key, l)
		}
	}
	if l := Kind().Check(&dynamic.Middleware{OIDC: config(nil, func(c *dynamic.OIDC) { c.StateCookie, c.Session = nil, nil })}); len(l) > 0 {
		t.Errorf("got %v", l)
	}
}
