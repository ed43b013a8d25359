//go:build unix

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sluice/internal/testkit/oidcserver"
)

const loginHost = "login.mydomain.com"

// browser starts Chromium, which finds the given hosts at addresses, and nothing else.
func browser(t *testing.T, limit time.Duration, hosts map[string]string) context.Context {
	t.Helper()
	rules := ""
	for host, address := range hosts {
		rules += "MAP " + host + " " + address + ", "
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(need(t, "chromium")[0]), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(directory(t)), chromedp.IgnoreCertErrors, chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("host-resolver-rules", rules+"MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"))
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	ctx, endProcess := chromedp.NewExecAllocator(ctx, options...)
	ctx, endTab := chromedp.NewContext(ctx, chromedp.WithErrorf(t.Logf))
	t.Cleanup(func() { endTab(); endProcess(); cancel() })
	return ctx
}

// TestLoginWithABrowser has a real browser log in at a real provider, come back to the page that it wanted, be renewed without
// noticing, and log out at both.
func TestLoginWithABrowser(t *testing.T) {
	need(t, "chromium")
	provider := oidcserver.New(t, []string{"https://" + loginHost + "/callback"}, []string{"https://" + loginHost + "/bye"})
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><p id="path">%s?%s</p><p id="user">%s</p><p id="cookie">%s</p>`, r.URL.Path, r.URL.RawQuery, r.Header.Get("X-User"), r.Header.Get("Cookie"))
	}))
	defer page.Close()
	e := startEdge(t, plan{dynamic: `
[http.routers.login]
  rule = "Host(` + "`" + loginHost + "`" + `)"
  service = "page"
  entryPoints = ["secure"]
  middlewares = ["login"]
  [http.routers.login.tls]
[http.routers.bye]
  rule = "Host(` + "`" + loginHost + "`" + `) && Path(` + "`/bye`" + `)"
  service = "page"
  entryPoints = ["secure"]
  [http.routers.bye.tls]
[[http.services.page.loadBalancer.servers]]
  url = "` + page.URL + `"
[http.middlewares.login.oidc]
  issuer = "` + provider.URL + `"
  redirectUrl = "/callback"
  clientId = "` + oidcserver.ClientID + `"
  clientSecret = "` + oidcserver.Secret + `"
  scopes = ["openid", "offline_access"]
  pkce = true
  logoutUrl = "/logout"
  postLogoutRedirectUrl = "/bye"
  [http.middlewares.login.oidc.forwardHeaders]
    X-User = "sub"
`})
	ctx := browser(t, 2*time.Minute, map[string]string{loginHost: e.secure})
	do := func(what string, actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, actions...); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	ask := func(action chromedp.Action[string]) string {
		t.Helper()
		v, err := chromedp.Run(ctx, action)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	seen := chromedp.WaitVisible("#path")
	content := func(id string) string { return ask(chromedp.TextContent(id)) }
	at := func() string { return ask(chromedp.Location()) }
	home := "https://" + loginHost
	provider.SetLife(time.Second)
	do("going to the page", chromedp.Navigate(home+"/deep/page?a=b"), chromedp.WaitVisible("#username"))
	if !strings.HasPrefix(at(), provider.URL) {
		t.Fatalf("the login is at %s", at())
	}
	do("logging in", chromedp.SendKeys("#username", provider.User), chromedp.SendKeys("#password", oidcserver.Password), chromedp.Click("#go"), seen)
	if at() != home+"/deep/page?a=b" || content("#path") != "/deep/page?a=b" || content("#user") != oidcserver.Subject || content("#cookie") != "" {
		t.Fatalf("at %s the server saw %q, user %q, cookies %q", at(), content("#path"), content("#user"), content("#cookie"))
	}
	if visible := ask(chromedp.Evaluate[string]("document.cookie")); visible != "" {
		t.Errorf("scripts see %q", visible)
	}

	provider.SetLife(time.Hour)
	time.Sleep(1100 * time.Millisecond) // the token runs out
	do("going on", chromedp.Navigate(home+"/more"), seen)
	if content("#path") != "/more?" || content("#user") != oidcserver.Subject {
		t.Errorf("after the renewal the server saw %q, user %q", content("#path"), content("#user"))
	}
	if got := provider.Grants(); got != "authorization_code refresh_token" {
		t.Errorf("grants: %s", got)
	}

	do("logging out", chromedp.Navigate(home+"/logout"), seen)
	if !strings.HasPrefix(at(), home+"/bye") || content("#user") != "" {
		t.Errorf("after the logout at %s, user %q", at(), content("#user"))
	}
	const script = `(() => { const r = new XMLHttpRequest(); r.open("GET", "/data", false); r.send(); return "" + r.status })()`
	if status := ask(chromedp.Evaluate[string](script)); status != "401" {
		t.Errorf("a script without a session got %s", status)
	}
	do("going to the page again", chromedp.Navigate(home+"/deep/page"), chromedp.WaitVisible("#username"))
}
