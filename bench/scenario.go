//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// scenario is one row of the benchmark.
type scenario struct {
	name   string
	about  string
	unit   string // what is counted: request, handshake, connection, MiB
	budget string // what the product promises for this row
	hosts  int    // further hosts with a router each
	with   string // what is switched on besides, see conf.Logged; Sluice is then a peer of itself without it
	fresh  bool   // a new process for every round: the figure is growth
	load   load
}

// load sends one run's work to a target and says what was done.
type load func(ctx context.Context, w *world, t *target, d time.Duration) (sample, error)

// sample is what a load saw.
type sample struct {
	units    int
	elapsed  time.Duration
	p50, p99 time.Duration // zero where latency means nothing
	errors   int
	perConn  int64  // bytes of memory for each idle connection, where that is what the row measures
	note     string // e.g. how many handshakes were resumed
}

// errNothing says that a target has no such side; its row is left out without noise.
var errNothing = errors.New("not applicable")

var scenarios = []scenario{
	{name: "plain", about: "HTTP/1.1 keep-alive, 64 connections, body of 128 bytes", unit: "request",
		budget: "1.2x nginx (goal 1.0x)", load: wrk("http", "/", 64, "get", 0)},
	{name: "plain-10k", about: "the same with a body of 10 KiB", unit: "request", load: wrk("http", "/10k", 64, "get", 0)},
	{name: "headers", about: "the same with 20 request fields as browsers send them", unit: "request", load: wrk("http", "/", 64, "headers", 0)},
	{name: "tls", about: "HTTP/1.1 keep-alive over TLS 1.3 (ECDSA, AES-128-GCM), 64 connections", unit: "request",
		budget: "1.0x nginx (goal 0.9x)", load: wrk("https", "/", 64, "get", 0)},
	{name: "tls-handshake", about: "new TLS 1.3 connections, ECDSA P-256, X25519, one request each", unit: "handshake",
		budget: "1.2x nginx (goal 1.0x)", load: handshakes(host, tls.X25519, false)},
	{name: "tls-resumed", about: "the same with resumption by tickets", unit: "handshake", load: handshakes(host, tls.X25519, true)},
	{name: "tls-handshake-rsa", about: "new TLS 1.3 connections, RSA 2048", unit: "handshake", load: handshakes(rsaHost, tls.X25519, false)},
	{name: "h2", about: "HTTP/2 over TLS, 8 connections of 16 streams", unit: "request",
		budget: "reported (interim engine; own engine: 2x HAProxy, goal 1.2x)", load: h2load},
	{name: "passthrough-connect", about: "new connections passed through by SNI, in the shape of a TLS 1.3 handshake with one request", unit: "connection",
		budget: "1.0x haproxy (goal 0.8x)", load: passthroughConnect},
	{name: "passthrough-bulk", about: "bytes of a machine passed through by SNI, 4 connections of 64 MiB", unit: "MiB",
		budget: "1.0x haproxy (goal 0.8x)", load: passthroughBulk},
	{name: "routers-10", about: "random one of 10 hosts, each with its router", unit: "request", hosts: 10, load: wrk("http", "/", 64, "hosts", 10)},
	{name: "routers-10000", about: "random one of 10 000 hosts, each with its router", unit: "request", hosts: 10000,
		budget: "1.1x itself with 10", load: wrk("http", "/", 64, "hosts", 10000)},
	{name: "download", about: "1 MiB bodies down, 16 connections", unit: "MiB", load: wrk("http", "/1m", 16, "get", 0)},
	{name: "upload", about: "1 MiB bodies up, 16 connections", unit: "MiB", load: wrk("http", "/", 16, "upload", 1<<20)},
	{name: "slow-clients", about: "as plain, beside 500 readers that take 40 KiB/s of 1 MiB bodies", unit: "request", load: besideSlowReaders},
	{name: "websocket", about: "WebSocket, 64 bytes there and back, 32 connections", unit: "message", load: webSocketEcho},
	{name: "idle", about: "memory of an idle keep-alive connection, 5 000 of them after one request each", unit: "connection",
		budget: "10 KiB (goal 5 KiB)", fresh: true, load: idle(false)},
	{name: "idle-tls", about: "the same over TLS", unit: "connection", budget: "reported", fresh: true, load: idle(true)},
	{name: "middlewares", about: "response headers, a rate limit and compression (of which bodies this small have none) before the server", unit: "request",
		with: withMiddlewares, load: wrk("http", "/", 64, "get", 0)},
	{name: "access-log", about: "access log (to a file) and metrics on, nginx with its access log", unit: "request", with: withLog,
		budget: "1.1x itself without (goal 1.05x)", load: wrk("http", "/", 64, "get", 0)},
}

