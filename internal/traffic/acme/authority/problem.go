package authority

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/go-acme/lego/v5/acme"

	"sluice/internal/traffic/acme/schedule"
)

// Kinds of failures: stable words for the API and metrics.
const (
	// KindUnreachable: no CA was reached, or it does not work at all.
	KindUnreachable = "unreachable"
	// KindClock: our clock and the CA's differ by more than a day.
	KindClock = "clock"
	// KindStorage: what must be kept could not be stored, so that the order was not made or cannot be finished.
	KindStorage = "storage"
	// KindConfiguration: the CA can be reached and will not work with what is configured.
	KindConfiguration = "configuration"
	// KindRateLimited: a limit of the CA, until a time that it names.
	KindRateLimited = "rateLimited"
	// KindDNS, KindConnection, KindAnswer, KindTLS and KindCAA: the CA could not validate a name.
	KindDNS        = "dns"
	KindConnection = "connection"
	KindAnswer     = "answer"
	KindTLS        = "tls"
	KindCAA        = "caa"
	// KindRejected: the CA does not issue for these names.
	KindRejected = "rejected"
	// KindProvider: the record of a dns-01 challenge could not be made, or was not seen in time.
	KindProvider = "dnsProvider"
	// KindServer: the CA failed.
	KindServer = "server"
	// KindStopped: we are shutting down.
	KindStopped = "stopped"
)

// Error is a failure in plain words.
type Error struct {
	Kind string
	// Text says what happened, Advice what to do about it; Advice may be empty.
	Text, Advice string
	// Reached tells that the CA was asked something that counts for it; without it, trying again costs nothing.
	Reached bool
	// Until is when the CA wants to be asked again; zero if it did not say.
	Until time.Time
	// Failed are the names whose validation failed.
	Failed []string
	// Gone tells that the account does not exist at the CA any more.
	Gone bool
	err  error
}

// Error implements error.
func (e *Error) Error() string { return e.Text }

// Unwrap returns the cause; nil where there is no further one.
func (e *Error) Unwrap() error { return e.err }

func skewed(skew time.Duration) *Error {
	way := "ahead of"
	if skew < 0 {
		way, skew = "behind", -skew
	}
	return &Error{Kind: KindClock, Text: fmt.Sprintf("the clock of this machine is %s %s the CA's", schedule.Span(skew), way),
		Advice: "set the clock: nothing is ordered or renewed by a wrong one"}
}

// stored words a failure to keep something; nil stays nil.
func stored(err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Kind: KindStorage, Text: "the storage cannot be written: " + err.Error(), err: err}
	if errors.Is(err, syscall.ENOSPC) {
		e.Advice = "the disk is full: make room; nothing was lost"
	}
	return e
}

// explainDirectory words a failure before the CA was asked anything.
func (c *Client) explainDirectory(err error) error {
	e := c.explain(err, "fetch "+c.o.Directory)
	var p *acme.ProblemDetails
	if errors.As(err, &p) && p.HTTPStatus == 429 {
		return e // a limit is one, whatever was asked for
	}
	var out *Error
	if errors.As(e, &out) && out.Kind != KindStopped {
		out.Kind, out.Reached = KindUnreachable, false
	}
	return e
}

// explain words a failure of an exchange with the CA; what says what we were doing.
func (c *Client) explain(err error, what string) error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	if c.life.Err() != nil || errors.Is(err, context.Canceled) {
		return &Error{Kind: KindStopped, Text: "stopped while we wanted to " + what, err: err}
	}
	if p, ok := errors.AsType[*acme.ProblemDetails](err); ok && p != nil {
		return c.explainProblem(p, err, what)
	}
	return &Error{Kind: KindUnreachable, Text: "cannot " + what + ": " + reason(err), Advice: unreachableAdvice(err), err: err}
}

// reason is the innermost part of a network error: the outer ones repeat the URL.
func reason(err error) string {
	var op *net.OpError
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return "no address for " + dns.Name + ": " + dns.Err
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.As(err, &op):
		return op.Error()
	}
	text := err.Error()
	if i := strings.LastIndex(text, "\": "); i >= 0 {
		text = text[i+3:]
	}
	return text
}

func unreachableAdvice(err error) string {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var dns *net.DNSError
	switch {
	case errors.As(err, &unknown):
		return "name the authority of the CA's server in acme.caCertificates or LEGO_CA_CERTIFICATES"
	case errors.As(err, &host):
		return "the CA's server has a certificate for another name: see acme.caServerName"
	case errors.As(err, &invalid):
		return "the certificate of the CA's server is not valid now: is the clock of this machine right?"
	case errors.As(err, &dns):
		return "is the name server of this machine, or container, reachable?"
	default:
		return "is the way out to the CA open (firewall, proxy)? It is tried again by itself"
	}
}

