package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	coreos "github.com/coreos/go-oidc/v3/oidc"

	"sluice/internal/traffic/middleware/jose"
	"sluice/internal/traffic/middleware/outgoing"
)

const (
	// maxDiscovery is the largest discovery document, maxTokens the largest answer of a token endpoint, in bytes.
	maxDiscovery = 256 << 10
	maxTokens    = 256 << 10
	// skew is by how much the provider's clock may differ from ours.
	skew = 10 * time.Second
)

// provider is what an OpenID provider says about itself (OpenID Connect Discovery 1.0). Immutable.
type provider struct {
	issuer     string
	authorize  *url.URL
	token      *url.URL
	endSession *url.URL // nil where the provider does not log out
	inBody     bool     // the client's secret goes into the form, not into Authorization
	namesSelf  bool     // answers say who they come from (RFC 9207)
	verifier   *coreos.IDTokenVerifier
}

// client is how we are known to a provider.
type client struct {
	id, secret string
	issuer     string // that tokens must name
	anyIssuer  bool
	discovery  *url.URL
	asker      *outgoing.Asker
	log        *slog.Logger

	// The key set of the provider; the last one is kept over renewals of the document.
	mu     sync.Mutex
	keysAt string
	keys   *jose.Remote
}

// discoveryURL is where the document of an issuer is (section 4 of Discovery), with further parameters.
func discoveryURL(issuer string, params map[string]string) (*url.URL, error) {
	u, err := outgoing.ParseURL(issuer)
	if err != nil {
		return nil, err
	}
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/")+"/.well-known/openid-configuration", ""
	q := u.Query()
	for name, value := range params {
		q.Set(name, value)
	}
	u.RawQuery = q.Encode()
	return u, nil
}

// document is the discovery document, fetched when it is first wanted.
func (c *client) document() *outgoing.Doc[*provider] {
	q := outgoing.Question{Method: http.MethodGet, URL: c.discovery, Header: http.Header{"Accept": {"application/json"}}, Limit: maxDiscovery}
	return outgoing.NewDoc(c.asker, q, c.log, c.parse)
}

// parse reads the document. It is called by one goroutine at a time.
func (c *client) parse(answer *outgoing.Answer) (*provider, error) {
	var d struct {
		Issuer        string   `json:"issuer"`
		Authorization string   `json:"authorization_endpoint"`
		Token         string   `json:"token_endpoint"`
		EndSession    string   `json:"end_session_endpoint"`
		Keys          string   `json:"jwks_uri"`
		Algorithms    []string `json:"id_token_signing_alg_values_supported"`
		Methods       []string `json:"token_endpoint_auth_methods_supported"`
		NamesSelf     bool     `json:"authorization_response_iss_parameter_supported"`
	}
	if json.Unmarshal(answer.Body, &d) != nil {
		return nil, errors.New("this is no JSON object")
	}
	if !c.anyIssuer && d.Issuer != c.issuer {
		return nil, fmt.Errorf("the issuer calls itself %q, not %q", d.Issuer, c.issuer)
	}
	p := &provider{issuer: d.Issuer, namesSelf: d.NamesSelf}
	var keysURL *url.URL
	for _, e := range []struct {
		name, text string
		at         **url.URL
		optional   bool
	}{{"authorization_endpoint", d.Authorization, &p.authorize, false}, {"token_endpoint", d.Token, &p.token, false},
		{"jwks_uri", d.Keys, &keysURL, false}, {"end_session_endpoint", d.EndSession, &p.endSession, true}} {
		if e.text == "" && e.optional {
			continue
		}
		u, err := outgoing.ParseURL(e.text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.name, err)
		}
		if c.discovery.Scheme == "https" && u.Scheme != "https" {
			return nil, fmt.Errorf("%s: the issuer has https, this has not", e.name)
		}
		*e.at = u
	}
	// The default is basic (OpenID Connect Core section 9).
	p.inBody = len(d.Methods) > 0 && !slices.Contains(d.Methods, "client_secret_basic") && slices.Contains(d.Methods, "client_secret_post")
	algorithms := slices.DeleteFunc(jose.Asymmetric(), func(a string) bool { return !slices.Contains(d.Algorithms, a) })
	if len(algorithms) == 0 {
		algorithms = []string{"RS256"} // which every provider has to support
	}
	p.verifier = coreos.NewVerifier(c.issuer, keySet{c.keySet(keysURL), algorithms}, &coreos.Config{ClientID: c.id, SupportedSigningAlgs: algorithms,
		SkipIssuerCheck: c.anyIssuer, Now: func() time.Time { return time.Now().Add(-skew) }})
	return p, nil
}

