package jwt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	josepkg "github.com/go-jose/go-jose/v4"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
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

const sharedSecret = "0123456789abcdef0123456789abcdef"

var key, other = newKey(), newKey()

func newKey() *ecdsa.PrivateKey {
	k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return k
}

// token signs claims; key is a secret or a private key.
func token(t testing.TB, key any, id string, claims map[string]any) string {
	t.Helper()
	alg := josepkg.ES256
	if text, ok := key.(string); ok {
		alg, key = josepkg.HS256, []byte(text)
	}
	o := &josepkg.SignerOptions{}
	if id != "" {
		o.WithHeader("kid", id)
	}
	s, err := josepkg.NewSigner(josepkg.SigningKey{Algorithm: alg, Key: key}, o)
	if err != nil {
		t.Fatal(err)
	}
	payload, _ := json.Marshal(claims)
	jws, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := jws.CompactSerialize()
	return text
}

func in(d time.Duration) int64 { return time.Now().Add(d).Unix() }

func config(change func(*dynamic.JWT)) *dynamic.JWT {
	c := &dynamic.JWT{}
	c.SetDefaults()
	c.SigningSecret = secret.New(sharedSecret)
	if change != nil {
		change(c)
	}
	return c
}

func handler(t testing.TB, env middleware.Env, c *dynamic.JWT, next httpmsg.Handler) httpmsg.Handler {
	t.Helper()
	if env.State == nil {
		env.State = &middleware.State{}
		t.Cleanup(func() { env.State.Begin(); env.State.Sweep() })
	}
	h, err := Kind().Build(&dynamic.Middleware{JWT: c}, env, next)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// origin remembers what reached it.
type origin struct {
	calls  int
	fields []string
	body   string
}

func (o *origin) Serve(x *httpmsg.Exchange) error {
	o.calls++
	o.fields, o.body = nil, ""
	for i := range x.Req.Header.Len() {
		f := x.Req.Header.At(i)
		o.fields = append(o.fields, f.Name.String()+": "+f.Value.String())
	}
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

func serve(t testing.TB, h httpmsg.Handler, target string, fields ...string) *httpmsg.Exchange {
	t.Helper()
	x := &httpmsg.Exchange{}
	x.Req.Method, x.Req.Host = httpmsg.Text("GET"), httpmsg.Text("app.test")
	if err := x.SetTarget(httpmsg.Text(target)); err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		x.Req.Header.Add(name, value)
	}
	if err := h.Serve(x); err != nil {
		x.Fail(err)
	}
	x.RunEdits()
	return x
}

func bearer(token string) string { return "Authorization: Bearer " + token }

func pemOf(t testing.TB, public any) string {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func inline(text string) dynamic.Material {
	return dynamic.Material{Written: text, Content: secret.New(text)}
}

func keySet(t testing.TB, keys map[string]*ecdsa.PrivateKey) string {
	var set josepkg.JSONWebKeySet
	for id, k := range keys {
		set.Keys = append(set.Keys, josepkg.JSONWebKey{Key: k.Public(), KeyID: id, Use: "sig", Algorithm: "ES256"})
	}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestKeys(t *testing.T) {
	good := map[string]any{"sub": "ann"}
	for _, c := range []struct {
		name   string
		change func(*dynamic.JWT)
		token  string
		want   int
	}{
		{"secret", nil, token(t, sharedSecret, "", good), 200},
		{"secret, named key", nil, token(t, sharedSecret, "any", good), 200},
		{"another secret", nil, token(t, sharedSecret+"x", "", good), 401},
		{"secret in base64", func(c *dynamic.JWT) {
			c.SigningSecret, c.SigningSecretBase64Encoded = secret.New(base64.StdEncoding.EncodeToString([]byte(sharedSecret))), true
		}, token(t, sharedSecret, "", good), 200},
		{"public key", func(c *dynamic.JWT) {
			c.SigningSecret, c.PublicKey = secret.String{}, inline(pemOf(t, key.Public()))
		}, token(t, key, "", good), 200},
		{"public key as a secret", func(c *dynamic.JWT) {
			c.SigningSecret, c.PublicKey = secret.String{}, inline(pemOf(t, key.Public()))
		}, token(t, pemOf(t, key.Public()), "", good), 401},
		{"another public key", func(c *dynamic.JWT) {
			c.SigningSecret, c.PublicKey = secret.String{}, inline(pemOf(t, other.Public()))
		}, token(t, key, "", good), 401},
		{"key set", func(c *dynamic.JWT) {
			c.SigningSecret, c.JWKSFile = secret.String{}, inline(keySet(t, map[string]*ecdsa.PrivateKey{"a": key, "b": other}))
		}, token(t, other, "b", good), 200},
		{"key set, unknown key", func(c *dynamic.JWT) {
			c.SigningSecret, c.JWKSFile = secret.String{}, inline(keySet(t, map[string]*ecdsa.PrivateKey{"a": key}))
		}, token(t, key, "b", good), 401},
		{"algorithm listed", func(c *dynamic.JWT) { c.Algorithms = []string{"HS256", "ES256"} }, token(t, sharedSecret, "", good), 200},
		{"algorithm not listed", func(c *dynamic.JWT) { c.Algorithms = []string{"HS512"} }, token(t, sharedSecret, "", good), 401},
		{"trusted issuer", func(c *dynamic.JWT) { c.TrustedIssuers = []string{"me"} }, token(t, sharedSecret, "", map[string]any{"iss": "me"}), 200},
		{"another issuer", func(c *dynamic.JWT) { c.TrustedIssuers = []string{"me"} }, token(t, sharedSecret, "", map[string]any{"iss": "you"}), 401},
		{"no issuer", func(c *dynamic.JWT) { c.TrustedIssuers = []string{"me"} }, token(t, sharedSecret, "", good), 401},
		{"expired", nil, token(t, sharedSecret, "", map[string]any{"exp": in(-time.Minute)}), 401},
		{"expired within leeway", func(c *dynamic.JWT) { c.Leeway = dynamic.Seconds(120) }, token(t, sharedSecret, "", map[string]any{"exp": in(-time.Minute)}), 200},
		{"not yet", nil, token(t, sharedSecret, "", map[string]any{"nbf": in(time.Minute)}), 401},
		{"issued in the future", nil, token(t, sharedSecret, "", map[string]any{"iat": in(time.Minute)}), 401},
		{"times that are none", nil, token(t, sharedSecret, "", map[string]any{"exp": "never"}), 401},
		{"good times", nil, token(t, sharedSecret, "", map[string]any{"exp": in(time.Minute), "nbf": in(-time.Minute), "iat": in(-time.Minute)}), 200},
		{"claims hold", func(c *dynamic.JWT) { c.Claims = "Equals(`sub`, `ann`)" }, token(t, sharedSecret, "", good), 200},
		{"claims do not hold", func(c *dynamic.JWT) { c.Claims = "Equals(`sub`, `bob`)" }, token(t, sharedSecret, "", good), 403},
		{"no claims", nil, func() string {
			s, _ := josepkg.NewSigner(josepkg.SigningKey{Algorithm: josepkg.HS256, Key: []byte(sharedSecret)}, nil)
			jws, _ := s.Sign([]byte("hello"))
			text, _ := jws.CompactSerialize()
			return text
		}(), 401},
		{"huge", nil, strings.Repeat("a", 70_000) + ".a.a", 401},
		{"junk", nil, "junk", 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := &origin{}
			x := serve(t, handler(t, middleware.Env{}, config(c.change), o), "/", bearer(c.token))
			if x.Res.Status != c.want || (o.calls > 0) != (c.want == 200) {
				t.Errorf("got %d after %d calls", x.Res.Status, o.calls)
			}
			if got := x.Res.Header.Lookup("WWW-Authenticate").String(); c.want == 401 && got != `Bearer error="invalid_token"` {
				t.Errorf("challenge %q", got)
			}
			if err := x.Facts.Err; err != nil && strings.Contains(err.Error(), c.token) {
				t.Errorf("the reason shows the token: %v", err)
			}
		})
	}
}

func TestWhereTokensStand(t *testing.T) {
	good := token(t, sharedSecret, "", map[string]any{"sub": "ann"})
	withKey := func(c *dynamic.JWT) { c.TokenKey = "jwt" }
	const form = "Content-Type: application/x-www-form-urlencoded"
	for _, c := range []struct {
		name   string
		change func(*dynamic.JWT)
		target string
		fields []string
		body   string
		want   int
		auth   string // that the server gets
	}{
		{"header", nil, "/", []string{bearer(good)}, "", 200, ""},
		{"forwarded", func(c *dynamic.JWT) { c.ForwardAuthorization = true }, "/", []string{bearer(good)}, "", 200, "Bearer " + good},
		{"no header", nil, "/", nil, "", 401, ""},
		{"lower case", nil, "/", []string{"authorization: bearer " + good}, "", 200, ""},
		{"another scheme", nil, "/", []string{"Authorization: Basic " + good}, "", 401, ""},
		{"twice", nil, "/", []string{bearer(good), bearer(good)}, "", 401, ""},
		{"query without the option", nil, "/?jwt=" + good, nil, "", 401, ""},
		{"query", withKey, "/?a=b&jwt=" + good, nil, "", 200, ""},
		{"query beside another scheme", withKey, "/?jwt=" + good, []string{"Authorization: Basic x"}, "", 200, ""},
		{"header wins", withKey, "/?jwt=" + good, []string{bearer("junk")}, "", 401, ""},
		{"query twice", withKey, "/?jwt=" + good + "&jwt=" + good, nil, "", 401, ""},
		{"form", withKey, "/", []string{form + "; charset=utf-8"}, "a=b&jwt=" + good, 200, ""},
		{"form twice", withKey, "/", []string{form}, "jwt=x&jwt=" + good, 401, ""},
		{"form without it", withKey, "/", []string{form}, "a=b", 401, ""},
		{"empty form", withKey, "/", []string{form}, "", 401, ""},
		{"no form", withKey, "/", []string{"Content-Type: text/plain"}, "jwt=" + good, 401, ""},
		{"large form", withKey, "/", []string{form}, "jwt=" + good + "&a=" + strings.Repeat("x", maxForm), 401, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			service := &origin{}
			h := handler(t, middleware.Env{}, config(c.change), service)
			trial.Each(t, h, func(t *testing.T, f *trial.Front) {
				service.calls = 0
				r, _ := http.NewRequest("POST", f.URL+c.target, strings.NewReader(c.body))
				for _, field := range c.fields {
					name, value, _ := strings.Cut(field, ": ")
					r.Header.Add(name, value)
				}
				res, err := f.Client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode != c.want || (service.calls > 0) != (c.want == 200) {
					t.Fatalf("got %d after %d calls", res.StatusCode, service.calls)
				}
				if c.want != 200 {
					if len(c.fields) == 0 && res.Header.Get("WWW-Authenticate") == "" {
						t.Error("no challenge")
					}
					return
				}
				if service.body != c.body {
					t.Errorf("the service got %d of %d bytes", len(service.body), len(c.body))
				}
				got := ""
				for _, field := range service.fields {
					if name, v, _ := strings.Cut(field, ": "); strings.EqualFold(name, "authorization") {
						got += v
					}
				}
				if got != c.auth && !strings.HasPrefix(got, "Basic") && c.name != "query beside another scheme" {
					t.Errorf("the service got %q", got)
				}
			})
		})
	}
}

// TestSpoofing sends a client's copies of the headers that claims are forwarded in, over every protocol.
func TestSpoofing(t *testing.T) {
	service := &origin{}
	h := handler(t, middleware.Env{}, config(func(c *dynamic.JWT) {
		c.ForwardHeaders, c.UsernameClaim = map[string]string{"X-User": "sub", "X-Groups": "groups", "X-Mail": "mail"}, "sub"
	}), service)
	text := token(t, sharedSecret, "", map[string]any{"sub": "ann\r\nX-Admin: 1", "groups": []string{"a", "b,admin"}})
	trial.Each(t, h, func(t *testing.T, f *trial.Front) {
		r, _ := http.NewRequest("GET", f.URL, nil)
		r.Header["Authorization"] = []string{"Bearer " + text}
		for _, name := range []string{"X-User", "x_user", "X_User", "X-GROUPS", "x-mail", "X_Mail"} {
			r.Header[name] = []string{"forged", "forged"}
		}
		if !strings.Contains(t.Name(), "TP2") && !strings.Contains(t.Name(), "h2c") {
			r.Header["Connection"] = []string{"X-User, X-Groups"}
		}
		res, err := f.Client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		var got []string
		for _, field := range service.fields {
			if strings.HasPrefix(strings.ToLower(field), "x") {
				got = append(got, field)
			}
		}
		if want := []string{"X-Groups: a,b%2Cadmin", "X-Mail: ", "X-User: ann%0D%0AX-Admin: 1"}; !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
		if user := f.Last(t).User; user != "ann%0D%0AX-Admin: 1" {
			t.Errorf("the log gets %q", user)
		}
	})
}

// keyServer publishes key sets.
type keyServer struct {
	*httptest.Server
	asked atomic.Int32
	text  atomic.Value
	down  atomic.Bool
}

func newKeyServer(t testing.TB, text string) *keyServer {
	s := &keyServer{}
	s.text.Store(text)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		if s.down.Load() {
			w.WriteHeader(503)
			return
		}
		io.WriteString(w, s.text.Load().(string))
	}))
	t.Cleanup(s.Close)
	return s
}

