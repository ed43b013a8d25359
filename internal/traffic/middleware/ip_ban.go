package middleware

import (
	"encoding/json"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/traffic/middleware/statuses"
	"sluice/internal/wire/httpmsg"
)

// ipBan shuts out clients that cause many errors of certain kinds. An IPv6 client is its /64, from which it can choose
// addresses at will, unless ipv6Subnet says otherwise.
type ipBan struct {
	status  statuses.Set
	client  Client
	block   Client // cuts addresses to what is banned together
	exempt  *Ranges
	bans    *banTable
	refusal *fault.Fault
	name    string
	log     *slog.Logger
	next    httpmsg.Handler
}

func checkIPBan(c *dynamic.Middleware) diag.List {
	b := c.IPBan
	l := CheckIPStrategy("ipBan.ipStrategy", b.IPStrategy)
	if len(b.Status) == 0 {
		l.Add(Bad("ipBan.status", "status is empty", "the usual list is 401, 403, 404"))
	} else if _, at, err := statuses.Parse(b.Status); err != nil {
		l.Add(Bad(fmt.Sprintf("ipBan.status[%d]", at), err.Error(), ""))
	}
	if b.MaxAttempts < 1 {
		l.Add(Bad("ipBan.maxAttempts", fmt.Sprintf("%d is less than one", b.MaxAttempts), "the usual number is 20"))
	}
	if b.Window <= 0 {
		l.Add(Bad("ipBan.window", "window is not more than zero", "the usual time is 1m"))
	}
	if b.BanDuration <= 0 {
		l.Add(Bad("ipBan.banDuration", "banDuration is not more than zero", "the usual time is 10m"))
	}
	if !KnownStatus(rejectStatus(b.RejectStatusCode)) {
		l.Add(Bad("ipBan.rejectStatusCode", fmt.Sprintf("%d is not a status code for an answer", b.RejectStatusCode), "a usual one is 403"))
	}
	if _, err := ParseRanges(b.ExemptRange); err != nil {
		l.Add(Bad("ipBan.exemptRange", err.Error(), ""))
	}
	return l
}

func buildIPBan(c *dynamic.Middleware, env Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	o := c.IPBan
	fingerprint, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	b := &ipBan{refusal: refuse(rejectStatus(o.RejectStatusCode), "the client is banned"), name: env.Name, log: env.Log, next: next}
	if b.status, _, err = statuses.Parse(o.Status); err != nil {
		return nil, err
	}
	if b.client, err = NewClient(o.IPStrategy); err != nil {
		return nil, err
	}
	// The exempt ones are told by their whole address.
	b.block.bits, b.client.bits = b.client.bits, 0
	if b.block.bits == 0 {
		b.block.bits = 64
	}
	if b.exempt, err = ParseRanges(o.ExemptRange); err != nil {
		return nil, err
	}
	b.bans = live(env, "ipBan "+env.Name+" "+string(fingerprint), func() *banTable {
		return newBanTable(o.MaxAttempts, o.Window.Std(), o.BanDuration.Std(), maxBanned)
	})
	return b, nil
}

// Serve refuses banned clients and counts what the others are answered by the handlers further in. Clients whose address is not
// known are nobody: they are neither counted nor banned.
func (b *ipBan) Serve(x *httpmsg.Exchange) error {
	a, ok := b.client.Addr(x)
	if !ok || b.exempt.Contains(a) {
		return b.next.Serve(x)
	}
	a = b.block.cut(a)
	if b.bans.some.Load() > 0 && b.bans.banned(a, time.Now()) {
		return b.refusal
	}
	err := b.next.Serve(x)
	status := x.Res.Status
	if err != nil {
		status = fault.Status(err)
	}
	if b.status.Has(status) && b.bans.count(a, time.Now()) && b.log != nil {
		b.log.Warn("A client is banned", "middlewareName", b.name, "client", a.String(), "duration", b.bans.ban.String())
	}
	return err
}

// maxBanned is how many clients a table of bans remembers.
const maxBanned = 1 << 16

// banTable counts answers by client and knows who is banned. It remembers a bounded number of clients (INV-6): when there
// is no room, one of a few that it looks at makes way, those that would be missed least first. Safe for concurrent use.
type banTable struct {
	attempts    int
	window, ban time.Duration
	some        atomic.Int64 // bans, perhaps over: while there are none, nobody is looked up
	seed        maphash.Seed
	shards      [16]banShard
}

type banShard struct {
	mu      sync.Mutex
	room    int
	clients map[netip.Addr]*banEntry
}

// banEntry counts in the current window and knows the one before, of which the part that lies within a window's time from
// now still counts.
type banEntry struct {
	start     time.Time // of the current window
	now, last int
	until     time.Time // zero if not banned
}

func newBanTable(attempts int, window, ban time.Duration, room int) *banTable {
	t := &banTable{attempts: attempts, window: window, ban: ban, seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].room = max(1, room/len(t.shards))
		t.shards[i].clients = map[netip.Addr]*banEntry{}
	}
	return t
}

func (t *banTable) shard(a netip.Addr) *banShard {
	return &t.shards[maphash.Comparable(t.seed, a)%uint64(len(t.shards))]
}

// banned reports whether a is shut out.
func (t *banTable) banned(a netip.Addr, now time.Time) bool {
	s := t.shard(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.clients[a]
	switch {
	case e == nil || e.until.IsZero():
		return false
	case now.Before(e.until):
		return true
	}
	t.forget(s, a, e)
	return false
}

func (t *banTable) forget(s *banShard, a netip.Addr, e *banEntry) {
	if !e.until.IsZero() {
		t.some.Add(-1)
	}
	delete(s.clients, a)
}

// count notes one answer, and reports whether it brought a ban.
func (t *banTable) count(a netip.Addr, now time.Time) bool {
	s := t.shard(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.clients[a]
	if e == nil {
		if len(s.clients) >= s.room {
			t.makeRoom(s, now)
		}
		e = &banEntry{start: now}
		s.clients[a] = e
	}
	if !e.until.IsZero() {
		return false // by a request that was under way
	}
	switch passed := now.Sub(e.start); {
	case passed >= 2*t.window:
		e.start, e.now, e.last = now, 0, 0
	case passed >= t.window:
		e.start, e.now, e.last = e.start.Add(t.window), 0, e.now
	}
	e.now++
	within := 1 - float64(now.Sub(e.start))/float64(t.window)
	if float64(e.now)+within*float64(e.last) < float64(t.attempts) {
		return false
	}
	e.until = now.Add(t.ban)
	t.some.Add(1)
	return true
}

// makeRoom forgets one of eight clients: one whose time is over, else one that is not banned and has the fewest answers,
// else the one whose ban ends first.
func (t *banTable) makeRoom(s *banShard, now time.Time) {
	var worst netip.Addr
	var found *banEntry
	looked := 0
	for a, e := range s.clients {
		over := !e.until.IsZero() && !now.Before(e.until) || e.until.IsZero() && now.Sub(e.start) >= 2*t.window
		if over {
			t.forget(s, a, e)
			return
		}
		if found == nil || lessMissed(e, found) {
			worst, found = a, e
		}
		if looked++; looked == 8 {
			break
		}
	}
	t.forget(s, worst, found)
}

func lessMissed(a, b *banEntry) bool {
	if a.until.IsZero() != b.until.IsZero() {
		return a.until.IsZero()
	}
	if a.until.IsZero() {
		return a.now+a.last < b.now+b.last
	}
	return a.until.Before(b.until)
}
