package authority

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-acme/lego/v5/acme"
	"github.com/go-acme/lego/v5/acme/api"
	"github.com/go-acme/lego/v5/challenge"
	"github.com/go-acme/lego/v5/challenge/dns01"
)

// DNSOptions say how a dns-01 challenge is prepared.
type DNSOptions struct {
	// Resolvers are host:port of the servers that are asked; empty for the system's.
	Resolvers []string
	// DisableChecks does not look for the record, DisableAuthoritative not at the zone's own servers; RequireRecursive looks
	// at each of Resolvers, too. Delay is waited before the first look.
	DisableChecks, DisableAuthoritative, RequireRecursive bool
	Delay                                                 time.Duration
}

// longProvider bounds the wait that a DNS provider may ask for.
const longProvider = 2 * time.Hour

// DNS answers dns-01 challenges by a DNS provider, which make returns; it is called when the first challenge comes, since
// reading credentials may fail and need not be done before.
func DNS(make func() (challenge.Provider, error), o DNSOptions) Solver {
	return &dnsSolver{options: o, make: make}
}

type dnsSolver struct {
	options DNSOptions
	make    func() (challenge.Provider, error)

	mu       sync.Mutex
	provider challenge.Provider
}

// Kind implements Solver.
func (s *dnsSolver) Kind() string { return dns01Kind }

// built returns the provider. One that could not be made is tried again: the environment may name files.
func (s *dnsSolver) built() (challenge.Provider, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.provider == nil {
		p, err := s.make()
		if err != nil {
			return nil, &Error{Kind: KindConfiguration, Text: "the DNS provider cannot be used: " + err.Error(),
				Advice: "set the environment variables that the provider needs"}
		}
		s.provider = p
	}
	return s.provider, nil
}

// Alone implements Solver.
func (s *dnsSolver) Alone() (time.Duration, bool) {
	p, err := s.built()
	if err != nil {
		return 0, false // Present says it
	}
	if q, ok := p.(interface{ Sequential() time.Duration }); ok {
		return q.Sequential(), true
	}
	return 0, false
}

// Present implements Solver.
func (s *dnsSolver) Present(ctx context.Context, c Challenge) error {
	return s.with(ctx, c, func(ch *dns01.Challenge) error { return ch.PreSolve(ctx, c.authz) })
}

// CleanUp implements Solver.
func (s *dnsSolver) CleanUp(ctx context.Context, c Challenge) {
	_ = s.with(ctx, c, func(ch *dns01.Challenge) error { return ch.CleanUp(ctx, c.authz) }) // a record that stays does no harm
}

// Ready implements Solver: it returns when the record is seen.
func (s *dnsSolver) Ready(ctx context.Context, c Challenge) error {
	return s.with(ctx, c, func(ch *dns01.Challenge) error { return ch.Solve(ctx, c.authz) })
}

// with calls f with lego's form of the challenge, while the name servers of this solver are in force.
func (s *dnsSolver) with(ctx context.Context, c Challenge, f func(*dns01.Challenge) error) error {
	p, err := s.built()
	if err != nil {
		return err
	}
	release, err := servers.acquire(ctx, s.options.Resolvers)
	if err != nil {
		return err
	}
	defer release()
	timeout, interval := dns01.DefaultPropagationTimeout, dns01.DefaultPollingInterval
	if t, ok := p.(challenge.ProviderTimeout); ok {
		timeout, interval = t.Timeout()
	}
	look := func(ctx context.Context, name, fqdn, value string, check dns01.PreCheckFunc) (bool, error) {
		return true, s.wait(ctx, min(timeout, longProvider), max(interval, 100*time.Millisecond), func() (bool, error) { return check(ctx, fqdn, value) })
	}
	options := []dns01.ChallengeOption{dns01.WrapPreCheck(look)}
	if s.options.DisableAuthoritative {
		options = append(options, dns01.DisableAuthoritativeNssPropagationRequirement())
	}
	if !s.options.RequireRecursive {
		options = append(options, dns01.DisableRecursiveNSsPropagationRequirement())
	}
	return f(dns01.NewChallenge(c.core, accepted, immediate{p}, options...))
}

// wait looks until the record is seen. lego's own loop cannot be ended, so it gets the outcome of this one.
func (s *dnsSolver) wait(ctx context.Context, timeout, interval time.Duration, look func() (bool, error)) error {
	if err := sleep(ctx, s.options.Delay); err != nil || s.options.DisableChecks {
		return err
	}
	deadline := time.Now().Add(timeout)
	for {
		seen, err := look()
		if seen && err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			if err == nil {
				err = errors.New("the record is not there")
			}
			return fmt.Errorf("the record was not seen within %s: %w", timeout, err)
		}
		if err := sleep(ctx, interval); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// immediate is a provider as lego sees it: nothing to wait for, since wait does that.
type immediate struct{ challenge.Provider }

// Timeout implements challenge.ProviderTimeout.
func (immediate) Timeout() (timeout, interval time.Duration) { return time.Hour, 0 }

// accepted is what lego calls when the record is seen: telling the CA is our part, since the order is ours.
func accepted(context.Context, *api.Core, string, acme.Challenge) error { return nil }

// nameServers is which name servers lego's one client per process asks. Jobs with the same ones go side by side, others
// wait.
type nameServers struct {
	mu      sync.Mutex
	changed chan struct{} // closed when users becomes 0
	users   int
	current []string
	set     bool
}

var servers nameServers

// acquire puts resolvers in force until release is called.
func (n *nameServers) acquire(ctx context.Context, resolvers []string) (release func(), err error) {
	for {
		n.mu.Lock()
		if n.users == 0 && (!n.set || !slices.Equal(n.current, resolvers)) {
			options := dns01.NewOptions()
			options.RecursiveNameservers = slices.Clone(resolvers)
			dns01.SetDefaultClient(dns01.NewClient(options))
			n.current, n.set = slices.Clone(resolvers), true
		}
		if slices.Equal(n.current, resolvers) {
			n.users++
			if n.users == 1 {
				n.changed = make(chan struct{})
			}
			n.mu.Unlock()
			return n.release, nil
		}
		changed := n.changed
		n.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (n *nameServers) release() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.users--; n.users == 0 {
		close(n.changed)
	}
}
