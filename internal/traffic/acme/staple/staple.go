// Package staple fetches the revocation answers (OCSP, RFC 6960) that handshakes send along, for every certificate that names
// a responder: those of files, the default one and those of resolvers. An answer is checked before it is used, and dropped
// when it ends; without one, handshakes go on as they are.
package staple

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"

	"sluice/internal/traffic/acme/schedule"
	"sluice/internal/traffic/certs"
)

const (
	// refresh is how often an answer is fetched anew, or at half of its life if that is shorter.
	refresh = time.Hour
	// firstRetry, doubling to refresh, is the pause behind a failure.
	firstRetry = time.Minute
	// timeout bounds an exchange with a responder; maxAnswer what is read, in bytes.
	timeout   = 10 * time.Second
	maxAnswer = 64 << 10
	// forget is how long the answer of a certificate is kept that is not there any more.
	forget = 24 * time.Hour
	// look is how often the list of certificates is gone over.
	look = time.Minute
	// atOnce is how many responders are asked side by side.
	atOnce = 4
)

// Options are what a Stapler needs.
type Options struct {
	// Overrides are URLs to ask, by the responder's URL in the certificate.
	Overrides map[string]string
	// Pairs returns the certificates in force.
	Pairs func() []*certs.Pair
	// Revoked is called when an authority says that a certificate is revoked; it may be nil.
	Revoked func(*certs.Pair)
	Log     *slog.Logger
}

// Stapler keeps the answers fresh.
type Stapler struct {
	o      Options
	client *http.Client
	wake   chan struct{}
	known  map[[sha256.Size]byte]*state
}

// state is what is known about one certificate.
type state struct {
	answer   []byte
	ends     time.Time // of the answer
	next     time.Time // fetch
	failures int
	seen     time.Time
	revoked  bool
	problem  string
	on       *certs.Pair // has the answer
}

// New makes a Stapler; Run works.
func New(o Options) *Stapler {
	return &Stapler{o: o, wake: make(chan struct{}, 1), known: map[[sha256.Size]byte]*state{},
		client: &http.Client{Timeout: timeout, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}}
}

// Poke makes Run look at once, since there are other certificates.
func (s *Stapler) Poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run works until ctx ends.
func (s *Stapler) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
		s.pass(ctx)
		timer.Reset(look)
	}
}

// outcome is the result of one question.
type outcome struct {
	pair *certs.Pair
	st   *state
	raw  []byte
	resp *ocsp.Response
	err  error
}

// pass goes over all certificates once.
func (s *Stapler) pass(ctx context.Context) {
	now := time.Now()
	var due []outcome
	for _, p := range s.o.Pairs() {
		if p.TLS.Leaf == nil || len(p.TLS.Leaf.OCSPServer) == 0 || now.After(p.TLS.Leaf.NotAfter) {
			continue
		}
		st := s.known[p.ID()]
		if st == nil {
			st = &state{}
			s.known[p.ID()] = st
		}
		st.seen = now
		if st.answer != nil && now.After(st.ends) {
			st.answer, st.on = nil, nil
			p.Staple(nil)
		}
		if st.answer != nil && st.on != p {
			p.Staple(st.answer)
			st.on = p
		}
		if !now.Before(st.next) {
			due = append(due, outcome{pair: p, st: st})
		}
	}
	for id, st := range s.known {
		if now.Sub(st.seen) > forget {
			delete(s.known, id)
		}
	}
	for chunk := range slices.Chunk(due, atOnce) {
		done := make(chan struct{})
		for i := range chunk {
			go func() {
				defer func() { done <- struct{}{} }()
				o := &chunk[i]
				o.raw, o.resp, o.err = s.fetch(ctx, o.pair)
			}()
		}
		for range chunk {
			<-done
		}
		if ctx.Err() != nil {
			return
		}
		for i := range chunk {
			s.note(&chunk[i], time.Now())
		}
	}
}

// note puts an outcome in force.
func (s *Stapler) note(o *outcome, now time.Time) {
	st, names := o.st, strings.Join(o.pair.Names, " ")
	if o.err != nil {
		st.failures++
		st.next = now.Add(min(firstRetry<<min(st.failures-1, 6), refresh))
		if st.problem != o.err.Error() {
			st.problem = o.err.Error()
			s.o.Log.Warn("No revocation answer for a certificate; handshakes go on without a new one", "names", names, "error", o.err)
		}
		return
	}
	st.failures, st.problem = 0, ""
	end := o.resp.NextUpdate
	if end.IsZero() {
		end = now.Add(refresh)
	}
	st.next = now.Add(min(refresh, max(end.Sub(now)/2, firstRetry)))
	if o.resp.Status != ocsp.Good {
		st.answer, st.on = nil, nil
		o.pair.Staple(nil)
		if o.resp.Status == ocsp.Revoked && !st.revoked {
			st.revoked = true
			s.o.Log.Error("A certificate is revoked by its authority", "names", names, "revokedAt", o.resp.RevokedAt)
			if s.o.Revoked != nil {
				s.o.Revoked(o.pair)
			}
		}
		return
	}
	st.answer, st.ends, st.on = o.raw, end, o.pair
	o.pair.Staple(o.raw)
}

// fetch asks the responder of a certificate.
func (s *Stapler) fetch(ctx context.Context, p *certs.Pair) ([]byte, *ocsp.Response, error) {
	leaf := p.TLS.Leaf
	issuer, err := s.issuer(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	question, err := ocsp.CreateRequest(leaf, issuer, nil)
	if err != nil {
		return nil, nil, err
	}
	where := leaf.OCSPServer[0]
	if other := s.o.Overrides[where]; other != "" {
		where = other
	}
	raw, err := s.exchange(ctx, http.MethodPost, where, "application/ocsp-request", question)
	if err != nil {
		return nil, nil, err
	}
	resp, err := ocsp.ParseResponseForCert(raw, leaf, issuer)
	if err != nil {
		return nil, nil, fmt.Errorf("the answer of %s: %w", where, err)
	}
	now := time.Now()
	switch {
	case !resp.NextUpdate.IsZero() && now.After(resp.NextUpdate):
		return nil, nil, fmt.Errorf("the answer of %s ended %s ago", where, schedule.Span(now.Sub(resp.NextUpdate)))
	case resp.ThisUpdate.After(now.Add(time.Hour)):
		return nil, nil, fmt.Errorf("the answer of %s is for the future: is the clock right?", where)
	}
	return raw, resp, nil
}

// issuer returns the authority's certificate: from the chain, else from where the certificate says that it is.
func (s *Stapler) issuer(ctx context.Context, p *certs.Pair) (*x509.Certificate, error) {
	leaf := p.TLS.Leaf
	for _, der := range p.TLS.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil && leaf.CheckSignatureFrom(c) == nil {
			return c, nil
		}
	}
	if len(leaf.IssuingCertificateURL) == 0 {
		return nil, errors.New("the chain does not hold the certificate of its authority")
	}
	der, err := s.exchange(ctx, http.MethodGet, leaf.IssuingCertificateURL[0], "", nil)
	if err != nil {
		return nil, fmt.Errorf("fetch the authority's certificate: %w", err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the authority's certificate: %w", err)
	}
	return c, leaf.CheckSignatureFrom(c)
}

func (s *Stapler) exchange(ctx context.Context, method, where, kind string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, where, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s answered %s", where, resp.Status)
	case len(raw) > maxAnswer:
		return nil, fmt.Errorf("the answer of %s is too long", where)
	}
	return raw, nil
}
