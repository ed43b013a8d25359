package app

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/core/static"
)

// udpServer answers each datagram with its name and the datagram, and returns its address.
func udpServer(t *testing.T, name string) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			conn.WriteTo(append([]byte(name+" "), buf[:n]...), from)
		}
	})
	t.Cleanup(func() { conn.Close(); done.Wait() })
	return conn.LocalAddr().String()
}

// udpClient is one client of a UDP entry point.
type udpClient struct {
	t    *testing.T
	conn net.Conn
}

func (r *router) udp(entryPoint string) *udpClient {
	conn, err := net.Dial("udp", r.addr(entryPoint))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	return &udpClient{r.t, conn}
}

// ask returns the answer, empty where there is none for as long as the test wants to wait.
func (c *udpClient) ask(text string, patience time.Duration) string {
	buf := make([]byte, 1<<16)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		c.conn.Write([]byte(text))
		c.conn.SetReadDeadline(time.Now().Add(min(patience, 500*time.Millisecond)))
		if n, err := c.conn.Read(buf); err == nil {
			return string(buf[:n])
		}
	}
	return ""
}

func (c *udpClient) want(text, answer string) {
	c.t.Helper()
	if got := c.ask(text, 10*time.Second); got != answer {
		c.t.Errorf("%s: got %q, want %q", text, got, answer)
	}
}

func (c *udpClient) silence() {
	c.t.Helper()
	if got := c.ask("x", 50*time.Millisecond); got != "" {
		c.t.Errorf("got %q, want nothing", got)
	}
}

const udpStatic = `
entryPoints:
  web: {address: "127.0.0.1:0"}
  dns: {address: "127.0.0.1:0/udp", udp: {timeout: 1m}, transport: {lifeCycle: {graceTimeOut: 10ms}}}
  other: {address: "127.0.0.1:0/udp"}
api: {insecure: true}
`

// TestUDP follows sessions over changes of the configuration.
func TestUDP(t *testing.T) {
	a, b := udpServer(t, "a"), udpServer(t, "b")
	config := func(routers string) string {
		return fmt.Sprintf("udp: {routers: {%s}, services: {a: {loadBalancer: {servers: [{address: %q}]}}, b: {loadBalancer: {servers: [{address: %q}]}}, "+
			"both: {weighted: {services: [{name: a, weight: 2}, {name: b}]}}}}", routers, a, b)
	}
	st := strings.Replace(udpStatic, "api: {insecure: true}", `  traefik: {address: "127.0.0.1:0"}`+"\napi: {insecure: true}", 1)
	r := start(t, st, config("one: {service: a}"))
	c := r.udp("dns")
	c.want("1", "a 1")
	r.udp("other").want("1", "a 1")

	// The last router by name has the entry point.
	r.reload(config("one: {service: a}, two: {service: b, entryPoints: [dns]}"))
	c.want("2", "b 2")
	r.udp("other").want("2", "a 2")
	// One that is disabled is passed over, unlike a router that has a rule.
	r.reload(config("one: {service: a}, two: {service: gone, entryPoints: [dns]}"))
	c.want("3", "a 3")
	// What leaves the service of a session alone leaves the session alone.
	counts := map[string]int{}
	r.reload(config("one: {service: both}"))
	var all []*udpClient
	for range 9 {
		all = append(all, r.udp("dns"))
		counts[all[len(all)-1].ask("x", 10*time.Second)]++
	}
	if counts["a x"] != 6 || counts["b x"] != 3 {
		t.Errorf("got %v", counts)
	}
	before := make([]string, len(all))
	for i, c := range all {
		before[i] = c.ask("y", 10*time.Second)
	}
	r.reload(config("one: {service: both}, unused: {service: a, entryPoints: [other]}"))
	for i, c := range all {
		c.want("y", before[i])
	}

	resp, body := r.get("traefik", "http://any/api/overview")
	var overview struct {
		UDP struct{ Routers, Services map[string]int }
	}
	if err := json.Unmarshal([]byte(body), &overview); err != nil || resp.StatusCode != 200 || overview.UDP.Routers["total"] != 2 || overview.UDP.Services["total"] != 3 {
		t.Errorf("got %d %s, %v", resp.StatusCode, body, err)
	}

	// Without a router datagrams are dropped, also those of sessions.
	r.reload(config(""))
	c.silence()
	r.reload(config("one: {service: b}"))
	c.want("4", "b 4")
	r.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	sessions := 0
	for _, rec := range r.records {
		if rec.UDP {
			sessions++
		}
	}
	if sessions < 12 {
		t.Errorf("got %d records of sessions", sessions)
	}
}

// TestUDPAndTCPOnOnePort serves both.
func TestUDPAndTCPOnOnePort(t *testing.T) {
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := probe.Addr().(*net.TCPAddr).Port
	probe.Close()
	r := start(t, fmt.Sprintf("entryPoints: {tcp: {address: \"127.0.0.1:%d\"}, udp: {address: \"127.0.0.1:%d/udp\"}}", port, port),
		fmt.Sprintf("udp: {routers: {u: {service: u}}, services: {u: {loadBalancer: {servers: [{address: %q}]}}}}", udpServer(t, "a")))
	r.udp("udp").want("1", "a 1")
	if resp, _ := r.get("tcp", "http://any/"); resp.StatusCode != 404 {
		t.Errorf("got %d", resp.StatusCode)
	}
}

// TestBindAllOrNone leaves no TCP port bound when a UDP one cannot be had.
func TestBindAllOrNone(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	c := static.New()
	for name, a := range map[string]string{"a": address, "b": taken.LocalAddr().String() + "/udp"} {
		ep := &static.EntryPoint{Address: a}
		ep.SetDefaults()
		c.EntryPoints[name] = ep
	}
	if _, err := New(Options{Static: static.Effective(c), Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "entry point b") {
		t.Errorf("got %v", err)
	}
	again, err := net.Listen("tcp", address)
	if err != nil {
		t.Error(err)
	} else {
		again.Close()
	}
}

func TestMaxSessions(t *testing.T) {
	for _, c := range []struct {
		descriptors       uint64
		entryPoints, want int
	}{{0, 1, 1024}, {40, 1, 16}, {1024, 1, 256}, {1024, 4, 64}, {1024, 100, 16}, {1 << 20, 1, 65536}, {1 << 20, 4, 65536}, {1 << 20, 8, 32768}} {
		if got := maxSessions(c.descriptors, c.entryPoints); got != c.want {
			t.Errorf("%d descriptors, %d entry points: got %d, want %d", c.descriptors, c.entryPoints, got, c.want)
		}
	}
}
