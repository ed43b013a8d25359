package app

import (
	"bufio"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var churnTime = flag.Duration("churn", 10*time.Second, "how long TestChurn takes, about")

const (
	churnRounds  = 5 // storms with a measurement behind each
	churnWorkers = 3 // of each kind of client
)

// measure is what must not grow.
type measure struct {
	goroutines, descriptors int
	heap                    uint64
}

func (m measure) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d KiB", m.goroutines, m.descriptors, m.heap>>10)
}

func take() measure {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools held leaves with the second
	runtime.ReadMemStats(&stats)
	m := measure{goroutines: runtime.NumGoroutine(), heap: stats.HeapAlloc}
	if list, err := os.ReadDir("/proc/self/fd"); err == nil {
		m.descriptors = len(list)
	}
	return m
}

// atRest measures when nothing is left to end by itself.
func atRest() measure {
	last := take()
	for still := 0; still < 5; {
		time.Sleep(100 * time.Millisecond)
		now := take()
		if now.goroutines < last.goroutines || now.descriptors < last.descriptors {
			still = 0
		} else {
			still++
		}
		last = now
	}
	return last
}

// churn is a router whose servers die, whose configuration changes, and whose clients leave.
type churn struct {
	r        *router
	machines []*machine
	answers  [600]atomic.Int64 // by status
	mu       sync.Mutex
	wrong    map[string]int
}

func (c *churn) fault(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong[text]++
}

// config is a configuration with n routers that nobody asks, and some details chosen by rng (nil: the plain one).
func (c *churn) config(rng *rand.Rand) string {
	pick := func(n int) int {
		if rng == nil {
			return 0
		}
		return rng.IntN(n)
	}
	lb := func(more string, machines ...*machine) string {
		var servers []string
		for _, m := range machines {
			servers = append(servers, fmt.Sprintf(`{url: "%s", weight: %d}`, m.url(), 1+pick(3)))
		}
		return `{loadBalancer: {serversTransport: brief, ` + more + `servers: [` + strings.Join(servers, ", ") + `]}}`
	}
	check := fmt.Sprintf("healthCheck: {path: /health, interval: %dms, timeout: 1s}, ", 50+pick(3))
	m := c.machines
	text := tree(`
wrr: `+lb("", m...)+`
leasttime: `+lb("strategy: leasttime, "+check, m...)+`
a: `+lb(check, m[0], m[1])+`
b: `+lb(check, m[1], m[2])+`
weighted: {weighted: {healthCheck: {}, sticky: {cookie: {}}, services: [{name: a}, {name: b}]}}
mirroring: {mirroring: {healthCheck: {}, service: weighted, mirrors: [{name: wrr, percent: 50}]}}
failover: {failover: {service: mirroring, fallback: leasttime, errors: {status: ["502-504"]}}}
`, "wrr", "leasttime", "weighted", "mirroring", "failover")
	var more strings.Builder
	for i := range pick(30) {
		fmt.Fprintf(&more, "    more%d: {rule: \"Host(`more%d.test`)\", service: s%d, entryPoints: [web]}\n", i, i, i)
	}
	text = strings.Replace(text, "  services:\n", more.String()+"  services:\n", 1)
	for i := range pick(30) {
		text += fmt.Sprintf("    s%d: %s\n", i, lb("healthCheck: {path: /health, interval: 1s}, ", m[i%len(m)]))
	}
	return text + `
  serversTransports:
    brief: {maxIdleConnsPerHost: 20, forwardingTimeouts: {idleConnTimeout: 300ms, dialTimeout: 1s}}
`
}

var churnHosts = []string{"wrr", "leasttime", "weighted", "mirroring", "failover"}

// storm runs everything for a while and ends when all of it has ended.
func (c *churn) storm(d time.Duration, round int) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var all sync.WaitGroup
	seed := uint64(round * 1000)
	run := func(every time.Duration, body func(rng *rand.Rand)) {
		seed++
		rng := rand.New(rand.NewPCG(seed, 1))
		all.Go(func() {
			for ctx.Err() == nil {
				body(rng)
				if every > 0 {
					time.Sleep(every)
				}
			}
		})
	}
	for _, transport := range transports {
		client := c.r.client(transport)
		defer client.CloseIdleConnections()
		for range churnWorkers {
			run(0, func(rng *rand.Rand) { c.ask(client, transport, rng) })
			run(5*time.Millisecond, func(rng *rand.Rand) { c.leave(client, transport, rng) })
		}
	}
	run(5*time.Millisecond, c.cut)
	run(5*time.Millisecond, c.tunnel)
	run(20*time.Millisecond, func(rng *rand.Rand) { c.r.reload(c.config(rng)) })
	run(50*time.Millisecond, func(rng *rand.Rand) {
		m := c.machines[rng.IntN(len(c.machines))]
		m.kill()
		time.Sleep(time.Duration(rng.IntN(50)) * time.Millisecond)
		m.start()
	})
	run(30*time.Millisecond, func(rng *rand.Rand) {
		m := c.machines[rng.IntN(len(c.machines))]
		resume := m.stop()
		time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond)
		resume()
	})
	all.Wait()
}