// withMiddlewares puts three middlewares before the server, or what a peer has in their place.
const withMiddlewares = "middlewares"

// withLog switches on the access log, and metrics where the proxy has some.
const withLog = "log"

func hostNames(n int) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("h%d.bench.test", i))
	}
	return names
}

// measure runs one scenario over all proxies, interleaved: each round visits every proxy, beginning with another one, so
// that a disturbance of the machine does not hit the same proxy each time.
func (w *world) measure(ctx context.Context, sc scenario, s settings) *result {
	res := &result{Name: sc.name, About: sc.about, Unit: sc.unit, Budget: sc.budget}
	type runner struct {
		row    *row
		kind   kind
		with   string
		target *target
	}
	var runners []*runner
	for _, k := range w.kinds {
		if sc.with == withLog && k.name == "haproxy" {
			continue // it logs to a daemon, whose work would not be counted
		}
		r := &runner{row: &row{Peer: k.name}, kind: k, with: sc.with}
		res.Rows = append(res.Rows, r.row)
		runners = append(runners, r)
		if sc.with != "" && k.name == "sluice" {
			off := &runner{row: &row{Peer: "itself without"}, kind: k}
			res.Rows = append(res.Rows, off.row)
			runners = append(runners, off)
		}
	}
	defer func() {
		for _, r := range runners {
			if r.target != nil {
				r.target.stop()
			}
		}
	}()
	for round := range s.rounds {
		for i := range runners {
			r := runners[(i+round)%len(runners)]
			if r.row.Failed != "" || ctx.Err() != nil {
				continue
			}
			fmt.Fprint(os.Stderr, ".")
			if err := w.once(ctx, sc, s, r.kind, r.with, &r.target, r.row); err != nil {
				r.row.Failed = err.Error()
			}
		}
	}
	res.Rows = slices.DeleteFunc(res.Rows, func(r *row) bool { return r.Failed == errNothing.Error() })
	res.summarize()
	return res
}

// once adds one round of one proxy to its row.
func (w *world) once(ctx context.Context, sc scenario, s settings, k kind, with string, at **target, to *row) error {
	if *at == nil {
		t, err := w.start(ctx, k, with, hostNames(sc.hosts))
		if err != nil {
			return err
		}
		*at = t
		if !sc.fresh {
			if _, err := sc.load(ctx, w, t, time.Second); err != nil { // warm-up: pools, caches, ticket keys
				return err
			}
		}
	}
	t := *at
	if sc.fresh {
		defer func() { t.stop(); *at = nil }()
	}
	var before, after time.Duration
	var memory int64
	var err error
	if t.process != nil {
		if before, err = t.cpu(); err != nil {
			return err
		}
	}
	got, err := sc.load(ctx, w, t, s.duration)
	if err != nil {
		if t.process != nil && t.failure() != nil {
			err = t.failure()
		}
		return err
	}
	if t.process != nil {
		time.Sleep(20 * time.Millisecond) // connections that are closing still belong to this run
		if after, err = t.cpu(); err != nil {
			return err
		}
		if memory, err = t.memory(); err != nil {
			return err
		}
	}
	if got.units == 0 {
		return fmt.Errorf("nothing succeeded (%d errors)", got.errors)
	}
	to.Rounds = append(to.Rounds, round{
		Units: got.units, Seconds: got.elapsed.Seconds(), CPUSeconds: (after - before).Seconds(),
		P50Micros: micros(got.p50), P99Micros: micros(got.p99), Errors: got.errors,
		MemoryBytes: memory, BytesPerConn: got.perConn, Note: got.note,
	})
	return nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
