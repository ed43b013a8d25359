// Package recent remembers what went wrong lately, and what happened to the configuration: for whoever looks now and wants
// to know why. Memory is bounded; nothing is kept over a restart.
package recent

import (
	"slices"
	"sync"
	"time"

	"sluice/internal/observe/record"
)

const (
	// perRouter is how many failures of one router are remembered.
	perRouter = 20
	// maxRouters is how many routers have failures remembered; the one whose last failure is oldest gives way.
	maxRouters = 2000
	// maxText bounds each text that comes from a client, in bytes.
	maxText = 256
	// maxEvents is how many events are remembered.
	maxEvents = 200
)

// Failure is a request or connection that did not end regularly, or that a server answered with a status from 500 on.
type Failure struct {
	Time       time.Time `json:"time"`
	EntryPoint string    `json:"entryPoint"`
	Router     string    `json:"router,omitempty"`
	Service    string    `json:"service,omitempty"`
	Server     string    `json:"server,omitempty"`
	Client     string    `json:"client,omitempty"`
	// Method, Host and Path are those of a request, SNI the name of a TLS connection.
	Method string `json:"method,omitempty"`
	Host   string `json:"host,omitempty"`
	Path   string `json:"path,omitempty"`
	SNI    string `json:"sni,omitempty"`
	Status int    `json:"status,omitempty"`
	// Code, Side and Reason are empty for answers of servers.
	Code   string `json:"code,omitempty"`
	Side   string `json:"side,omitempty"`
	Reason string `json:"reason,omitempty"`
	Phase  string `json:"phase,omitempty"`
}

// Failures implements record.Sink. Its methods are safe for concurrent use.
type Failures struct {
	mu      sync.Mutex
	routers map[string]*ring // what no router took has the empty name
}

type ring struct {
	last []Failure // oldest first
}

// Record implements record.Sink. Clients that left, and requests that no router wanted, are no failures of ours.
func (f *Failures) Record(r *record.Record) {
	if r.Fault == nil && r.OriginStatus < 500 || r.Fault != nil && r.Status != 0 && r.Status < 500 {
		return
	}
	out := Failure{Time: r.Start.Add(r.Duration), EntryPoint: r.EntryPoint, Router: r.Router, Service: r.Service, Server: r.Server,
		Client: r.Client.String(), Method: clip(r.Method), Host: clip(r.Host), Path: clip(r.Path), SNI: clip(r.SNI), Status: r.Status, Phase: r.Phase.String()}
	if r.Fault != nil {
		out.Code, out.Side, out.Reason = r.Fault.Kind.Code(), r.Fault.Kind.Side().String(), clip(r.Fault.Error())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.routers == nil {
		f.routers = map[string]*ring{}
	}
	at := f.routers[r.Router]
	if at == nil {
		if len(f.routers) >= maxRouters {
			f.giveWay()
		}
		at = &ring{}
		f.routers[r.Router] = at
	}
	if len(at.last) == perRouter {
		at.last = append(at.last[:0], at.last[1:]...)
	}
	at.last = append(at.last, out)
}

// clip copies a text, up to a limit.
func clip(s string) string { return string([]byte(s[:min(len(s), maxText)])) }

// giveWay forgets the router whose last failure is oldest. mu is held.
func (f *Failures) giveWay() {
	var oldest string
	var when time.Time
	for name, r := range f.routers {
		if last := r.last[len(r.last)-1].Time; when.IsZero() || last.Before(when) {
			oldest, when = name, last
		}
	}
	delete(f.routers, oldest)
}

// Of returns the failures of a router, the newest first.
func (f *Failures) Of(router string) []Failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.routers[router] == nil {
		return nil
	}
	out := slices.Clone(f.routers[router].last)
	slices.Reverse(out)
	return out
}

// All returns the newest failures of all routers, at most n, the newest first.
func (f *Failures) All(n int) []Failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Failure
	for _, r := range f.routers {
		out = append(out, r.last...)
	}
	slices.SortFunc(out, func(a, b Failure) int { return b.Time.Compare(a.Time) })
	return out[:min(n, len(out))]
}

// Retain forgets the failures of routers that are not in force any more.
func (f *Failures) Retain(live func(router string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range f.routers {
		if name != "" && !live(name) {
			delete(f.routers, name)
		}
	}
}

// Event is something that happened to the configuration or to servers.
type Event struct {
	// Number counts up from 1.
	Number uint64    `json:"number"`
	Time   time.Time `json:"time"`
	// Kind is configuration, provider or server.
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// Events remembers the last events. Its methods are safe for concurrent use.
type Events struct {
	mu      sync.Mutex
	last    []Event // oldest first
	n       uint64
	changed chan struct{} // closed at the next event
}

// Add adds an event.
func (e *Events) Add(kind, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.n++
	if len(e.last) == maxEvents {
		e.last = append(e.last[:0], e.last[1:]...)
	}
	e.last = append(e.last, Event{e.n, time.Now(), kind, text})
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
}

// Since returns the events behind number, oldest first, and a channel that is closed when there is another one.
func (e *Events) Since(number uint64) ([]Event, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.changed == nil {
		e.changed = make(chan struct{})
	}
	if number > e.n {
		number = 0 // of a process before this one
	}
	i, _ := slices.BinarySearchFunc(e.last, number+1, func(a Event, n uint64) int {
		switch {
		case a.Number < n:
			return -1
		case a.Number > n:
			return 1
		}
		return 0
	})
	return slices.Clone(e.last[i:]), e.changed
}
