package app

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	josepkg "github.com/go-jose/go-jose/v4"

	"sluice/internal/testkit/oidcserver"
)

// echo is a server that tells the fields it got, as JSON.
func echo(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Header["Body"] = []string{string(body)}
		json.NewEncoder(w).Encode(r.Header)
	}))
	t.Cleanup(s.Close)
	return s
}

func told(t *testing.T, body string) http.Header {
	t.Helper()
	var h http.Header
	if err := json.Unmarshal([]byte(body), &h); err != nil {
		t.Fatalf("%v: %q", err, body)
	}
	return h
}

// guarded is a configuration in which the hosts NAME.test lead through the middleware NAME to a server. middlewares is YAML below
// http.middlewares, at an indentation of four.
func guarded(server, middlewares string, names ...string) string {
	var b strings.Builder
	b.WriteString("http:\n  routers:\n")
	for _, n := range names {
		fmt.Fprintf(&b, "    %[1]s: {rule: \"Host(`%[1]s.test`)\", service: s, middlewares: [%[1]s], entryPoints: [web]}\n", n)
		fmt.Fprintf(&b, "    %[1]s-tls: {rule: \"Host(`%[1]s.test`)\", service: s, middlewares: [%[1]s], entryPoints: [secure], tls: {}}\n", n)
	}
	fmt.Fprintf(&b, "  services:\n    s: {loadBalancer: {servers: [{url: %q}]}}\n  middlewares:\n", server)
	for line := range strings.Lines(middlewares) {
		b.WriteString("    " + line)
	}
	return b.String()
}

const (
	jwtSecret  = "0123456789abcdef0123456789abcdef"
	hmacSecret = "a key that is long enough"
)

