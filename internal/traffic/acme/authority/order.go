package authority

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/go-acme/lego/v5/acme"
	"github.com/go-acme/lego/v5/acme/api"
	"golang.org/x/net/idna"

	"sluice/internal/traffic/acme/storage"
)

// Request is an order.
type Request struct {
	// Names are what the certificate is for, main first: host names in lower case, wildcards, addresses.
	Names []string
	// Account is a registered account.
	Account *storage.Account
	// Resume is an order that was begun before; nil for none. Save is called with the order before it counts at the CA.
	Resume *storage.Order
	Save   func(*storage.Order) error
	// Ordering is called before a new order is made, and may refuse it.
	Ordering func() error
	// Replaces is the certificate that the new one takes the place of; nil for none.
	Replaces *x509.Certificate
	// Solvers answer challenges, in the order of preference.
	Solvers []Solver
}

// Issued is the outcome of an order.
type Issued struct {
	// Chain and Key are PEM; Leaf is the first certificate of the chain.
	Chain, Key []byte
	Leaf       *x509.Certificate
	// Challenge is the kind that the names were validated by last; empty if the CA still trusted former ones.
	Challenge string
}

// job is one order under way.
type job struct {
	c    *Client
	req  Request
	core *api.Core
	o    storage.Order
	key  crypto.Signer

	order     acme.Order
	challenge string
}

// Obtain carries an order to its certificate. Errors are of type *Error.
func (c *Client) Obtain(ctx context.Context, req Request) (*Issued, error) {
	issued, err := c.obtain(ctx, req)
	if err != nil {
		c.forget() // whatever was wrong, the next attempt looks with fresh eyes
		return nil, c.explain(err, "order the certificate")
	}
	return issued, nil
}

func (c *Client) obtain(ctx context.Context, req Request) (*Issued, error) {
	accountKey, err := x509.ParsePKCS1PrivateKey(req.Account.Key)
	if err != nil {
		return nil, &Error{Kind: KindConfiguration, Text: "the stored account key cannot be read: " + err.Error()}
	}
	j := &job{c: c, req: req}
	if j.core, err = c.session(ctx, req.Account, accountKey); err != nil {
		return nil, err
	}
	if !j.resume(ctx) {
		if err := j.begin(ctx); err != nil {
			return nil, err
		}
	}
	if j.order.Status == acme.StatusPending {
		if err := j.authorize(ctx); err != nil {
			return nil, err
		}
	}
	if err := j.finalize(ctx); err != nil {
		return nil, err
	}
	return j.download(ctx)
}

// resume takes up a former order if the CA still has it open or done.
func (j *job) resume(ctx context.Context) bool {
	r := j.req.Resume
	if r == nil || r.CA != j.c.o.Directory {
		return false
	}
	key, err := decodeKey(r.Key)
	if err != nil {
		return false
	}
	got, err := j.core.Orders.Get(ctx, r.URL)
	if err != nil || got.Status == acme.StatusInvalid || !sameNames(got.Identifiers, asciiNames(j.req.Names)) {
		return false
	}
	if expires, err := time.Parse(time.RFC3339, got.Expires); err == nil && time.Until(expires) < time.Minute {
		return false
	}
	j.o, j.key, j.order = *r, key, got.Order
	return true
}

func sameNames(ids []acme.Identifier, names []string) bool {
	var have []string
	for _, id := range ids {
		have = append(have, strings.ToLower(id.Value))
	}
	slices.Sort(have)
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Equal(slices.Compact(have), slices.Compact(names))
}

// begin makes a new order and has it stored, with the key, before anything is asked for it.
func (j *job) begin(ctx context.Context) error {
	key, err := newKey(j.c.o.KeyType)
	if err != nil {
		return err
	}
	text, err := encodeKey(key)
	if err != nil {
		return err
	}
	if j.req.Ordering != nil {
		if err := j.req.Ordering(); err != nil {
			return err
		}
	}
	options := &api.OrderOptions{Profile: j.c.o.Profile}
	if j.req.Replaces != nil && len(j.req.Replaces.AuthorityKeyId) > 0 {
		if options.ReplacesCertID, err = api.MakeARICertID(j.req.Replaces); err != nil {
			options.ReplacesCertID = ""
		}
	}
	got, err := j.core.Orders.New(ctx, asciiNames(j.req.Names), options)
	if p, ok := errors.AsType[*acme.ProblemDetails](err); ok && options.ReplacesCertID != "" && p.HTTPStatus < 500 && p.HTTPStatus != 429 &&
		p.Type != acme.AccountDoesNotExistErrorType {
		// A certificate that the CA does not know, such as one of its past, is no reason not to order.
		options.ReplacesCertID = ""
		got, err = j.core.Orders.New(ctx, asciiNames(j.req.Names), options)
	}
	if err != nil {
		return j.c.explain(err, "make an order for "+strings.Join(j.req.Names, ", "))
	}
	j.key, j.order = key, got.Order
	j.o = storage.Order{URL: got.Location, CA: j.c.o.Directory, Key: text, Begun: time.Now().UTC().Truncate(time.Second)}
	if err := j.req.Save(&j.o); err != nil {
		e := stored(err).(*Error)
		e.Reached = true // an order was spent
		return e
	}
	return nil
}

