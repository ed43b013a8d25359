package middleware

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sluice/internal/core/route"
	"sluice/internal/core/rule"
	"sluice/internal/testkit"
	"sluice/internal/traffic/entrypoint"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/watch"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// edge is a real entry point on loopback with one router, whose chain tests choose.
type edge struct {
	addr    string
	current entrypoint.Current
	table   *route.HTTPTable
}

func newEdge(t *testing.T, o entrypoint.HTTPOptions) *edge {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	all, problems := rule.Parse("PathPrefix(`/`)", rule.V3, rule.HTTP)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	e := &edge{addr: l.Addr().String(), table: route.CompileHTTP(nil, []route.Entry{{Rule: all}})}
	e.use(silent)
	w := watch.New()
	w.Start()
	ep := entrypoint.New(entrypoint.Options{Name: "web", Listener: l, HTTP: o, Current: &e.current, Watch: w, Log: slog.New(slog.DiscardHandler)})
	done := make(chan error)
	go func() { done <- ep.Run() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		ep.Shutdown(ctx)
		if err := <-done; err != nil {
			t.Error(err)
		}
		w.Stop()
	})
	return e
}

// use makes h the chain of the router.
func (e *edge) use(h httpmsg.Handler) {
	r := &entrypoint.Routes{Conn: &route.EntryPoint{}, Plain: entrypoint.HTTPRoutes{Table: e.table, Routers: []entrypoint.HTTPRouter{{Name: "r@file", Handler: h}}}}
	r.Seal()
	e.current.Store(&entrypoint.Generation{Routes: []*entrypoint.Routes{r}})
}

// seen is an origin whose memory is read by the test.
type seen struct {
	mu sync.Mutex
	o  origin
}

func (s *seen) Serve(x *httpmsg.Exchange) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.o.Serve(x)
}

// take returns what was seen since the last take.
func (s *seen) take() origin {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.o
	s.o = origin{}
	return o
}

// protocols are the ways to send a request to an edge. Each returns the status and the fields of the response.
var protocols = map[string]func(t *testing.T, e *edge, a ask) (int, []string){"h1": sendHTTP1, "h2c": sendHTTP2}

func (e *edge) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

func sendHTTP1(t *testing.T, e *edge, a ask) (int, []string) {
	t.Helper()
	c := e.dial(t)
	defer c.Close()
	x := ask{method: a.method, host: a.host, target: "/"}.exchange(t)
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n", x.Req.Method, orSlash(a.target), x.Req.Host)
	for _, f := range a.fields {
		text += f + "\r\n"
	}
	if _, err := io.WriteString(c, text+"Connection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	head, _, ok := strings.Cut(string(answer), "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	if err != nil || !ok || len(lines[0]) < 12 {
		t.Fatalf("%v: %q", err, answer)
	}
	status, _ := strconv.Atoi(lines[0][9:12])
	return status, lines[1:]
}

func orSlash(target string) string {
	if target == "" {
		return "/"
	}
	return target
}

func sendHTTP2(t *testing.T, e *edge, a ask) (int, []string) {
	t.Helper()
	c := e.dial(t)
	defer c.Close()
	x := ask{method: a.method, host: a.host, target: "/"}.exchange(t)
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	put := func(name, value string) { _ = enc.WriteField(hpack.HeaderField{Name: name, Value: value}) }
	put(":method", x.Req.Method.String())
	put(":scheme", "http")
	put(":authority", x.Req.Host.String())
	put(":path", orSlash(a.target))
	for _, f := range a.fields {
		name, value, _ := strings.Cut(f, ":")
		put(strings.ToLower(name), strings.TrimSpace(value))
	}
	_, _ = io.WriteString(c, http2.ClientPreface)
	f := http2.NewFramer(c, c)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = f.WriteSettings()
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			status, _ := strconv.Atoi(frame.PseudoValue("status"))
			var out []string
			for _, f := range frame.RegularFields() {
				out = append(out, f.Name+": "+f.Value)
			}
			return status, out
		case *http2.RSTStreamFrame:
			return 400, nil // malformed: a reset says what 400 does on HTTP/1
		}
	}
}

// trusting believes forwarded fields of clients on loopback.
func trusting() entrypoint.HTTPOptions {
	return entrypoint.HTTPOptions{Forwarded: entrypoint.ForwardedHeaders{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}
}
