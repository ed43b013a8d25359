package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// machine is a server that can be killed, stopped and started again on its address. It answers with its name, and writes
// down what it got.
type machine struct {
	t    *testing.T
	name string
	addr string
	// serve answers instead, where it is set; nothing is written down then.
	serve http.HandlerFunc

	mu     sync.Mutex
	server *http.Server
	gate   chan struct{} // closed while the machine runs; requests wait for it
	ill    bool
	status int
	got    []seenRequest
	joined sync.WaitGroup
}

// seenRequest is a request as a machine got it.
type seenRequest struct {
	method, url, host, body string
	header                  http.Header
	length                  int64
}

func newMachine(t *testing.T, name string) *machine {
	t.Helper()
	m := &machine{t: t, name: name, gate: make(chan struct{})}
	close(m.gate)
	m.start()
	t.Cleanup(m.kill)
	return m
}

// start begins to listen, on the address of before if there is one.
func (m *machine) start() {
	m.t.Helper()
	address := m.addr
	if address == "" {
		address = "127.0.0.1:0"
	}
	var ln net.Listener
	var err error
	for range 200 {
		if ln, err = net.Listen("tcp", address); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond) // somebody's outgoing connection may have borrowed the port
	}
	if err != nil {
		m.t.Fatal(err)
	}
	if m.addr == "" { // written once, so that it may be read while the machine starts again
		m.addr = ln.Addr().String()
	}
	s := &http.Server{Handler: m}
	m.mu.Lock()
	m.server = s
	m.mu.Unlock()
	m.joined.Go(func() { s.Serve(ln) })
}

// kill ends the machine with all its connections.
func (m *machine) kill() {
	m.mu.Lock()
	s := m.server
	m.server = nil
	m.mu.Unlock()
	if s != nil {
		s.Close()
		m.joined.Wait()
	}
}

// stop lets requests wait until the returned function is called.
func (m *machine) stop() (resume func()) {
	gate := make(chan struct{})
	m.mu.Lock()
	m.gate = gate
	m.mu.Unlock()
	return sync.OnceFunc(func() { close(gate) })
}

func (m *machine) answer(status int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status = status
}

// sick makes the machine fail its health checks, and nothing else.
func (m *machine) sick(ill bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ill = ill
}

func (m *machine) requests() []seenRequest {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]seenRequest(nil), m.got...)
}

func (m *machine) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.got = nil
}

func (m *machine) url() string { return "http://" + m.addr }

func (m *machine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	gate, ill, status := m.gate, m.ill, m.status
	m.mu.Unlock()
	select {
	case <-gate:
	case <-r.Context().Done():
		return
	}
	if r.URL.Path == "/health" {
		if ill {
			w.WriteHeader(500)
		}
		return
	}
	if m.serve != nil {
		m.serve(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	m.mu.Lock()
	m.got = append(m.got, seenRequest{r.Method, r.URL.String(), r.Host, string(body), r.Header.Clone(), r.ContentLength})
	m.mu.Unlock()
	if status != 0 {
		w.WriteHeader(status)
	}
	fmt.Fprint(w, m.name)
}

// answered is a response as a client got it.
type answered struct {
	status  int
	body    string
	header  http.Header
	cookies []*http.Cookie
}

// client is a client of one version of HTTP, that keeps its connections.
func (r *router) client(transport string) *http.Client {
	entryPoint := "web"
	t := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100, Protocols: new(http.Protocols),
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	switch transport {
	case "h1", "h1s":
		t.Protocols.SetHTTP1(true)
	case "h2":
		t.Protocols.SetHTTP2(true)
	case "h2c":
		t.Protocols.SetUnencryptedHTTP2(true)
	}
	if transport == "h1s" || transport == "h2" {
		entryPoint = "secure"
	}
	t.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, r.addr(entryPoint))
	}
	c := &http.Client{Transport: t, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r.t.Cleanup(c.CloseIdleConnections)
	return c
}

// origin is how a transport's URLs begin.
func origin(transport, host string) string {
	if transport == "h1s" || transport == "h2" {
		return "https://" + host
	}
	return "http://" + host
}

// send sends one request; fields are names and values.
func send(c *http.Client, method, url, body string, fields ...string) (answered, error) {
	var in io.Reader
	if body != "" {
		in = bytes.NewReader([]byte(body))
	}
	req, err := http.NewRequest(method, url, in)
	if err != nil {
		return answered{}, err
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Add(fields[i], fields[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		return answered{}, err
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	return answered{resp.StatusCode, string(out), resp.Header, resp.Cookies()}, err
}

// must is send for requests that get an answer.
func must(t *testing.T, c *http.Client, method, url, body string, fields ...string) answered {
	t.Helper()
	a, err := send(c, method, url, body, fields...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// tree is a configuration in which the hosts NAME.test lead to the services of that name, in the clear and over TLS. services
// is YAML below http.services, at an indentation of four.
func tree(services string, hosts ...string) string {
	var b strings.Builder
	b.WriteString("http:\n  routers:\n")
	for _, h := range hosts {
		fmt.Fprintf(&b, "    %[1]s: {rule: \"Host(`%[1]s.test`)\", service: %[1]s, entryPoints: [web]}\n", h)
		fmt.Fprintf(&b, "    %[1]s-tls: {rule: \"Host(`%[1]s.test`)\", service: %[1]s, entryPoints: [secure], tls: {}}\n", h)
	}
	b.WriteString("  services:\n")
	for line := range strings.Lines(services) {
		b.WriteString("    " + line)
	}
	return b.String()
}

// eachTransport runs body once for each version of HTTP.
func eachTransport(t *testing.T, r *router, body func(t *testing.T, c *http.Client, origin func(host string) string)) {
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			c := r.client(transport)
			defer c.CloseIdleConnections()
			body(t, c, func(host string) string { return origin(transport, host) })
		})
	}
}