// explainProblem words what the CA said (RFC 8555, section 6.7).
func (c *Client) explainProblem(p *acme.ProblemDetails, err error, what string) error {
	e := &Error{Text: "the CA refused to " + what + ": " + detail(p), Reached: true, Until: c.transport.retryAfter(), err: err}
	if limited, ok := errors.AsType[*acme.RateLimitedError](err); ok && limited.RetryAfter > 0 {
		e.Until = time.Now().Add(limited.RetryAfter)
	}
	switch p.Type {
	case acme.RateLimitedErrorType:
		e.Kind = KindRateLimited
		e.Advice = "wait: it is tried again by itself when the limit ends"
		if e.Until.IsZero() {
			e.Until = retryDate(p.Detail)
		}
	case acme.AccountDoesNotExistErrorType:
		e.Kind, e.Gone, e.Advice = KindConfiguration, true, "a new account is registered with the next attempt"
	case acme.ExternalAccountRequiredErrorType:
		e.Kind, e.Advice = KindConfiguration, "set acme.eab.kid and acme.eab.hmacEncoded to what the CA gave you"
	case acme.InvalidContactErrorType, acme.UnsupportedContactErrorType:
		e.Kind, e.Advice = KindConfiguration, "acme.email is not accepted: correct it, or leave it out"
	case acme.InvalidProfileErrorType:
		e.Kind, e.Advice = KindConfiguration, "acme.profile is none that the CA offers"
	case acme.BadCSRErrorType, acme.BadPublicKeyErrorType:
		e.Kind, e.Advice = KindConfiguration, "the CA does not accept this acme.keyType, or the names"
	case acme.UserActionRequiredErrorType:
		e.Kind, e.Advice = KindConfiguration, "the CA wants you to look at "+p.Instance
	case acme.RejectedIdentifierErrorType, acme.UnsupportedIdentifierErrorType:
		e.Kind, e.Advice = KindRejected, "the CA does not issue for this name: correct it, or name a resolver of another CA"
	case acme.CaaErrorType:
		e.Kind, e.Advice = KindCAA, caaAdvice(c.caa())
	case acme.DNSErrorType:
		e.Kind = KindDNS
	case acme.ServerInternalErrorType:
		e.Kind = KindServer
	default:
		switch {
		case p.HTTPStatus == 429:
			e.Kind, e.Advice = KindRateLimited, "wait: it is tried again by itself when the limit ends"
		case p.HTTPStatus >= 500:
			e.Kind, e.Advice = KindServer, "the CA has a problem: it is tried again by itself"
		case p.HTTPStatus == 401 || p.HTTPStatus == 403 || p.Type == acme.UnauthorizedErrorType:
			e.Kind, e.Advice = KindConfiguration, "the CA does not accept the account"
		default:
			e.Kind = KindConfiguration
		}
	}
	return e
}

// detail is what the CA says, with its parts.
func detail(p *acme.ProblemDetails) string {
	text := p.Detail
	for _, s := range p.SubProblems {
		text += "; " + s.Identifier.Value + ": " + s.Detail
	}
	if text == "" {
		text = p.Type
	}
	return text
}

// retryDate finds the time in a text of Let's Encrypt: "... retry after 2026-03-01 12:00:00 UTC: ...".
func retryDate(text string) time.Time {
	_, rest, ok := strings.Cut(text, "retry after ")
	if !ok {
		return time.Time{}
	}
	for _, layout := range []string{"2006-01-02 15:04:05 MST", time.RFC3339} {
		if len(rest) >= len(layout) {
			if t, err := time.Parse(layout, rest[:len(layout)]); err == nil {
				return t
			}
		}
	}
	if word, _, _ := strings.Cut(rest, " "); word != "" {
		if t, err := time.Parse(time.RFC3339, strings.TrimRight(word, ":,")); err == nil {
			return t
		}
	}
	return time.Time{}
}

// caa is what a CAA record has to name for this CA.
func (c *Client) caa() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.core == nil {
		return nil
	}
	return c.core.GetDirectory().Meta.CaaIdentities
}

func caaAdvice(identities []string) string {
	if len(identities) == 0 {
		return "a CAA record of the domain allows other CAs only: change or remove it"
	}
	return fmt.Sprintf("a CAA record of the domain allows other CAs only: add one with %q", "0 issue \""+identities[0]+"\"")
}

// explainChallenge words why a name was not validated.
func (c *Client) explainChallenge(name, kind string, p *acme.ProblemDetails) *Error {
	if p == nil {
		return &Error{Kind: KindAnswer, Reached: true, Failed: []string{name}, Text: name + ": the CA did not accept the answer, and does not say why"}
	}
	e := &Error{Kind: KindAnswer, Reached: true, Failed: []string{name}, Text: fmt.Sprintf("%s: %s failed: %s", name, kind, detail(p)), err: p}
	port := "80"
	if kind == tlsALPN01 {
		port = "443"
	}
	switch p.Type {
	case acme.ConnectionErrorType:
		e.Kind, e.Advice = KindConnection, fmt.Sprintf("port %s of %s is not reachable from the internet, or leads elsewhere: look at DNS (A and AAAA), port forwarding and firewall", port, name)
	case acme.DNSErrorType:
		e.Kind, e.Advice = KindDNS, "the CA finds no record of "+name+": make A or AAAA lead to this machine"
		if kind == dns01Kind {
			e.Advice = "the CA does not find the TXT record of _acme-challenge." + strings.TrimPrefix(name, "*.") + ": see dnsChallenge.propagation"
		}
	case acme.CaaErrorType:
		e.Kind, e.Advice = KindCAA, caaAdvice(c.caa())
	case acme.TLSErrorType:
		e.Kind, e.Advice = KindTLS, "something else answers TLS on port 443 of "+name+": look at DNS and port forwarding"
	case acme.RateLimitedErrorType:
		e.Kind, e.Until = KindRateLimited, retryDate(p.Detail)
	case acme.UnauthorizedErrorType, acme.IncorrectResponseErrorType:
		switch kind {
		case dns01Kind:
			e.Advice = "the CA sees another TXT record: an old one is left, or the zone is served from elsewhere"
		default:
			e.Advice = fmt.Sprintf("another server answers on port %s of %s: does DNS (A and AAAA) lead to this machine?", port, name)
		}
	case acme.ServerInternalErrorType:
		e.Kind = KindServer
	}
	return e
}