func remote(s *keyServer, change func(*dynamic.JWT)) *dynamic.JWT {
	return config(func(c *dynamic.JWT) {
		c.SigningSecret, c.JWKSURL = secret.String{}, s.URL+"/keys"
		c.ClientConfig = &dynamic.IdentityClient{TimeoutSeconds: 2}
		if change != nil {
			change(c)
		}
	})
}

func TestPublishedKeys(t *testing.T) {
	s := newKeyServer(t, keySet(t, map[string]*ecdsa.PrivateKey{"a": key}))
	o := &origin{}
	h := handler(t, middleware.Env{}, remote(s, nil), o)
	if s.asked.Load() != 0 {
		t.Error("building asked the server")
	}
	ask := func(text string, want int) {
		t.Helper()
		if x := serve(t, h, "/", bearer(text)); x.Res.Status != want {
			t.Errorf("got %d, want %d: %v", x.Res.Status, want, x.Facts.Err)
		}
	}
	for range 3 {
		ask(token(t, key, "a", nil), 401) // null is no object
		ask(token(t, key, "a", map[string]any{"sub": "ann"}), 200)
	}
	if n := s.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	// A flood of unknown keys asks the server no more than once.
	for i := range 200 {
		ask(token(t, other, fmt.Sprint("unknown ", i), map[string]any{}), 401)
	}
	if n := s.asked.Load(); n > 2 {
		t.Errorf("asked %d times", n)
	}
	// Shared secrets that a server publishes do not count.
	s.text.Store(`{"keys":[{"kty":"oct","k":"` + base64.RawURLEncoding.EncodeToString([]byte(sharedSecret)) + `"}]}`)
	h = handler(t, middleware.Env{}, remote(s, nil), o)
	ask(token(t, sharedSecret, "", map[string]any{}), 401)
	ask(token(t, key, "", map[string]any{}), 503)
}

