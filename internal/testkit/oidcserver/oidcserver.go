// Package oidcserver runs an OpenID provider inside a test: the certified implementation of Zitadel, with two users, a page to
// log in on, refresh tokens that are good once, and logout. Everything is on loopback.
package oidcserver

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// The user of the tests, and the client that is known by a secret.
const (
	Subject  = "id1"
	Password = "verysecure"
	ClientID = "web"
	Secret   = "the secret of the web client"
)

// Server is a provider.
type Server struct {
	// URL is the issuer.
	URL string
	// User is the name that Subject logs in with.
	User string

	front *httptest.Server
	mu    sync.Mutex
	// Kinds of grants that the token endpoint was asked for, in their order.
	grants []string
	life   time.Duration
	down   bool
}

// New starts a provider that sends users back to the given URLs, until the test ends.
func New(t testing.TB, redirects, afterLogout []string) *Server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{URL: "http://" + ln.Addr().String()}
	users := storage.NewUserStore(s.URL)
	s.User = users.GetUserByID(Subject).Username
	web := storage.WebClient(ClientID, Secret, redirects...)
	store := &store{storage.NewStorageWithClients(users, map[string]*storage.Client{ClientID: web}), afterLogout}
	config := &op.Config{DefaultLogoutRedirectURI: "/logged-out", CodeMethodS256: true, AuthMethodPost: true, GrantTypeRefreshToken: true, CryptoKeyId: "test"}
	rand.Read(config.CryptoKey[:])
	provider, err := op.NewProvider(config, store, op.StaticIssuer(s.URL), op.WithAllowInsecure())
	if err != nil {
		t.Fatal(err)
	}
	back := op.AuthCallbackURL(provider)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login/username", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!doctype html><title>Provider</title><form method="post"><input type="hidden" name="id" value="%s">
<input id="username" name="username"><input id="password" name="password" type="password"><button id="go">Log in</button></form>`,
			html.EscapeString(r.FormValue("authRequestID")))
	})
	mux.Handle("POST /login/username", op.NewIssuerInterceptor(provider.IssuerFromRequest).HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := store.CheckUsernamePassword(r.FormValue("username"), r.FormValue("password"), r.FormValue("id")); err != nil {
			http.Error(w, "the name or the password is wrong", http.StatusForbidden)
			return
		}
		http.Redirect(w, r, back(r.Context(), r.FormValue("id")), http.StatusFound)
	}))
	mux.HandleFunc("GET /logged-out", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "logged out at the provider") })
	mux.Handle("/", s.watch(provider))
	s.front = httptest.NewUnstartedServer(mux)
	s.front.Listener.Close()
	s.front.Listener = ln
	s.front.Start()
	t.Cleanup(s.front.Close)
	return s
}

// store lets users go to places after a logout.
type store struct {
	*storage.Storage
	afterLogout []string
}

// GetClientByClientID implements op.Storage.
func (s *store) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := s.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	return &client{c, s.afterLogout}, nil
}

type client struct {
	op.Client
	afterLogout []string
}

// PostLogoutRedirectURIs implements op.Client.
func (c *client) PostLogoutRedirectURIs() []string { return c.afterLogout }

// IDTokenUserinfoClaimsAssertion implements op.Client: names and addresses stand in the ID token.
func (c *client) IDTokenUserinfoClaimsAssertion() bool { return true }

// watch counts grants, and changes what tokens say about their life.
func (s *Server) watch(provider http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/oauth/token" {
			provider.ServeHTTP(w, r)
			return
		}
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		form, _ := url.ParseQuery(string(body))
		s.mu.Lock()
		s.grants = append(s.grants, form.Get("grant_type"))
		life, down := s.life, s.down
		s.mu.Unlock()
		if down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		answer := httptest.NewRecorder()
		provider.ServeHTTP(answer, r)
		text := answer.Body.Bytes()
		var tokens oidc.AccessTokenResponse
		if life > 0 && json.Unmarshal(text, &tokens) == nil && tokens.AccessToken != "" {
			tokens.ExpiresIn = uint64(life / time.Second)
			text, _ = json.Marshal(&tokens)
		}
		w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
		w.WriteHeader(answer.Code)
		w.Write(text)
	})
}

// SetLife makes access tokens say that they live for d.
func (s *Server) SetLife(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.life = d
}

// SetDown lets the token endpoint fail, or not.
func (s *Server) SetDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

// Grants returns the kinds of grants that were asked for since the last call, with blanks between them.
func (s *Server) Grants() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := strings.Join(s.grants, " ")
	s.grants = nil
	return out
}

// LogIn does on the provider's pages what a user does, and returns where he is sent back to.
func (s *Server) LogIn(t testing.TB, location string) string {
	t.Helper()
	c := s.front.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	next := func(res *http.Response, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		to, err := res.Location()
		if err != nil {
			text, _ := io.ReadAll(res.Body)
			t.Fatalf("the provider answered %d %s", res.StatusCode, text)
		}
		return to.String()
	}
	page := next(c.Get(location))
	u, err := url.Parse(page)
	if err != nil || u.Path != "/login/username" {
		t.Fatalf("the provider led to %q", page)
	}
	done := next(c.PostForm(page, url.Values{"id": {u.Query().Get("authRequestID")}, "username": {s.User}, "password": {Password}}))
	return next(c.Get(done))
}