// asciiNames are names as the protocol has them (RFC 8555, section 7.1.4).
func asciiNames(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		rest, wild := strings.CutPrefix(n, "*.")
		if a, err := idna.Lookup.ToASCII(rest); err == nil && !isAddress(rest) {
			rest = a
		}
		if wild {
			rest = "*." + rest
		}
		out[i] = rest
	}
	return out
}

func isAddress(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil
}

// finalize sends the certificate request and waits until the CA has issued.
func (j *job) finalize(ctx context.Context) error {
	deadline := time.Now().Add(j.c.o.IssueTimeout)
	for wait := 250 * time.Millisecond; ; wait = min(wait*3/2, 5*time.Second) {
		switch j.order.Status {
		case acme.StatusValid:
			return nil
		case acme.StatusInvalid:
			return j.invalid()
		case acme.StatusReady:
			csr, err := j.request()
			if err != nil {
				return err
			}
			got, err := j.core.Orders.UpdateForCSR(ctx, j.order.Finalize, csr)
			if err != nil {
				if p, ok := errors.AsType[*acme.ProblemDetails](err); !ok || p.Type != acme.OrderNotReadyErrorType {
					return j.c.explain(err, "issue the certificate")
				}
			} else {
				j.order = got.Order
				continue
			}
		}
		if time.Now().After(deadline) {
			return &Error{Kind: KindServer, Reached: true, Text: fmt.Sprintf("the CA had not issued after %s", j.c.o.IssueTimeout),
				Advice: "the order goes on: it is looked at again; if that happens often, raise acme.certificateTimeout"}
		}
		if err := j.pause(ctx, wait); err != nil {
			return err
		}
		got, err := j.core.Orders.Get(ctx, j.o.URL)
		if err != nil {
			return j.c.explain(err, "look at the order")
		}
		j.order = got.Order
	}
}

func (j *job) invalid() error {
	if p := j.order.Error; p != nil {
		return j.c.explainProblem(p, p, "issue the certificate")
	}
	return &Error{Kind: KindServer, Reached: true, Text: "the CA made the order invalid and does not say why"}
}

// pause waits, at least as long as the CA asked for, within reason.
func (j *job) pause(ctx context.Context, d time.Duration) error {
	if until := time.Until(j.c.transport.retryAfter()); until > d {
		d = min(until, time.Minute)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return &Error{Kind: KindStopped, Reached: true, Text: "stopped in the middle of an order; it is taken up again", err: ctx.Err()}
	}
}

// request is the certificate signing request.
func (j *job) request() ([]byte, error) {
	names := asciiNames(j.req.Names)
	t := &x509.CertificateRequest{EmailAddresses: j.c.o.EmailAddresses}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	const longestCommonName = 64 // RFC 5280, appendix A.1
	if !j.c.o.DisableCommonName && len(names[0]) <= longestCommonName && !isAddress(names[0]) {
		t.Subject = pkix.Name{CommonName: names[0]}
	}
	return x509.CreateCertificateRequest(rand.Reader, t, j.key)
}

// download fetches the chain, the preferred one where the CA has several.
func (j *job) download(ctx context.Context) (*Issued, error) {
	chains, err := j.core.Certificates.GetAll(ctx, j.order.Certificate, true)
	if err != nil {
		return nil, j.c.explain(err, "fetch the certificate")
	}
	chosen := chains[j.order.Certificate]
	if want := j.c.o.PreferredChain; want != "" {
		found := false
		for _, chain := range chains {
			if !found && chain != nil && namesIssuer(chain.Cert, want) {
				chosen, found = chain, true
			}
		}
		if !found {
			j.c.o.Log.Warn("The CA offers no chain with the preferred issuer; its default one is used", "preferredChain", want)
		}
	}
	if chosen == nil {
		return nil, &Error{Kind: KindServer, Reached: true, Text: "the CA sent no certificate"}
	}
	block, _ := pem.Decode(chosen.Cert)
	if block == nil {
		return nil, &Error{Kind: KindServer, Reached: true, Text: "the CA sent something that is no certificate"}
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, &Error{Kind: KindServer, Reached: true, Text: "the CA's certificate cannot be read: " + err.Error()}
	}
	if same, ok := j.key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !same.Equal(leaf.PublicKey) {
		return nil, &Error{Kind: KindServer, Reached: true, Text: "the CA's certificate is for another key"}
	}
	return &Issued{Chain: bytes.TrimSpace(chosen.Cert), Key: bytes.TrimSpace(j.o.Key), Leaf: leaf, Challenge: j.challenge}, nil
}

// namesIssuer reports whether a chain leads to an authority of a name: its last certificate is issued by it, or is it.
func namesIssuer(chain []byte, name string) bool {
	for rest := chain; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return false
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && c.Issuer.CommonName == name {
			return true
		}
	}
}