func TestKeyServerDown(t *testing.T) {
	s := newKeyServer(t, keySet(t, map[string]*ecdsa.PrivateKey{"a": key}))
	s.down.Store(true)
	o := &origin{}
	h := handler(t, middleware.Env{}, remote(s, nil), o)
	good := token(t, key, "a", map[string]any{})
	for range 20 {
		x := serve(t, h, "/", bearer(good))
		if x.Res.Status != 503 || x.Res.Header.Get(httpmsg.HdrSluiceError).String() != "AUTH-UNAVAILABLE" || o.calls > 0 {
			t.Fatalf("got %d, %d calls", x.Res.Status, o.calls)
		}
	}
	if n := s.asked.Load(); n != 1 {
		t.Errorf("asked %d times without a pause", n)
	}
	if x := serve(t, h, "/", bearer("junk")); x.Res.Status != 401 {
		t.Errorf("junk: got %d", x.Res.Status)
	}
	for name, text := range map[string]string{"html": "<html>", "huge": `{"keys":[` + strings.Repeat(" ", 600<<10) + "]}", "empty": `{"keys":[]}`} {
		s.down.Store(false)
		s.text.Store(text)
		if x := serve(t, handler(t, middleware.Env{}, remote(s, nil), o), "/", bearer(good)); x.Res.Status != 503 || o.calls > 0 {
			t.Errorf("%s: got %d", name, x.Res.Status)
		}
	}
}

