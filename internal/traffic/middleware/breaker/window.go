package breaker

import (
	"math/bits"
	"time"
)

const (
	countBuckets   = 10 // of a second each
	latencyBuckets = 6  // of ten seconds each
	latencySlot    = 10 // seconds
	codes          = 600
)

// window counts the answers of the last ten seconds and the latencies of the last minute. It is not safe for concurrent use.
type window struct {
	counts  [countBuckets]count
	second  int64 // that counts were last moved to
	latency *[latencyBuckets]histogram
	slot    int64 // that latency was last moved to
}

// count is of one second.
type count struct {
	total, network uint64
	byCode         *[codes]uint32 // nil where no expression asks
}

// newWindow returns an empty window that counts what is asked for.
func newWindow(byCode, latency bool) *window {
	w := &window{}
	if byCode {
		for i := range w.counts {
			w.counts[i].byCode = new([codes]uint32)
		}
	}
	if latency {
		w.latency = new([latencyBuckets]histogram)
	}
	return w
}

// record counts an answer at time now, which is since an origin of the caller's choice.
func (w *window) record(now time.Duration, status int, took time.Duration) {
	w.move(now)
	c := &w.counts[w.second%countBuckets]
	c.total++
	if status == 502 || status == 504 {
		c.network++
	}
	if c.byCode != nil && status >= 0 && status < codes {
		c.byCode[status]++
	}
	if w.latency != nil {
		w.latency[w.slot%latencyBuckets].add(took)
	}
}

// move forgets what is too old at time now.
func (w *window) move(now time.Duration) {
	second := int64(now / time.Second)
	for i := range min(second-w.second, countBuckets) {
		w.counts[(second-i)%countBuckets].clear()
	}
	w.second = max(w.second, second)
	if w.latency == nil {
		return
	}
	slot := second / latencySlot
	for i := range min(slot-w.slot, latencyBuckets) {
		w.latency[(slot-i)%latencyBuckets] = histogram{}
	}
	w.slot = max(w.slot, slot)
}

// clear forgets everything.
func (w *window) clear() {
	for i := range w.counts {
		w.counts[i].clear()
	}
	if w.latency != nil {
		*w.latency = [latencyBuckets]histogram{}
	}
}

func (c *count) clear() {
	c.total, c.network = 0, 0
	if c.byCode != nil {
		*c.byCode = [codes]uint32{}
	}
}

// total is the number of answers.
func (w *window) total() (n uint64) {
	for i := range w.counts {
		n += w.counts[i].total
	}
	return n
}

// networkErrors is the share of answers that are 502 or 504.
func (w *window) networkErrors() float64 {
	var n uint64
	for i := range w.counts {
		n += w.counts[i].network
	}
	return ratio(n, w.total())
}

// codeRatio is the number of codes in [from, to) by that in [dFrom, dTo).
func (w *window) codeRatio(from, to, dFrom, dTo int64) float64 {
	return ratio(w.between(from, to), w.between(dFrom, dTo))
}

func (w *window) between(from, to int64) (n uint64) {
	from, to = max(from, 0), min(to, codes)
	for i := range w.counts {
		for code := from; code < to; code++ {
			n += uint64(w.counts[i].byCode[code])
		}
	}
	return n
}

func ratio(a, b uint64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// quantile is the latency that percent of the answers did not exceed, to two significant digits; 0 without answers.
func (w *window) quantile(percent float64) time.Duration {
	var all histogram
	for i := range w.latency {
		all.merge(&w.latency[i])
	}
	return all.quantile(percent)
}

const (
	exact    = 256 // microseconds that have a bucket each; above, 128 buckets share each power of two
	half     = exact / 2
	longest  = time.Hour
	nBuckets = exact + 24*half // enough for longest
)

// histogram counts latencies with an error below one in 128.
type histogram struct {
	n      uint64
	bucket [nBuckets]uint32
}

func (h *histogram) add(d time.Duration) {
	h.n++
	h.bucket[bucketOf(d)]++
}

func (h *histogram) merge(o *histogram) {
	if o.n == 0 {
		return
	}
	h.n += o.n
	for i, n := range o.bucket {
		h.bucket[i] += n
	}
}

func bucketOf(d time.Duration) int {
	us := uint64(min(max(d, 0), longest) / time.Microsecond)
	if us < exact {
		return int(us)
	}
	shift := bits.Len64(us) - 8
	return exact + (shift-1)*half + int(us>>shift) - half
}

// top returns the longest latency of a bucket.
func top(bucket int) time.Duration {
	if bucket < exact {
		return time.Duration(bucket) * time.Microsecond
	}
	shift := (bucket-exact)/half + 1
	us := uint64((bucket-exact)%half+half+1)<<shift - 1
	return time.Duration(us) * time.Microsecond
}

func (h *histogram) quantile(percent float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	want := max(uint64(percent/100*float64(h.n)+0.5), 1)
	var seen uint64
	for i, n := range h.bucket {
		if seen += uint64(n); seen >= want {
			return top(i)
		}
	}
	return longest
}
