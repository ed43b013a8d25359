// Package httppoll is the provider that fetches dynamic configuration from a URL, again and again.
//
// The document is YAML or JSON and replaces the one before as a whole. One that cannot be fetched or parsed leaves the last
// good one in force, with a finding that says why.
package httppoll

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
	"sluice/internal/intake/decode"
	"sluice/internal/intake/provider"
)

// Name is what stands behind the @ of elements that were fetched.
const Name = "http"

// CodeFetch is the code of findings about a document that cannot be fetched.
const CodeFetch = "FETCH"

// Timings that the configuration does not set.
const (
	connectTimeout = 5 * time.Second
	defaultTimeout = 5 * time.Second
	maxRedirects   = 10
)

// Options are what a provider needs besides its configuration.
type Options struct {
	Log *slog.Logger
	// ClientTLS makes the client's side of TLS of a configuration.
	ClientTLS func(*dynamic.ClientTLS) (*tls.Config, error)
	// Version is told to the server.
	Version string
}

// Provider implements provider.Provider. Run is called by one goroutine at a time.
type Provider struct {
	opts static.HTTP
	o    Options

	// What follows survives a restart of Run.
	sum     [sha256.Size]byte
	fetched bool
	good    *dynamic.Fragment
}

// New makes the provider.
func New(opts static.HTTP, o Options) *Provider {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Provider{opts: opts, o: o}
}

// Name returns "http".
func (p *Provider) Name() string { return Name }

// Run fetches and publishes until ctx ends. A fetch that fails ends it with an error, so that the wait until the next one
// grows; options that make no sense are a permanent error.
func (p *Provider) Run(ctx context.Context, publish func(dynamic.Snapshot)) error {
	u, err := url.Parse(p.opts.Endpoint)
	switch {
	case p.opts.Endpoint == "":
		return provider.Permanent(errors.New("providers.http: no endpoint is set"))
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return provider.Permanent(errors.New("providers.http: the endpoint is no URL that begins with http:// or https://"))
	case p.opts.PollInterval <= 0:
		return provider.Permanent(errors.New("providers.http: the poll interval must be more than zero"))
	}
	client, err := p.client()
	if err != nil {
		return provider.Permanent(fmt.Errorf("providers.http: %w", err))
	}
	defer client.CloseIdleConnections()
	source := (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String() // neither password nor query, which may be secret
	every := time.NewTicker(p.opts.PollInterval.Std())
	defer every.Stop()
	for {
		data, err := p.fetch(ctx, client)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			publish(p.failed(source, err))
			return err
		}
		publish(p.read(source, data))
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

// client makes what fetches.
func (p *Provider) client() (*http.Client, error) {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: connectTimeout, MaxIdleConns: 1, IdleConnTimeout: 90 * time.Second,
		DialContext: (&net.Dialer{Timeout: connectTimeout}).DialContext, ForceAttemptHTTP2: true}
	if p.opts.TLS != nil {
		config, err := p.o.ClientTLS(p.opts.TLS)
		if err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		transport.TLSClientConfig = config
	}
	timeout := p.opts.PollTimeout.Std()
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	return &http.Client{Transport: transport, Timeout: timeout, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		// The headers of the configuration are meant for one server and no other.
		if len(via) > maxRedirects || next.URL.Host != via[0].URL.Host || next.URL.Scheme != via[0].URL.Scheme {
			return http.ErrUseLastResponse
		}
		return nil
	}}, nil
}

// fetch gets the document once.
func (p *Provider) fetch(ctx context.Context, client *http.Client) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.opts.Endpoint, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "Sluice "+p.o.Version)
	for name, value := range p.opts.Headers {
		if strings.EqualFold(name, "Host") {
			r.Host = value
			continue
		}
		r.Header.Set(name, value)
	}
	res, err := client.Do(r)
	if err != nil {
		// The error of the client has the whole URL in it.
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d, want 200", res.StatusCode)
	}
	limit := int64(decode.MaxFile)
	if p.opts.MaxResponseBodySize >= 0 {
		limit = min(limit, p.opts.MaxResponseBodySize)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("the document is larger than %d bytes", limit)
	}
	return data, nil
}

// failed is what is in force when the document cannot be fetched: the last good one.
func (p *Provider) failed(source string, err error) dynamic.Snapshot {
	return p.keep(source, diag.List{{Place: diag.Place{Source: source}, Severity: diag.Error, Code: CodeFetch, Message: "cannot be fetched: " + err.Error()}})
}

// keep is the last good document with the reasons why it is not a newer one.
func (p *Provider) keep(source string, findings diag.List) dynamic.Snapshot {
	f := &dynamic.Fragment{Name: source, Config: &dynamic.Config{}}
	hint := "nothing of it is in force"
	if p.good != nil {
		f.Config, f.Where, f.Broken = p.good.Config, p.good.Where, p.good.Broken
		hint = "the last good version stays in force"
	}
	if findings[0].Hint != "" {
		hint = findings[0].Hint + "; " + hint
	}
	findings[0].Hint = hint
	f.Findings = findings
	return dynamic.Snapshot{Fragments: []*dynamic.Fragment{f}}
}

// read makes the snapshot of a document. One that has not changed is not read again.
func (p *Provider) read(source string, data []byte) dynamic.Snapshot {
	sum := sha256.Sum256(data)
	if p.fetched && sum == p.sum && p.good != nil {
		return dynamic.Snapshot{Fragments: []*dynamic.Fragment{p.good}}
	}
	p.sum, p.fetched = sum, true
	doc, err := decode.File(source, data, decode.YAML)
	if err != nil {
		p.fetched = false
		var syntax *decode.SyntaxError
		if errors.As(err, &syntax) {
			return p.keep(source, syntax.Findings)
		}
		return p.keep(source, diag.List{{Place: diag.Place{Source: source}, Severity: diag.Error, Code: decode.CodeSyntax, Message: err.Error()}})
	}
	p.good = doc.Dynamic(&decode.Files{Read: decode.ReadMaterial})
	return dynamic.Snapshot{Fragments: []*dynamic.Fragment{p.good}}
}