// TestKeySetsAreShared holds that routers share a key set and that it outlives changes that leave it alone.
func TestKeySetsAreShared(t *testing.T) {
	s := newKeyServer(t, keySet(t, map[string]*ecdsa.PrivateKey{"a": key}))
	state := &middleware.State{}
	defer func() { state.Begin(); state.Sweep() }()
	good := token(t, key, "a", map[string]any{"sub": "ann"})
	for i, c := range []struct {
		name, router string
		change       func(*dynamic.JWT)
		asked        int32
	}{
		{"a@file", "r@file", nil, 1},
		{"a@file", "other@file", nil, 1},
		{"a@file", "r@file", func(c *dynamic.JWT) { c.Claims = "Equals(`sub`, `ann`)" }, 1},
		{"b@file", "r@file", nil, 2},
		{"a@file", "r@file", func(c *dynamic.JWT) { c.ClientConfig.TimeoutSeconds = 3 }, 3},
	} {
		h := handler(t, middleware.Env{Name: c.name, Router: c.router, State: state}, remote(s, c.change), &origin{})
		if x := serve(t, h, "/", bearer(good)); x.Res.Status != 200 || s.asked.Load() != c.asked {
			t.Errorf("%d: got %d, asked %d times", i, x.Res.Status, s.asked.Load())
		}
	}
}

