// Package authority speaks ACME (RFC 8555) with one CA for one resolver: it registers the account, carries an order from
// its beginning to the certificate, asks for renewal windows (RFC 9773), and says in plain words what went wrong. It is the
// doorway of lego's protocol packages; what lego decides by itself elsewhere (when to order, where challenges are answered,
// what is kept) is not used.
//
// An order is a list of steps, each of which can be taken up again by another process: the key and the URL are handed out to
// be stored before the CA is asked to do anything that counts.
package authority

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-acme/lego/v5/acme"
	"github.com/go-acme/lego/v5/acme/api"
	legolog "github.com/go-acme/lego/v5/log"

	"sluice/internal/core/static"
	"sluice/internal/traffic/acme/storage"
)

// Options are what is fixed for a resolver.
type Options struct {
	// Directory is the CA's directory URL.
	Directory string
	// Email of the account; KID and HMAC (base64url) tie it to one that the CA knows. All may be empty.
	Email, KID, HMAC string
	// KeyType, Profile, PreferredChain, EmailAddresses and DisableCommonName shape certificates; see static.ACME.
	KeyType, Profile, PreferredChain string
	EmailAddresses                   []string
	DisableCommonName                bool
	// Timeout bounds an exchange with the CA, HeaderTimeout its response head, IssueTimeout the wait for the certificate.
	Timeout, HeaderTimeout, IssueTimeout time.Duration
	// Roots, ServerName say how the CA's server is verified; the zero values are the system's roots and the URL's host.
	Roots      *x509.CertPool
	ServerName string
	// UserAgent is put in front of lego's.
	UserAgent string
	Log       *slog.Logger
	// NewAccountKey makes account keys; nil for RSA with 4096 bits, as acme.json has them.
	NewAccountKey func() (*rsa.PrivateKey, error)
}

// validationTimeout bounds the wait for the CA to validate an order's names, once all answers stand.
const validationTimeout = 3 * time.Minute

// sessionAge is how long a directory is used before it is fetched again.
const sessionAge = time.Hour

// Client is the client of one resolver. It is safe for concurrent use.
type Client struct {
	o         Options
	life      context.Context
	transport *transport

	mu      sync.Mutex
	core    *api.Core
	fetched time.Time
	account string // the URI that core signs for
}

// New makes a client. It does no I/O. Exchanges end when life ends, whatever else holds for them.
func New(life context.Context, o Options) *Client {
	quiet.Do(func() { legolog.SetDefault(slog.New(lowered{o.Log.Handler()})) })
	return &Client{o: o, life: life, transport: newTransport(life, o)}
}

// quiet points lego's logger, which is one per process, to ours.
var quiet sync.Once

// lowered writes what lego says at the level DEBUG: what matters is said by us.
type lowered struct{ slog.Handler }

// Enabled implements slog.Handler.
func (l lowered) Enabled(ctx context.Context, _ slog.Level) bool {
	return l.Handler.Enabled(ctx, slog.LevelDebug)
}

