package middleware

import (
	"encoding/json"
	"fmt"
	"hash/maphash"
	"sync"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// inFlightReq bounds how many requests of a source are served at the same time. A request counts until its exchange ends;
// an upgraded one as long as its tunnel.
type inFlightReq struct {
	amount  int64
	source  Source
	counts  *flightCounts
	refusal *fault.Fault
	next    httpmsg.Handler
}

func checkInFlightReq(c *dynamic.Middleware) diag.List {
	l := CheckSource("inFlightReq.sourceCriterion", c.InFlightReq.SourceCriterion)
	if c.InFlightReq.Amount <= 0 {
		l.Add(Odd("inFlightReq.amount", "an amount of zero refuses every request", "write the number of requests that may run"))
	}
	return l
}

func buildInFlightReq(c *dynamic.Middleware, env Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	o := c.InFlightReq
	source, err := NewSource(o.SourceCriterion, ByHost)
	if err != nil {
		return nil, err
	}
	// The amount is no part of the key: requests under way count when it changes.
	criterion, err := json.Marshal(o.SourceCriterion)
	if err != nil {
		return nil, err
	}
	key := "inFlightReq " + env.Router + " " + env.Name + " " + string(criterion)
	f := fault.New(fault.TooManyRequests, "too many requests of this source are under way", nil)
	f.Body = fmt.Sprintf("max connections reached: %d", o.Amount)
	return &inFlightReq{amount: o.Amount, source: source, counts: live(env, key, newFlightCounts), refusal: f, next: next}, nil
}

// Serve lets the request pass if there is room.
func (r *inFlightReq) Serve(x *httpmsg.Exchange) error {
	var buf [MaxKey]byte
	f := r.counts.begin(r.source.Key(x, buf[:0]), r.amount)
	if f == nil {
		return r.refusal
	}
	x.OnFinish(f)
	return r.next.Serve(x)
}

// flightCounts counts requests under way by source. A source without any takes no entry, so there are never more than
// requests (INV-6). Sources are kept as hashes of 128 bits under seeds of this process: entries of one size make a map that
// allocates nothing once it has grown.
type flightCounts struct {
	seeds  [2]maphash.Seed
	shards [16]flightShard
}

type flightShard struct {
	mu     sync.Mutex
	counts map[[2]uint64]int64
	_      [48]byte // keeps the locks of two shards out of one cache line
}

func newFlightCounts() *flightCounts {
	c := &flightCounts{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
	for i := range c.shards {
		c.shards[i].counts = map[[2]uint64]int64{}
	}
	return c
}

// flight is one counted request.
type flight struct {
	shard *flightShard
	key   [2]uint64
}

var flights = sync.Pool{New: func() any { return new(flight) }}

// begin counts a request of a source, unless limit are under way: then it returns nil.
func (c *flightCounts) begin(source []byte, limit int64) *flight {
	key := [2]uint64{maphash.Bytes(c.seeds[0], source), maphash.Bytes(c.seeds[1], source)}
	s := &c.shards[key[0]%uint64(len(c.shards))]
	s.mu.Lock()
	n := s.counts[key]
	if n < limit {
		s.counts[key] = n + 1
	}
	s.mu.Unlock()
	if n >= limit {
		return nil
	}
	f := flights.Get().(*flight)
	f.shard, f.key = s, key
	return f
}

// Finish ends the count.
func (f *flight) Finish(*httpmsg.Exchange) {
	s := f.shard
	s.mu.Lock()
	if n := s.counts[f.key]; n > 1 {
		s.counts[f.key] = n - 1
	} else {
		delete(s.counts, f.key)
	}
	s.mu.Unlock()
	f.shard = nil
	flights.Put(f)
}
