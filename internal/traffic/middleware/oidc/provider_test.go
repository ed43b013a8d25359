package oidc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	josepkg "github.com/go-jose/go-jose/v4"
)

// fakeProvider is an OpenID provider that does what the test says, also what no provider should.
type fakeProvider struct {
	*httptest.Server
	key *ecdsa.PrivateKey

	mu       sync.Mutex
	down     bool           // the token endpoint fails
	dark     bool           // nothing answers
	discover map[string]any // changes of the discovery document
	claims   map[string]any // changes of ID tokens; nil removes one
	answer   map[string]any // changes of token answers
	access   string         // access tokens; empty is an opaque one
	life     int            // expires_in
	signer   any            // signs ID tokens, nil for key
	alg      josepkg.SignatureAlgorithm
	codes    map[string]url.Values // authorization requests by code
	refresh  string                // the one that is good
	grants   []url.Values          // requests of the token endpoint
	auth     []string              // their Authorization
	asked    int                   // for the discovery document
	status   int                   // of the token endpoint; 0 is 200
}

func newProvider(t testing.TB) *fakeProvider {
	t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p := &fakeProvider{key: key, discover: map[string]any{}, claims: map[string]any{}, answer: map[string]any{}, life: 3600, codes: map[string]url.Values{}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

// set changes the provider between requests.
func (p *fakeProvider) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *fakeProvider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dark {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		p.asked++
		d := map[string]any{"issuer": p.URL, "authorization_endpoint": p.URL + "/auth?tenant=1", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"end_session_endpoint": p.URL + "/end", "id_token_signing_alg_values_supported": []string{"ES256", "RS256", "none", "HS256"}}
		maps.Copy(d, p.discover)
		reply(w, 200, d)
	case "/keys":
		reply(w, 200, josepkg.JSONWebKeySet{Keys: []josepkg.JSONWebKey{{Key: p.key.Public(), KeyID: "k", Use: "sig", Algorithm: "ES256"}}})
	case "/token":
		p.token(w, r)
	default:
		http.NotFound(w, r)
	}
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

func (p *fakeProvider) token(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	p.grants, p.auth = append(p.grants, form), append(p.auth, r.Header.Get("Authorization"))
	if p.down {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	nonce := ""
	switch form.Get("grant_type") {
	case "authorization_code":
		request, ok := p.codes[form.Get("code")]
		delete(p.codes, form.Get("code"))
		challenge := ""
		if v := form.Get("code_verifier"); v != "" {
			sum := sha256.Sum256([]byte(v))
			challenge = base64.RawURLEncoding.EncodeToString(sum[:])
		}
		if !ok || request.Get("redirect_uri") != form.Get("redirect_uri") || request.Get("code_challenge") != challenge {
			reply(w, 400, map[string]any{"error": "invalid_grant"})
			return
		}
		nonce = request.Get("nonce")
	case "refresh_token":
		if p.refresh == "" || form.Get("refresh_token") != p.refresh {
			reply(w, 400, map[string]any{"error": "invalid_grant"})
			return
		}
	}
	p.refresh = fmt.Sprintf("refresh-%d", len(p.grants))
	c := map[string]any{"iss": p.URL, "aud": "client", "sub": "ann", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "grp": "admin", "sid": "sid-1"}
	if nonce != "" {
		c["nonce"] = nonce
	}
	edit(c, p.claims)
	access := p.access
	if access == "" {
		access = "opaque-access-token"
	}
	d := map[string]any{"access_token": access, "token_type": "bearer", "expires_in": p.life, "refresh_token": p.refresh, "id_token": p.sign(c)}
	edit(d, p.answer)
	status := p.status
	if status == 0 {
		status = 200
	}
	reply(w, status, d)
}

func edit(m, changes map[string]any) {
	for name, v := range changes {
		if m[name] = v; v == nil {
			delete(m, name)
		}
	}
}

// sign makes a token; mu is held.
func (p *fakeProvider) sign(claims map[string]any) string {
	key, alg := p.signer, p.alg
	if key == nil {
		key = josepkg.JSONWebKey{Key: p.key, KeyID: "k"}
	}
	if alg == "" {
		alg = josepkg.ES256
	}
	if alg == "none" {
		payload, _ := json.Marshal(claims)
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload) + "."
	}
	s, err := josepkg.NewSigner(josepkg.SigningKey{Algorithm: alg, Key: key}, nil)
	if err != nil {
		panic(err)
	}
	payload, _ := json.Marshal(claims)
	jws, err := s.Sign(payload)
	if err != nil {
		panic(err)
	}
	text, _ := jws.CompactSerialize()
	return text
}

// authorize is what the user does at the provider: it returns where he is sent back to.
func (p *fakeProvider) authorize(location string, change func(url.Values)) string {
	u, err := url.Parse(location)
	if err != nil || !strings.HasPrefix(location, p.URL+"/auth?") {
		return "the login did not lead to the provider: " + location
	}
	request := u.Query()
	code := random(8)
	p.set(func() { p.codes[code] = request })
	answer := url.Values{"state": {request.Get("state")}, "code": {code}}
	if change != nil {
		change(answer)
	}
	return request.Get("redirect_uri") + "?" + answer.Encode()
}