func TestKeysByIssuer(t *testing.T) {
	mine := newKeyServer(t, keySet(t, map[string]*ecdsa.PrivateKey{"a": key}))
	theirs := newKeyServer(t, keySet(t, map[string]*ecdsa.PrivateKey{"a": other}))
	attacker := newKeyServer(t, keySet(t, map[string]*ecdsa.PrivateKey{"a": other}))
	h := handler(t, middleware.Env{}, remote(mine, func(c *dynamic.JWT) {
		c.JWKSURL, c.TrustedIssuers = "/.well-known/keys", []string{mine.URL + "/", theirs.URL}
	}), &origin{})
	for _, c := range []struct {
		name   string
		key    *ecdsa.PrivateKey
		issuer any
		want   int
	}{
		{"mine", key, mine.URL + "/", 200}, {"theirs", other, theirs.URL, 200}, {"mine signed by them", other, mine.URL + "/", 401}, {"spelled otherwise", key, mine.URL, 401},
		{"untrusted", other, attacker.URL, 401}, {"userinfo", other, strings.Replace(attacker.URL, "://", "://"+url.QueryEscape(mine.URL)+"@", 1), 401}, {"none", key, nil, 401}, {"a list", key, []string{mine.URL + "/"}, 401},
	} {
		if x := serve(t, h, "/", bearer(token(t, c.key, "a", map[string]any{"iss": c.issuer}))); x.Res.Status != c.want {
			t.Errorf("%s: got %d", c.name, x.Res.Status)
		}
	}
	if attacker.asked.Load() > 0 {
		t.Error("an untrusted issuer was asked for keys")
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		key    string
		change func(*dynamic.JWT)
	}{
		{"jwt", func(c *dynamic.JWT) { c.SigningSecret = secret.String{} }},
		{"jwt.jwksUrl", func(c *dynamic.JWT) { c.JWKSURL = "https://a.test/keys" }},
		{"jwt.signingSecret", func(c *dynamic.JWT) { c.SigningSecretBase64Encoded, c.SigningSecret = true, secret.New("!hunter2") }},
		{"jwt.publicKey", func(c *dynamic.JWT) { c.SigningSecret, c.PublicKey = secret.String{}, inline("hunter2") }},
		{"jwt.publicKey", func(c *dynamic.JWT) {
			c.SigningSecret, c.PublicKey = secret.String{}, dynamic.Material{Written: "missing.pem"}
		}},
		{"jwt.jwksFile", func(c *dynamic.JWT) { c.SigningSecret, c.JWKSFile = secret.String{}, inline("{}") }},
		{"jwt.jwksFile", func(c *dynamic.JWT) {
			c.SigningSecret, c.JWKSFile = secret.String{}, dynamic.Material{Written: "missing.json"}
		}},
		{"jwt.jwksUrl", func(c *dynamic.JWT) { c.SigningSecret, c.JWKSURL = secret.String{}, "keys" }},
		{"jwt.jwksUrl", func(c *dynamic.JWT) { c.SigningSecret, c.JWKSURL = secret.String{}, "/keys" }},
		{"jwt.jwksUrl", func(c *dynamic.JWT) {
			c.SigningSecret, c.JWKSURL, c.TrustedIssuers = secret.String{}, "/keys", []string{"not a URL"}
		}},
		{"jwt.algorithms", func(c *dynamic.JWT) { c.Algorithms = []string{"RS256"} }},
		{"jwt.algorithms[1]", func(c *dynamic.JWT) { c.Algorithms = []string{"HS256", "none"} }},
		{"jwt.algorithms", func(c *dynamic.JWT) {
			c.SigningSecret, c.JWKSURL, c.Algorithms = secret.String{}, "https://a.test", []string{"HS256"}
		}},
		{"jwt.trustedIssuers[0]", func(c *dynamic.JWT) { c.TrustedIssuers = []string{""} }},
		{"jwt.leeway", func(c *dynamic.JWT) { c.Leeway = -1 }},
		{"jwt.leeway", func(c *dynamic.JWT) { c.Leeway = dynamic.Seconds(7200) }},
		{"jwt.claims", func(c *dynamic.JWT) { c.Claims = "Equals(" }},
		{"jwt.usernameClaim", func(c *dynamic.JWT) { c.UsernameClaim = "." }},
		{"jwt.forwardHeaders.Host", func(c *dynamic.JWT) { c.ForwardHeaders = map[string]string{"Host": "a"} }},
		{"jwt.clientConfig.timeoutSeconds", func(c *dynamic.JWT) { c.ClientConfig = &dynamic.IdentityClient{TimeoutSeconds: -1} }},
	} {
		m := &dynamic.Middleware{JWT: config(c.change)}
		l := Kind().Check(m)
		if err := middleware.Refusal(l); err == nil || !strings.HasPrefix(err.Error(), c.key+": ") {
			t.Errorf("%s: got %v", c.key, l)
		}
		for _, f := range l {
			if strings.Contains(f.String(), "hunter2") {
				t.Errorf("a finding shows a secret: %v", f)
			}
		}
		if _, err := Kind().Build(m, middleware.Env{}, nil); err == nil {
			t.Errorf("%s: was built", c.key)
		}
	}
	if l := Kind().Check(&dynamic.Middleware{JWT: config(func(c *dynamic.JWT) { c.SigningSecret = secret.New("my-secret") })}); len(l) != 1 || l[0].Severity != diag.Warning {
		t.Errorf("a short secret: %v", l)
	}
}

func BenchmarkMiddlewaresGuard(b *testing.B) {
	for name, c := range map[string]*dynamic.JWT{"HS256": config(nil), "ES256": config(func(c *dynamic.JWT) {
		c.SigningSecret, c.PublicKey = secret.String{}, inline(pemOf(b, key.Public()))
	})} {
		var signer any = sharedSecret
		if name == "ES256" {
			signer = key
		}
		b.Run(name, func(b *testing.B) {
			text := bearer(token(b, signer, "", map[string]any{"sub": "ann", "exp": in(time.Hour)}))
			c.ForwardHeaders = map[string]string{"X-User": "sub"}
			h := handler(b, middleware.Env{}, c, httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { x.Respond(200, "", "ok"); return nil }))
			b.ReportAllocs()
			for b.Loop() {
				if x := serve(b, h, "/", text); x.Res.Status != 200 {
					b.Fatal(x.Res.Status)
				}
			}
		})
	}
}