func jwtOf(t *testing.T, claims string) string {
	t.Helper()
	s, err := josepkg.NewSigner(josepkg.SigningKey{Algorithm: josepkg.HS256, Key: []byte(jwtSecret)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := s.Sign([]byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := jws.CompactSerialize()
	return text
}

// hmacOf signs a GET of /x.
func hmacOf() string {
	created, expires := time.Now().Unix(), time.Now().Add(time.Minute).Unix()
	m := hmac.New(sha256.New, []byte(hmacSecret))
	fmt.Fprintf(m, "(request-target): get /x\n(created): %d\n(expires): %d", created, expires)
	return fmt.Sprintf(`Hmac keyId="ann",algorithm="hmac-sha256",headers="(request-target) (created) (expires)",signature="%s",created="%d",expires="%d"`,
		base64.StdEncoding.EncodeToString(m.Sum(nil)), created, expires)
}

// Each middleware that lets nobody but the right ones in, in both spellings, over every version of HTTP: with credentials and
// without, and with the client's own idea of who it is (FLD-03, FLD-08).
func TestIdentityMiddlewares(t *testing.T) {
	server := echo(t)
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Input struct{ Headers map[string]string }
		}
		json.NewDecoder(r.Body).Decode(&body)
		switch {
		case r.URL.Path == "/v1/data/app/name":
			io.WriteString(w, `{"result": "ann"}`)
		case body.Input.Headers["X-Role"] == "admin":
			io.WriteString(w, `{"result": true}`)
		default:
			io.WriteString(w, `{}`)
		}
	}))
	defer agent.Close()
	tellsUser := "forwardHeaders: {X-User: "
	r := start(t, twoEntryPoints, guarded(server.URL, `
apikey: {apiKey: {keySource: {header: X-Api-Key}, secretNonBase64Encoded: true, keys: [{id: ann, secretValue: "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="}], `+tellsUser+`id}}}
apikey2: {plugin: {apiKey: {keySource: {header: X-Api-Key}, secretNonBase64Encoded: "true", secretValues: ["{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="], `+tellsUser+`id}}}}
jwt: {jwt: {signingSecret: "`+jwtSecret+`", claims: "Equals(`+"`grp`, `admin`"+`)", `+tellsUser+`sub}}}
jwt2: {plugin: {jwt: {signingSecret: "`+jwtSecret+`", `+tellsUser+`sub}}}}
hmac: {hmac: {keys: [{id: ann, key: "`+hmacSecret+`"}]}}
hmac2: {plugin: {hmac: {keys: [{id: ann, key: "`+hmacSecret+`"}], validateDigest: "false"}}}
opa: {opa: {url: "`+agent.URL+`", allow: data.app.allow, `+tellsUser+`data.app.name}}}
policy: {policy: {allow: "Header(`+"`X-Role`, `admin`"+`)"}}
both: {chain: {middlewares: [jwt2, ann]}}
ann: {policy: {users: [ann]}}
nokeys: {jwt: {claims: "Equals(`+"`a`, `b`"+`)"}}
away: {jwt: {jwksUrl: "http://127.0.0.1:1/keys", clientConfig: {maxRetries: 0, timeoutSeconds: 1}}}
rego: {plugin: {opa: {policy: "package a", allow: data.a.allow}}}
`, "apikey", "apikey2", "jwt", "jwt2", "hmac", "hmac2", "opa", "policy", "both", "nokeys", "away", "rego"))
	good := jwtOf(t, `{"sub": "ann", "grp": "admin"}`)
	rows := []struct {
		name   string
		fields []string
		want   int
		user   string // what the server is told; "-" where it is told nothing
	}{
		{"apikey", nil, 401, ""}, {"apikey", []string{"X-Api-Key", "secret"}, 200, "ann"}, {"apikey", []string{"X-Api-Key", "wrong"}, 401, ""}, {"apikey", []string{"X_Api_Key", "secret"}, 401, ""},
		{"apikey2", nil, 401, ""}, {"apikey2", []string{"X-Api-Key", "secret"}, 200, "-"},
		{"jwt", nil, 401, ""}, {"jwt", []string{"Authorization", "Bearer " + good}, 200, "ann"}, {"jwt", []string{"Authorization", "Bearer " + good + "x"}, 401, ""},
		{"jwt", []string{"Authorization", "Bearer " + jwtOf(t, `{"sub": "ann"}`)}, 403, ""}, {"jwt", []string{"Authorization", "Bearer " + jwtOf(t, `{"sub": "ann", "grp": "admin", "exp": 1}`)}, 401, ""},
		{"jwt2", nil, 401, ""}, {"jwt2", []string{"Authorization", "Bearer " + good}, 200, "ann"},
		{"hmac", nil, 401, ""}, {"hmac", []string{"Authorization", hmacOf()}, 200, "*"}, {"hmac2", nil, 401, ""}, {"hmac2", []string{"Authorization", hmacOf()}, 200, "*"},
		{"opa", nil, 403, ""}, {"opa", []string{"X-Role", "admin"}, 200, "ann"},
		{"policy", nil, 403, ""}, {"policy", []string{"X-Role", "admin"}, 200, "*"},
		{"both", []string{"Authorization", "Bearer " + good}, 403, ""}, // jwt2 names no user to policy
		{"nokeys", []string{"Authorization", "Bearer " + good}, 503, ""}, {"away", nil, 401, ""}, {"rego", nil, 503, ""},
	}
	eachTransport(t, r, func(t *testing.T, c *http.Client, origin func(string) string) {
		for _, row := range rows {
			forged := append([]string{"X-User", "forged", "x_user", "forged", "X_USER", "forged"}, row.fields...)
			if !strings.Contains(t.Name(), "/h2") {
				forged = append(forged, "Connection", "X-User")
			}
			a := must(t, c, "GET", origin(row.name+".test")+"/x", "", forged...)
			at := fmt.Sprintf("%s %.60q", row.name, row.fields)
			if a.status != row.want {
				t.Errorf("%s: got %d %s", at, a.status, a.header.Get("Sluice-Error"))
				continue
			}
			if strings.Contains(a.body, jwtSecret) || strings.Contains(a.body, good) && a.status != 200 {
				t.Errorf("%s: the answer shows a secret", at)
			}
			if row.want == 401 && a.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s: no challenge", at)
			}
			if row.want != 200 || row.user == "*" {
				continue
			}
			h := told(t, a.body)
			var names []string
			for name, values := range h {
				if strings.EqualFold(strings.ReplaceAll(name, "_", "-"), "X-User") {
					names = append(names, values...)
				}
			}
			got := strings.Join(names, ",")
			if want := strings.TrimPrefix(row.user, "-"); got != want {
				t.Errorf("%s: the server was told %q", at, got)
			}
		}
	})
}