// keySet returns the keys at an address.
func (c *client) keySet(u *url.URL) *jose.Remote {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keysAt != u.String() {
		if c.keys != nil {
			c.keys.Close()
		}
		c.keysAt, c.keys = u.String(), jose.NewRemote(c.asker, u, c.log)
	}
	return c.keys
}

// close ends what is under way.
func (c *client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys != nil {
		c.keys.Close()
	}
}

// keySet lets the library verify with our keys. It implements coreos.KeySet.
type keySet struct {
	source     jose.Source
	algorithms []string
}

// VerifySignature implements coreos.KeySet.
func (k keySet) VerifySignature(ctx context.Context, text string) ([]byte, error) {
	token, err := jose.Parse(text, k.algorithms)
	if err != nil {
		return nil, err
	}
	payload, err := jose.Verify(ctx, k.source, token)
	if err != nil && !jose.Refused(err) {
		return nil, &unavailable{err}
	}
	return payload, err
}

// unavailable is an error that says nothing about the user: the provider could not be asked.
type unavailable struct{ cause error }

// Error implements error.
func (u *unavailable) Error() string { return u.cause.Error() }

// Unwrap gives the cause.
func (u *unavailable) Unwrap() error { return u.cause }

// tokens is an answer of a token endpoint (RFC 6749 section 5.1).
type tokens struct {
	access, refresh, id string
	expires             time.Time // of the access token; zero where that is not said
}

// errGrant is a code or refresh token that the provider does not accept (any more).
var errGrant = errors.New("the provider does not accept the grant")

// grant asks the token endpoint. Errors are errGrant, or say that the provider could not be asked.
func (c *client) grant(ctx context.Context, p *provider, form url.Values) (*tokens, error) {
	head := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}
	switch {
	case c.secret == "":
		form.Set("client_id", c.id)
	case p.inBody:
		form.Set("client_id", c.id)
		form.Set("client_secret", c.secret)
	default:
		r := http.Request{Header: head}
		r.SetBasicAuth(url.QueryEscape(c.id), url.QueryEscape(c.secret)) // RFC 6749 section 2.3.1
	}
	// A code and a refresh token may be good only once.
	answer, err := c.asker.Ask(ctx, outgoing.Question{Method: http.MethodPost, URL: p.token, Header: head, Body: []byte(form.Encode()), Limit: maxTokens, Once: true})
	if err != nil {
		return nil, &unavailable{err}
	}
	var body struct {
		Access  string      `json:"access_token"`
		Type    string      `json:"token_type"`
		Expires json.Number `json:"expires_in"`
		Refresh string      `json:"refresh_token"`
		ID      string      `json:"id_token"`
		Error   string      `json:"error"`
	}
	bad := json.Unmarshal(answer.Body, &body)
	if answer.Status != http.StatusOK {
		if answer.Status < 500 && body.Error == "invalid_grant" {
			return nil, errGrant
		}
		return nil, &unavailable{fmt.Errorf("asking %s: the provider answered %d, %s", outgoing.Shown(p.token), answer.Status, code(body.Error))}
	}
	if bad != nil || body.Access == "" || !strings.EqualFold(body.Type, "Bearer") {
		return nil, &unavailable{fmt.Errorf("asking %s: the answer has no bearer token", outgoing.Shown(p.token))}
	}
	t := &tokens{access: body.Access, refresh: body.Refresh, id: body.ID}
	if n, err := body.Expires.Int64(); err == nil && n > 0 {
		t.expires = time.Now().Add(time.Duration(min(n, 10*365*24*3600)) * time.Second)
	}
	return t, nil
}

// code is an error code of a provider as logs may show it (RFC 6749 section 5.2).
func code(text string) string {
	if text == "" {
		return "without an error code"
	}
	for _, c := range []byte(text) {
		if !('a' <= c && c <= 'z' || c == '_') {
			return "with an error code that is none"
		}
	}
	return text[:min(len(text), 64)]
}