// Handle implements slog.Handler.
func (l lowered) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	return l.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (l lowered) WithAttrs(attrs []slog.Attr) slog.Handler {
	return lowered{l.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (l lowered) WithGroup(name string) slog.Handler { return lowered{l.Handler.WithGroup(name)} }

// Idle closes the connections to the CA that are not in use.
func (c *Client) Idle() { c.transport.base.CloseIdleConnections() }

// session returns a core that signs for the account, which may be nil.
func (c *Client) session(ctx context.Context, a *storage.Account, key crypto.Signer) (*api.Core, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	uri := ""
	if a != nil {
		uri = a.URI
	}
	if c.core != nil && uri != "" && c.account == uri && time.Since(c.fetched) < sessionAge {
		return c.core, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(c.o.Directory, "https://") {
		return nil, &Error{Kind: KindConfiguration, Text: "caServer is not an https URL", Advice: "the protocol needs https (RFC 8555, section 6.1)"}
	}
	core, err := api.New(c.transport.client(), c.o.UserAgent, c.o.Directory, uri, key)
	if err != nil {
		return nil, c.explainDirectory(err)
	}
	if skew := c.transport.skew(); skew > maxSkew || skew < -maxSkew {
		return nil, skewed(skew)
	}
	c.core, c.fetched, c.account = core, time.Now(), uri
	return core, nil
}

// forget makes the next job fetch the directory again.
func (c *Client) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.core = nil
}

// Belongs reports whether an account is one at this CA.
func (c *Client) Belongs(a *storage.Account) bool {
	if a == nil || a.URI == "" {
		return false
	}
	u, err1 := url.Parse(a.URI)
	d, err2 := url.Parse(c.o.Directory)
	return err1 == nil && err2 == nil && strings.EqualFold(u.Host, d.Host)
}

// Register makes sure that there is an account. have is the one that is stored, or nil; former are those at other CAs. save is
// called with a new key before it is registered, so that a crash loses no account, and again with the URI.
func (c *Client) Register(ctx context.Context, have *storage.Account, former map[string]*storage.Account, save func(*storage.Account) error) (*storage.Account, error) {
	if c.Belongs(have) && len(have.Key) > 0 {
		return have, nil
	}
	for _, a := range former {
		if c.Belongs(a) && len(a.Key) > 0 {
			return a, save(a)
		}
	}
	a := have
	if a == nil || len(a.Key) == 0 || a.URI != "" {
		key, err := c.newAccountKey()
		if err != nil {
			return nil, err
		}
		a = &storage.Account{Email: c.o.Email, Key: x509.MarshalPKCS1PrivateKey(key)}
		if have == nil || have.URI == "" { // a registered one is kept until the new one is registered, too
			if err := save(a); err != nil {
				return nil, stored(err)
			}
		}
	}
	return c.register(ctx, a, save)
}

func (c *Client) register(ctx context.Context, a *storage.Account, save func(*storage.Account) error) (*storage.Account, error) {
	key, err := x509.ParsePKCS1PrivateKey(a.Key)
	if err != nil {
		return nil, &Error{Kind: KindConfiguration, Text: "the stored account key cannot be read: " + err.Error(),
			Advice: "remove Account of this resolver from the storage; a new one is made"}
	}
	core, err := c.session(ctx, nil, key)
	if err != nil {
		return nil, err
	}
	ask := acme.Account{TermsOfServiceAgreed: true, Contact: []string{}}
	if c.o.Email != "" {
		ask.Contact = []string{"mailto:" + c.o.Email}
	}
	var got acme.ExtendedAccount
	if c.o.KID != "" || c.o.HMAC != "" {
		got, err = core.Accounts.NewEAB(ctx, ask, c.o.KID, c.o.HMAC)
	} else if core.GetDirectory().Meta.ExternalAccountRequired {
		return nil, &Error{Kind: KindConfiguration, Reached: true, Text: "the CA needs an external account binding",
			Advice: "set acme.eab.kid and acme.eab.hmacEncoded to what the CA gave you"}
	} else {
		got, err = core.Accounts.New(ctx, ask)
	}
	if err != nil {
		return nil, c.explain(err, "register the account")
	}
	if got.Location == "" {
		return nil, &Error{Kind: KindServer, Reached: true, Text: "the CA named no URL for the account"}
	}
	out := *a
	out.Email, out.URI, out.Status, out.Contact, out.Orders = c.o.Email, got.Location, got.Status, got.Contact, got.Orders
	c.forget() // what was fetched signs with the key, not for the account
	return &out, stored(save(&out))
}

func (c *Client) newAccountKey() (*rsa.PrivateKey, error) {
	if c.o.NewAccountKey != nil {
		return c.o.NewAccountKey()
	}
	return rsa.GenerateKey(rand.Reader, 4096)
}

// newKey makes a certificate's key.
func newKey(kind string) (crypto.Signer, error) {
	switch kind {
	case static.KeyEC256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case static.KeyEC384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case static.KeyRSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case static.KeyRSA8192:
		return rsa.GenerateKey(rand.Reader, 8192)
	default:
		return rsa.GenerateKey(rand.Reader, 4096)
	}
}

// encodeKey writes a key in the form that Traefik and lego write: SEC 1 for elliptic curves, PKCS #1 for RSA.
func encodeKey(key crypto.Signer) ([]byte, error) {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		der, err := x509.MarshalECPrivateKey(k)
		return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), err
	case *rsa.PrivateKey:
		return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)}), nil
	default:
		return nil, fmt.Errorf("keys of type %T are not known", key)
	}
}

// decodeKey reads what encodeKey wrote.
func decodeKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it is not PEM")
	}
	if k, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return k, nil
	}
	return x509.ParseECPrivateKey(block.Bytes)
}

// Window is when a CA wants a certificate to be renewed.
type Window struct {
	Begin, End time.Time
	// After is how long to wait before asking again; zero where the CA does not say.
	After time.Duration
	// Explanation is a page with a reason; mostly empty.
	Explanation string
}

// ErrNoWindow says that the CA has nothing to say about renewals.
var ErrNoWindow = api.ErrNoARI

// RenewalWindow asks when a certificate is to be renewed.
func (c *Client) RenewalWindow(ctx context.Context, a *storage.Account, leaf *x509.Certificate) (Window, error) {
	if len(leaf.AuthorityKeyId) == 0 {
		return Window{}, ErrNoWindow
	}
	id, err := api.MakeARICertID(leaf)
	if err != nil {
		return Window{}, ErrNoWindow
	}
	if a == nil || !c.Belongs(a) {
		return Window{}, ErrNoWindow // a certificate of another CA, or nothing was registered yet
	}
	key, err := x509.ParsePKCS1PrivateKey(a.Key)
	if err != nil {
		return Window{}, ErrNoWindow
	}
	core, err := c.session(ctx, a, key)
	if err != nil {
		return Window{}, err
	}
	info, err := core.Certificates.GetRenewalInfo(ctx, id)
	switch {
	case errors.Is(err, api.ErrNoARI):
		return Window{}, ErrNoWindow
	case err != nil:
		return Window{}, c.explain(err, "ask for the time of renewal")
	case info.SuggestedWindow.Start.IsZero():
		return Window{}, ErrNoWindow
	}
	return Window{Begin: info.SuggestedWindow.Start, End: info.SuggestedWindow.End, After: info.RetryAfter, Explanation: info.ExplanationURL}, nil
}
