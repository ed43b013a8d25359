package meter

import (
	"slices"
	"time"

	"sluice/internal/observe/record"
)

// Total is everything that is known of one subject, over all codes, methods and protocols.
type Total struct {
	Requests, Failed  uint64
	BytesIn, BytesOut uint64
	// Buckets are how many durations fell into each bucket; the last one is for those above all bounds.
	Buckets []uint64
}

// Failures of the server's side among the statuses of gRPC: unknown, deadline exceeded, internal, unavailable, data loss.
var grpcFailures = []int{2, 4, 13, 14, 15}

func failed(k *Requests) bool {
	if k.Protocol == record.GRPC || k.Protocol == record.GRPCWeb {
		return k.Code >= 500 || slices.Contains(grpcFailures, k.Code)
	}
	return k.Code >= 500
}

// Totals returns the totals of all subjects. It does not count as reading (see Walk).
func (m *Meter) Totals() map[Subject]*Total {
	out := map[Subject]*Total{}
	m.Traffic.Peek(func(k Requests, t *Traffic) {
		s := k.Subject
		if s.Level == Router {
			s.Service = "" // one router may have had several
		}
		total := out[s]
		if total == nil {
			total = &Total{Buckets: make([]uint64, len(t.Durations.buckets))}
			out[s] = total
		}
		var n uint64
		for i := range t.Durations.buckets {
			in := t.Durations.buckets[i].Load()
			total.Buckets[i] += in
			n += in
		}
		total.Requests += n
		if failed(&k) {
			total.Failed += n
		}
		total.BytesIn += t.BytesIn.Load()
		total.BytesOut += t.BytesOut.Load()
	})
	return out
}

// Since returns what came on top of an earlier total, which may be nil.
func (t *Total) Since(before *Total) Total {
	out := *t
	out.Buckets = slices.Clone(t.Buckets)
	if before == nil || before.Requests > t.Requests {
		return out
	}
	out.Requests -= before.Requests
	out.Failed -= before.Failed
	out.BytesIn -= before.BytesIn
	out.BytesOut -= before.BytesOut
	for i := range out.Buckets {
		out.Buckets[i] -= before.Buckets[i]
	}
	return out
}

// Percentile returns the duration that a share of requests (0.5, 0.95) did not exceed, to within the width of a bucket; zero
// without requests. bounds are those that the durations were counted by.
func (t *Total) Percentile(share float64, bounds []time.Duration) time.Duration {
	var all uint64
	for _, n := range t.Buckets {
		all += n
	}
	if all == 0 || len(bounds) == 0 {
		return 0
	}
	want := uint64(share * float64(all))
	var seen uint64
	for i, n := range t.Buckets {
		if seen += n; seen > want || seen == all {
			return bounds[min(i, len(bounds)-1)]
		}
	}
	return bounds[len(bounds)-1]
}

// Bounds are the buckets of durations.
func (m *Meter) Bounds() []time.Duration {
	out := make([]time.Duration, len(m.o.Bounds))
	for i, s := range m.o.Bounds {
		out[i] = time.Duration(s * float64(time.Second))
	}
	return out
}
