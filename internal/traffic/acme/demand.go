package acme

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/internal/core/static"
)

// Bounds of issuing on demand: whoever can open connections must not be able to make us ask or order much.
const (
	// demandWait is how long a handshake waits for its certificate, demandWaiting how many do at a time.
	demandWait    = 8 * time.Second
	demandWaiting = 64
	// demandWanted is how many names wait for their order at most.
	demandWanted = 1000
	// askTimeout bounds a question to the ask URL, verdictLife how long its answer counts, verdicts how many are kept.
	askTimeout  = 5 * time.Second
	verdictLife = 10 * time.Minute
	verdicts    = 4096
	// Questions and orders by handshakes: so many at once, and one more in each interval.
	askBurst, askEvery     = 20, time.Second / 4
	orderBurst, orderEvery = 10, 10 * time.Second
	// deniedPause is how long a renewal waits whose name is not allowed any more.
	deniedPause = 24 * time.Hour
)

// demand issues for names that handshakes ask for and nobody else has.
type demand struct {
	m         *Manager
	resolvers []*resolver
	client    *http.Client

	mu       sync.Mutex
	wanted   map[string]*resolver
	known    map[string]verdict
	asks     bucket
	orders   bucket
	waiting  int
	finished chan struct{} // closed and replaced when an order ends
}

type verdict struct {
	resolver *resolver // nil: denied
	until    time.Time
}

func newDemand(m *Manager) *demand {
	d := &demand{m: m, wanted: map[string]*resolver{}, known: map[string]verdict{}, finished: make(chan struct{}),
		asks: bucket{burst: askBurst, every: askEvery}, orders: bucket{burst: orderBurst, every: orderEvery},
		client: &http.Client{Timeout: askTimeout, Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	for _, r := range m.resolvers {
		if r.config.OnDemand != nil {
			d.resolvers = append(d.resolvers, r)
		}
	}
	if len(d.resolvers) > 0 {
		m.o.Keeper.SetMissing(d.missing)
	}
	return d
}

// missing is called by a handshake for a name without a certificate. It returns when there is one, or when there will be none
// soon.
func (d *demand) missing(ctx context.Context, name string) {
	name = normalName(name)
	if !orderable(name) {
		return
	}
	d.mu.Lock()
	if d.waiting >= demandWaiting {
		d.mu.Unlock()
		return
	}
	d.waiting++
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.waiting--
	}()
	ctx, cancel := context.WithTimeout(ctx, demandWait)
	defer cancel()
	if !d.want(ctx, name) {
		return
	}
	d.m.poke()
	for {
		d.mu.Lock()
		ended, open := d.finished, d.wanted[name] != nil
		d.mu.Unlock()
		if !open {
			return
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return
		}
	}
}

// want puts a name on the list if it is allowed and not on it yet.
func (d *demand) want(ctx context.Context, name string) bool {
	d.mu.Lock()
	open := d.wanted[name] != nil
	d.mu.Unlock()
	if open {
		return true
	}
	r := d.allowed(ctx, name)
	if r == nil || d.m.resting(r, name) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.wanted) >= demandWanted || !d.orders.take(time.Now()) {
		return false
	}
	d.wanted[name] = r
	return true
}

// orderable reports whether a server name can be one of a public host.
func orderable(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil || len(name) > 253 || !strings.Contains(name, ".") {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		bad := func(c rune) bool { return !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') }
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, bad) || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

// allowed returns the resolver that may order for a name, nil for none.
func (d *demand) allowed(ctx context.Context, name string) *resolver {
	now := time.Now()
	d.mu.Lock()
	v, ok := d.known[name]
	d.mu.Unlock()
	if ok && now.Before(v.until) {
		return v.resolver
	}
	for _, r := range d.resolvers {
		if listed(r.config.OnDemand, name) {
			return r
		}
	}
	v = verdict{until: now.Add(verdictLife)}
	for _, r := range d.resolvers {
		if r.config.OnDemand.Ask == "" {
			continue
		}
		d.mu.Lock()
		free := d.asks.take(time.Now())
		d.mu.Unlock()
		if !free {
			return nil
		}
		yes, err := d.ask(ctx, r.config.OnDemand.Ask, name)
		if err != nil {
			d.m.log.Warn("Nobody says whether a certificate may be issued on demand", "resolver", r.name, "name", name, "error", err)
			return nil // not remembered: the next handshake asks again
		}
		if yes {
			v.resolver = r
			break
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, old := range d.known {
		if len(d.known) < verdicts && now.Before(old.until) {
			break // there is room
		}
		if !now.Before(old.until) || len(d.known) >= verdicts {
			delete(d.known, k)
		}
	}
	d.known[name] = v
	return v.resolver
}

// listed reports whether the list of allowed names has one.
func listed(o *static.OnDemand, name string) bool {
	return slices.ContainsFunc(o.Allow, func(pattern string) bool { return covers([]string{normalName(pattern)}, name) })
}

// ask asks the URL of the configuration.
func (d *demand) ask(ctx context.Context, where, name string) (bool, error) {
	u, err := url.Parse(where)
	if err != nil {
		return false, fmt.Errorf("onDemand.ask: %w", err)
	}
	q := u.Query()
	q.Set("domain", name)
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return false, err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return false, err
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK, nil
}

// wants are the names that were asked for, and those that were issued so and are still valid.
func (d *demand) wants(now time.Time) (out []Want) {
	d.mu.Lock()
	for name, r := range d.wanted {
		out = append(out, Want{Resolver: r.name, Names: []string{name}})
	}
	d.mu.Unlock()
	for _, r := range d.resolvers {
		for _, e := range r.entries {
			if s := r.content.Sets[e.id]; s != nil && s.OnDemand && e.valid(now) {
				out = append(out, Want{Resolver: r.name, Names: e.names})
			}
		}
	}
	for i := range out {
		out[i].Users = []string{"on demand"}
	}
	slices.SortFunc(out, func(a, b Want) int { return strings.Compare(a.Names[0], b.Names[0]) })
	return slices.CompactFunc(out, func(a, b Want) bool { return a.Names[0] == b.Names[0] && a.Resolver == b.Resolver })
}

// ended takes a name off the list: its order is over, one way or the other.
func (d *demand) ended(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.wanted, name)
	close(d.finished)
	d.finished = make(chan struct{})
}

// settle takes names off the list for which there will be no order.
func (d *demand) settle(list []decided) {
	for i := range list {
		w := &list[i]
		if w.demand && (w.by != nil || w.given || w.refused != "" || w.waits != "") {
			d.mu.Lock()
			open := d.wanted[w.Names[0]] != nil
			d.mu.Unlock()
			if open {
				d.ended(w.Names[0])
			}
		}
	}
}

// resting reports whether a name must not be tried yet.
func (m *Manager) resting(r *resolver, name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	id := idOf(name)
	s := r.content.Sets[id]
	return r.readOnly != nil || r.broken != nil || r.gate.closed(now) || now.Before(r.penalty[id]) || s != nil && now.Before(s.Next)
}

// bucket lets burst things happen at once, and one more in each interval. The zero level is a full one.
type bucket struct {
	burst int
	every time.Duration
	spent int
	since time.Time
}

func (b *bucket) take(now time.Time) bool {
	if back := int(now.Sub(b.since) / b.every); back > 0 {
		b.spent = max(0, b.spent-back)
		b.since = now
	}
	if b.spent >= b.burst {
		return false
	}
	b.spent++
	return true
}
