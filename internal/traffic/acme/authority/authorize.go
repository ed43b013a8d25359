package authority

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-acme/lego/v5/acme"
	"github.com/go-acme/lego/v5/acme/api"
	"github.com/go-acme/lego/v5/challenge"
)

const (
	http01Kind = string(challenge.HTTP01)
	tlsALPN01  = string(challenge.TLSALPN01)
	dns01Kind  = string(challenge.DNS01)
)

// maxToken is the longest token that is taken from a CA. Real ones have 43 characters.
const maxToken = 512

// Challenge is one challenge to be answered.
type Challenge struct {
	// Name is the identifier in lower case, without "*."; Wildcard tells that it had one.
	Name     string
	Wildcard bool
	// Token is the CA's token: characters of base64url only. Answer is the key authorisation.
	Token, Answer string

	authz acme.Authorization
	core  *api.Core
}

// Solver answers challenges of one kind.
type Solver interface {
	// Kind is http-01, tls-alpn-01 or dns-01.
	Kind() string
	// Present prepares the answer, Ready returns when the CA may ask for it, CleanUp removes it. CleanUp is called once for
	// each Present, whatever that returned.
	Present(ctx context.Context, c Challenge) error
	Ready(ctx context.Context, c Challenge) error
	CleanUp(ctx context.Context, c Challenge)
	// Alone tells that the challenges of an order must be answered one after the other, with pause between them.
	Alone() (pause time.Duration, ok bool)
}

// cleanUpTimeout bounds the removal of answers, which also happens when we are stopping.
const cleanUpTimeout = 20 * time.Second

// pendingAuthorization is one that must be validated.
type pendingAuthorization struct {
	url       string
	name      string // with "*." for wildcards
	solver    Solver
	challenge acme.Challenge
	c         Challenge
}

// authorize has every name of the order validated that is not.
func (j *job) authorize(ctx context.Context) error {
	open, err := j.pending(ctx)
	if err != nil {
		return err
	}
	var together, alone []*pendingAuthorization
	var pause time.Duration
	for _, p := range open {
		if d, ok := p.solver.Alone(); ok {
			alone, pause = append(alone, p), max(pause, d)
		} else {
			together = append(together, p)
		}
	}
	groups := [][]*pendingAuthorization{together}
	for _, p := range alone {
		groups = append(groups, []*pendingAuthorization{p})
	}
	for i, g := range groups {
		if len(g) == 0 {
			continue
		}
		if i > 1 {
			if err := j.pause(ctx, pause); err != nil {
				return err
			}
		}
		if err := j.solve(ctx, g); err != nil {
			if failure, ok := errors.AsType[*Error](err); ok && len(failure.Failed) > 0 {
				j.abandon(open)
			}
			return err
		}
	}
	got, err := j.core.Orders.Get(ctx, j.o.URL)
	if err != nil {
		return j.c.explain(err, "look at the order")
	}
	j.order = got.Order
	return nil
}

// pending fetches the authorisations and chooses how each is validated.
func (j *job) pending(ctx context.Context) ([]*pendingAuthorization, error) {
	var out []*pendingAuthorization
	for _, url := range j.order.Authorizations {
		a, err := j.core.Authorizations.Get(ctx, url)
		if err != nil {
			return nil, j.c.explain(err, "look at an authorisation")
		}
		switch a.Status {
		case acme.StatusValid:
			continue
		case acme.StatusPending:
		default:
			return nil, &Error{Kind: KindServer, Reached: true, Text: fmt.Sprintf("the authorisation of %s is %s", challenge.GetTargetedDomain(a), a.Status)}
		}
		p, err := j.choose(a)
		if err != nil {
			return nil, err
		}
		p.url = url
		out = append(out, p)
	}
	return out, nil
}

// choose takes the first solver that the CA offers a challenge for.
func (j *job) choose(a acme.Authorization) (*pendingAuthorization, error) {
	name := challenge.GetTargetedDomain(a)
	var offered []string
	for _, c := range a.Challenges {
		offered = append(offered, c.Type)
	}
	for _, s := range j.req.Solvers {
		i := slices.Index(offered, s.Kind())
		if i < 0 || a.Wildcard && s.Kind() != dns01Kind {
			continue
		}
		c := a.Challenges[i]
		if err := checkToken(c.Token); err != nil {
			return nil, err
		}
		answer, err := j.core.GetKeyAuthorization(c.Token)
		if err != nil {
			return nil, err
		}
		return &pendingAuthorization{name: name, solver: s, challenge: c, c: Challenge{
			Name: strings.ToLower(a.Identifier.Value), Wildcard: a.Wildcard, Token: c.Token, Answer: answer, authz: a, core: j.core}}, nil
	}
	e := &Error{Kind: KindConfiguration, Reached: true, Text: fmt.Sprintf("%s: none of the configured challenges can validate it; the CA offers %s", name, strings.Join(offered, ", "))}
	if a.Wildcard {
		e.Advice = "a wildcard needs acme.dnsChallenge"
	} else if len(j.req.Solvers) == 0 {
		e.Advice = "set acme.httpChallenge, acme.tlsChallenge or acme.dnsChallenge"
	}
	return nil, e
}

