package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"sluice/internal/core/plan"
	"sluice/internal/observe/meter"
	"sluice/internal/observe/recent"
)

// Live is what tells of traffic. Its fields may be nil, and then there is nothing to tell.
type Live struct {
	// Meter counts requests of all levels, internal services left out.
	Meter    *meter.Meter
	Failures *recent.Failures
	Events   *recent.Events
	// Open calls yield with the open connections of each entry point.
	Open func(yield func(entryPoint, protocol string, n int))
}

// LiveBounds are the buckets of durations of Live.Meter, in seconds.
func LiveBounds() []float64 {
	return []float64{.001, .002, .003, .005, .0075, .01, .015, .02, .03, .05, .075, .1, .15, .2, .3, .5, .75, 1, 1.5, 2, 3, 5, 10, 30}
}

// pulse is the period of live figures.
const pulse = time.Second

// rate is what a subject did in a second, or since the start.
type rate struct {
	Requests float64 `json:"requests"`
	Failed   float64 `json:"failed,omitempty"`
	BytesIn  float64 `json:"bytesIn,omitempty"`
	BytesOut float64 `json:"bytesOut,omitempty"`
	// P50, P95 and P99 are in milliseconds.
	P50 float64 `json:"p50,omitempty"`
	P95 float64 `json:"p95,omitempty"`
	P99 float64 `json:"p99,omitempty"`
}

// figures are those of all subjects at one moment.
type figures struct {
	Time time.Time `json:"time"`
	// Seconds is the time that they are about; rates are per second.
	Seconds     float64         `json:"seconds"`
	EntryPoints map[string]rate `json:"entryPoints,omitempty"`
	Routers     map[string]rate `json:"routers,omitempty"`
	Services    map[string]rate `json:"services,omitempty"`
	// Open are the open connections of each entry point.
	Open map[string]int `json:"open,omitempty"`
}

// sampler makes figures out of totals. It is used by one goroutine.
type sampler struct {
	live   *Live
	before map[meter.Subject]*meter.Total
	at     time.Time
}

func newSampler(l *Live, started time.Time) *sampler { return &sampler{live: l, at: started} }

// next returns what happened since the last call, per second. Subjects that did nothing are left out.
func (s *sampler) next(now time.Time) figures {
	seconds := max(now.Sub(s.at).Seconds(), 1e-3)
	out := figures{Time: now, Seconds: seconds, EntryPoints: map[string]rate{}, Routers: map[string]rate{}, Services: map[string]rate{}, Open: map[string]int{}}
	if s.live.Open != nil {
		s.live.Open(func(entryPoint, _ string, n int) { out.Open[entryPoint] += n })
	}
	if s.live.Meter == nil {
		return out
	}
	totals, bounds := s.live.Meter.Totals(), s.live.Meter.Bounds()
	into := map[meter.Level]map[string]rate{meter.EntryPoint: out.EntryPoints, meter.Router: out.Routers, meter.Service: out.Services}
	for subject, total := range totals {
		d := total.Since(s.before[subject])
		if d.Requests == 0 && d.BytesIn == 0 && d.BytesOut == 0 {
			continue
		}
		ms := func(share float64) float64 { return float64(d.Percentile(share, bounds)) / float64(time.Millisecond) }
		into[subject.Level][subject.Name] = rate{Requests: float64(d.Requests) / seconds, Failed: float64(d.Failed) / seconds,
			BytesIn: float64(d.BytesIn) / seconds, BytesOut: float64(d.BytesOut) / seconds, P50: ms(.5), P95: ms(.95), P99: ms(.99)}
	}
	s.before, s.at = totals, now
	return out
}

// liveNow answers with the figures since the start, or of the second to come with ?pulse=true.
func (a *API) liveNow(w http.ResponseWriter, r *http.Request) {
	s := newSampler(&a.Live, a.Started)
	if r.URL.Query().Get("pulse") == "true" {
		s.at = time.Now()
		s.next(s.at)
		t := time.NewTimer(pulse)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			return
		}
	}
	reply(w, s.next(time.Now()))
}

// failures answers with what went wrong lately, with ?router=NAME of one router.
func (a *API) failures(w http.ResponseWriter, r *http.Request) {
	list := []recent.Failure{}
	if f := a.Live.Failures; f != nil {
		if q := r.URL.Query(); q.Has("router") {
			list = append(list, f.Of(q.Get("router"))...)
		} else {
			n, err := strconv.Atoi(q.Get("per_page"))
			if err != nil || n <= 0 {
				n = 100
			}
			list = append(list, f.All(n)...)
		}
	}
	reply(w, list)
}

// maxFollowers bounds how many streams of events there are at once.
const maxFollowers = 100

// events is a stream of server-sent events (HTML, section 9.2): "live" with figures each second, "event" for what happened to
// the configuration and to servers, "configuration" when another one came in force. It begins with the events that are
// remembered behind the one of Last-Event-ID.
func (a *API) events(w http.ResponseWriter, r *http.Request) {
	if a.followers.Add(1) > maxFollowers {
		a.followers.Add(-1)
		w.Header().Set("Retry-After", "10")
		fail(w, http.StatusServiceUnavailable, "too many streams are open")
		return
	}
	defer a.followers.Add(-1)
	flusher, ok := w.(http.Flusher)
	if !ok {
		fail(w, http.StatusInternalServerError, "the connection cannot stream")
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("X-Accel-Buffering", "no")
	last, _ := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64) // without one: from the beginning
	send := func(event, id string, v any) bool {
		text, err := json.Marshal(v)
		if err != nil {
			return true // nothing here fails to marshal
		}
		if id != "" {
			id = "id: " + id + "\n"
		}
		_, err = fmt.Fprintf(w, "event: %s\n%sdata: %s\n\n", event, id, text)
		return err == nil
	}
	sample := newSampler(&a.Live, time.Now())
	sample.next(time.Now())
	var inForce *plan.Plan
	t := time.NewTicker(pulse)
	defer t.Stop()
	for {
		var more <-chan struct{}
		if e := a.Live.Events; e != nil {
			var list []recent.Event
			list, more = e.Since(last)
			for _, one := range list {
				last = one.Number
				if !send("event", strconv.FormatUint(one.Number, 10), one) {
					return
				}
			}
		}
		if p, _ := a.State.InForce(); p != inForce {
			if inForce != nil && !send("configuration", "", a.view().overview(countCertificates(a.certificates()))) {
				return
			}
			inForce = p
		}
		flusher.Flush()
		select {
		case <-r.Context().Done():
			return
		case <-more:
		case now := <-t.C:
			if !send("live", "", sample.next(now)) {
				return
			}
		}
	}
}