// ask is a client that waits for its answer.
func (c *churn) ask(client *http.Client, transport string, rng *rand.Rand) {
	url := origin(transport, churnHosts[rng.IntN(len(churnHosts))]+".test")
	method, path, body := "GET", "/", ""
	switch rng.IntN(4) {
	case 0:
		path = "/big"
	case 1:
		method, body = "POST", strings.Repeat("x", rng.IntN(100_000))
	}
	got, err := send(client, method, url+path, body)
	if err != nil {
		// A body that breaks with its server is to be seen as broken; a client that waits for ever is not to be.
		if os.IsTimeout(err) {
			c.fault(method + " " + url + ": " + err.Error())
		}
		return
	}
	c.answers[got.status].Add(1)
	if code := got.header.Get("Sluice-Error"); code == "INTERNAL" || code == "PANIC" || code == "ROUTER-REFUSED" || code == "NO-ROUTER" {
		c.fault(method + " " + url + ": " + code)
	}
}

// leave is a client that goes away while its request or the answer is on its way.
func (c *churn) leave(client *http.Client, transport string, rng *rand.Rand) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rng.IntN(20_000))*time.Microsecond)
	defer cancel()
	in, out := io.Pipe()
	defer in.Close()
	req, err := http.NewRequestWithContext(ctx, "POST", origin(transport, churnHosts[rng.IntN(len(churnHosts))]+".test")+"/big", in)
	if err != nil {
		c.fault(err.Error())
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = out.Write(make([]byte, rng.IntN(50_000)))
		<-ctx.Done()
		out.CloseWithError(ctx.Err())
	}()
	if resp, err := client.Do(req); err == nil {
		_, _ = io.CopyN(io.Discard, resp.Body, 10_000)
		resp.Body.Close()
	}
	cancel()
	in.Close()
	<-done
}

// cut is a client whose connection breaks at any byte.
func (c *churn) cut(rng *rand.Rand) {
	const text = "POST / HTTP/1.1\r\nHost: wrr.test\r\nContent-Length: 20\r\n\r\n0123456789"
	entryPoint := []string{"web", "secure"}[rng.IntN(2)]
	conn, err := net.Dial("tcp", c.r.addr(entryPoint))
	if err != nil {
		c.fault(err.Error())
		return
	}
	if rng.IntN(2) == 0 {
		_ = conn.(*net.TCPConn).SetLinger(0) // by a reset
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	to := conn
	if entryPoint == "secure" && rng.IntN(2) == 0 {
		to = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	_, _ = io.WriteString(to, text[:rng.IntN(len(text))])
}

// tunnel is a client of a WebSocket, which ends in one of many ways.
func (c *churn) tunnel(rng *rand.Rand) {
	conn, err := net.Dial("tcp", c.r.addr("web"))
	if err != nil {
		c.fault(err.Error())
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	host := churnHosts[rng.IntN(len(churnHosts))]
	fmt.Fprintf(conn, "GET /socket HTTP/1.1\r\nHost: %s.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", host)
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != 101 {
		return // its server was away
	}
	for range rng.IntN(5) {
		if _, err := io.WriteString(conn, "ping"); err != nil {
			return
		}
		if _, err := io.ReadFull(in, make([]byte, 4)); err != nil {
			return
		}
	}
	if rng.IntN(2) == 0 {
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, in)
	}
}

// churned answers for the machines.
func churned(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/socket":
		conn, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(conn, buffered)
	case "/big":
		piece := make([]byte, 32<<10)
		for range 8 {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	default:
		_, _ = io.Copy(w, r.Body)
	}
}

// Under changes of the configuration, deaths of servers and clients that leave, memory, goroutines and descriptors stay where
// they were. `make churn` does it for half an hour.
func TestChurn(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	c := &churn{wrong: map[string]int{}}
	for _, name := range []string{"a", "b", "c"} {
		m := newMachine(t, name)
		m.serve = churned
		c.machines = append(c.machines, m)
	}
	c.r = startLogging(t, slog.New(slog.DiscardHandler), twoEntryPoints, c.config(nil))
	c.r.quiet.Store(true)
	var list []measure
	for round := range churnRounds {
		c.storm(*churnTime/churnRounds, round)
		c.r.reload(c.config(rand.New(rand.NewPCG(1, 1)))) // never the one before
		c.r.reload(c.config(nil))
		list = append(list, atRest())
		t.Log(list[round])
	}
	for text, n := range c.wrong {
		t.Errorf("%d times %s", n, text)
	}
	for status := range c.answers {
		if n := c.answers[status].Load(); n > 0 {
			t.Logf("%d answers with %d", n, status)
		}
	}
	if c.answers[200].Load() == 0 {
		t.Error("nobody got an answer")
	}
	first, last := list[0], list[len(list)-1]
	if last.goroutines > first.goroutines+10 || last.descriptors > first.descriptors+10 {
		t.Errorf("it grows: %s after the first storm, %s after the last", first, last)
	}
	if last.heap > first.heap*3/2+4<<20 {
		t.Errorf("memory grows: %s after the first storm, %s after the last", first, last)
	}
	for _, m := range c.machines {
		m.kill()
	}
}