// checkToken refuses tokens that are none (RFC 8555, section 8.1), before they are put anywhere.
func checkToken(token string) error {
	bad := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
	}
	if token == "" || len(token) > maxToken || strings.ContainsFunc(token, bad) {
		return &Error{Kind: KindServer, Reached: true, Text: "the CA sent a token that is none"}
	}
	return nil
}

// solve answers a group of challenges and waits until the CA has seen all answers.
func (j *job) solve(ctx context.Context, group []*pendingAuthorization) error {
	presented := 0
	defer func() {
		// Also when ctx has ended: a record left in the zone is somebody's work.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
		defer cancel()
		for _, p := range group[:presented] {
			p.solver.CleanUp(clean, p.c)
		}
	}()
	for _, p := range group {
		presented++
		if err := p.solver.Present(ctx, p.c); err != nil {
			return j.unprepared(ctx, p, err)
		}
	}
	for _, p := range group {
		if err := p.solver.Ready(ctx, p.c); err != nil {
			return j.unprepared(ctx, p, err)
		}
	}
	for _, p := range group {
		j.challenge = p.solver.Kind()
		if _, err := j.core.Challenges.New(ctx, p.challenge.URL); err != nil {
			return j.c.explain(err, "validate "+p.name)
		}
	}
	var failures []*Error
	deadline := time.Now().Add(validationTimeout)
	for _, p := range group {
		err := j.validated(ctx, p, deadline)
		failure, ok := errors.AsType[*Error](err)
		switch {
		case err == nil:
		case ok && len(failure.Failed) > 0:
			failures = append(failures, failure)
		default:
			return err
		}
	}
	return merge(failures)
}

func (j *job) unprepared(ctx context.Context, p *pendingAuthorization, err error) error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	if ctx.Err() != nil {
		return j.c.explain(ctx.Err(), "answer a challenge")
	}
	e := &Error{Kind: KindProvider, Reached: true, Text: fmt.Sprintf("%s: the answer to %s could not be prepared: %v", p.name, p.solver.Kind(), err), err: err}
	if p.solver.Kind() == dns01Kind {
		e.Advice = "look at the DNS provider's credentials in the environment, and at dnsChallenge.propagation"
	}
	return e
}

// validated waits for the verdict on one name.
func (j *job) validated(ctx context.Context, p *pendingAuthorization, deadline time.Time) error {
	for wait := 250 * time.Millisecond; ; wait = min(wait*3/2, 5*time.Second) {
		a, err := j.core.Authorizations.Get(ctx, p.url)
		if err != nil {
			return j.c.explain(err, "look at an authorisation")
		}
		switch a.Status {
		case acme.StatusValid:
			return nil
		case acme.StatusPending, acme.StatusProcessing:
		default:
			for _, c := range a.Challenges {
				if c.Type == p.solver.Kind() && c.Error != nil {
					return j.c.explainChallenge(p.name, c.Type, c.Error)
				}
			}
			return j.c.explainChallenge(p.name, p.solver.Kind(), nil)
		}
		if time.Now().After(deadline) {
			return &Error{Kind: KindServer, Reached: true, Text: fmt.Sprintf("%s: the CA did not validate within %s", p.name, validationTimeout),
				Advice: "it is tried again by itself"}
		}
		if err := j.pause(ctx, wait); err != nil {
			return err
		}
	}
}

// merge makes one error of those of several names.
func merge(failures []*Error) error {
	if len(failures) == 0 {
		return nil
	}
	out := *failures[0]
	for _, f := range failures[1:] {
		out.Text += "; " + f.Text
		out.Failed = append(out.Failed, f.Failed...)
		if f.Until.After(out.Until) {
			out.Until = f.Until
		}
	}
	return &out
}

// abandon gives back authorisations that stay pending: CAs limit how many there may be. It is a courtesy.
func (j *job) abandon(open []*pendingAuthorization) {
	if len(open) < 2 {
		return // the only one has failed
	}
	ctx, cancel := context.WithTimeout(j.c.life, cleanUpTimeout)
	defer cancel()
	for _, p := range open {
		if a, err := j.core.Authorizations.Get(ctx, p.url); err == nil && a.Status == acme.StatusPending {
			_ = j.core.Authorizations.Deactivate(ctx, p.url)
		}
	}
}