// A user logs in at a real provider, is known to the server, gets new tokens, and logs out, over every version of HTTP.
func TestLoginAtAProvider(t *testing.T) {
	var redirects, after []string
	for _, scheme := range []string{"http", "https"} {
		redirects, after = append(redirects, scheme+"://login.test/callback"), append(after, scheme+"://login.test/bye")
	}
	provider := oidcserver.New(t, redirects, after)
	server := echo(t)
	r := start(t, twoEntryPoints, guarded(server.URL, `
login:
  plugin:
    oidc:
      issuer: "`+provider.URL+`"
      redirectUrl: /callback
      clientId: `+oidcserver.ClientID+`
      clientSecret: "`+oidcserver.Secret+`"
      scopes: [openid, email, offline_access]
      pkce: "true"
      logoutUrl: /logout
      postLogoutRedirectUrl: /bye
      claims: "Equals(`+"`email_verified`, `true`"+`)"
      forwardHeaders: {X-User: sub, X-Mail: email}
      csrf: {}
`, "login"))
	eachTransport(t, r, func(t *testing.T, c *http.Client, origin func(string) string) {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		c.Jar = jar
		base := origin("login.test")
		provider.Grants()
		provider.SetLife(time.Second)

		page := base + "/page?a=b"
		a := must(t, c, "GET", page, "", "Accept", "text/html")
		if a.status != 302 || !strings.HasPrefix(a.header.Get("Location"), provider.URL+"/authorize?") {
			t.Fatalf("got %d %q", a.status, a.header.Get("Location"))
		}
		if a := must(t, c, "GET", page, "", "Accept", "application/json"); a.status != 401 {
			t.Errorf("a script got %d", a.status)
		}
		back := provider.LogIn(t, a.header.Get("Location"))
		if a = must(t, c, "GET", back, ""); a.status != 302 || a.header.Get("Location") != page {
			t.Fatalf("back at %q: got %d %q %s", back, a.status, a.header.Get("Location"), a.header.Get("Sluice-Error"))
		}
		if a = must(t, c, "GET", page, "", "X-User", "forged", "x_mail", "forged"); a.status != 200 {
			t.Fatalf("got %d %s", a.status, a.header.Get("Sluice-Error"))
		}
		h := told(t, a.body)
		if fmt.Sprint(h["X-User"], h["X-Mail"], h["X_mail"], h["Cookie"]) != "["+oidcserver.Subject+"] [test-user@zitadel.ch] [] []" {
			t.Errorf("the server was told %v", h)
		}

		provider.SetLife(time.Hour)
		time.Sleep(1100 * time.Millisecond) // the token runs out
		if a := must(t, c, "GET", page, ""); a.status != 200 {
			t.Errorf("with a token that ran out: %d %s", a.status, a.header.Get("Sluice-Error"))
		}
		if got := provider.Grants(); got != "authorization_code refresh_token" {
			t.Errorf("grants: %s", got)
		}
		if a := must(t, c, "POST", page, "x=y"); a.status != 403 {
			t.Errorf("a forged form got %d", a.status)
		}
		if a := must(t, c, "POST", page, "x=y", "Hub-Csrf-Token", cookieOf(jar, base, "traefikee-csrf-token")); a.status != 200 || told(t, a.body).Get("Body") != "x=y" {
			t.Errorf("a form got %d", a.status)
		}

		a = must(t, c, "GET", base+"/logout", "")
		u, err := url.Parse(a.header.Get("Location"))
		if err != nil || a.status != 302 || u.Path != "/end_session" {
			t.Fatalf("the logout led to %d %q", a.status, a.header.Get("Location"))
		}
		res, err := (&http.Client{CheckRedirect: c.CheckRedirect}).Get(u.String())
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if to := res.Header.Get("Location"); !strings.HasPrefix(to, base+"/bye") {
			t.Errorf("the provider led to %d %q", res.StatusCode, to)
		}
		if left := jar.Cookies(parsed(t, base)); len(left) > 0 {
			t.Errorf("cookies are left: %v", left)
		}
		if a := must(t, c, "GET", page, ""); a.status != 302 {
			t.Errorf("after the logout: %d", a.status)
		}
	})
}

func parsed(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func cookieOf(jar http.CookieJar, at, name string) string {
	u, _ := url.Parse(at)
	for _, c := range jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}
