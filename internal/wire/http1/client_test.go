// This file is long because it holds one table of server misbehaviour beside the client that it is tried on; both are read together.

package http1

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/testkit"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/watch"
)

// bag is a Keeper that remembers what it was told.
type bag struct {
	mu            sync.Mutex
	idle          []*ClientConn
	gone, expired int
}

func (b *bag) Idle(c *ClientConn) { b.mu.Lock(); b.idle = append(b.idle, c); b.mu.Unlock() }
func (b *bag) Gone(*ClientConn)   { b.mu.Lock(); b.gone++; b.mu.Unlock() }
func (b *bag) Expired(*ClientConn) {
	b.mu.Lock()
	b.expired++
	b.mu.Unlock()
}

// state tells where the bag's only connection is.
func (b *bag) state() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.gone > 0:
		return "closed"
	case len(b.idle) > 0:
		return "idle"
	}
	return "busy"
}

func dialClient(t testing.TB, addr string, o ClientOptions) (*ClientConn, *bag) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	w := watch.New()
	w.Start()
	b := &bag{}
	c := NewClientConn(nc, &o, w, b)
	t.Cleanup(func() {
		if b.state() != "closed" {
			c.Close()
		}
		w.Stop()
	})
	return c, b
}

// request builds an exchange from "METHOD /path?query" and header lines.
func request(line string, fields ...string) *httpmsg.Exchange {
	x := new(httpmsg.Exchange)
	x.Reset(nil)
	method, target, _ := strings.Cut(line, " ")
	path, query, has := strings.Cut(target, "?")
	x.Req.Method, x.Req.Path = httpmsg.Text(method), httpmsg.Text(path)
	x.Req.Query, x.Req.HasQuery = httpmsg.Text(query), has
	x.Req.Host = httpmsg.Text("a.test")
	x.Req.Proto = httpmsg.HTTP11
	x.Peer = netip.MustParseAddrPort("192.0.2.7:4711")
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		x.Req.Header.Add(name, value)
	}
	return x
}

func readBody(x *httpmsg.Exchange) (string, error) {
	if x.Res.Body == nil {
		return "", nil
	}
	var got strings.Builder
	for {
		p, err := x.Res.Body.Next()
		if err == io.EOF {
			return got.String(), nil
		}
		if err != nil {
			return got.String(), err
		}
		got.Write(p)
	}
}

func TestMain(m *testing.M) {
	httpmsg.SetPoison(true)
	testkit.Main(m)
}

// readRequest reads one request with an optional counted body.
func readRequest(c *testkit.PeerConn) (string, error) {
	head, err := c.ReadUntil("\r\n\r\n")
	if err != nil {
		return head, err
	}
	if _, after, ok := strings.Cut(head, "Content-Length: "); ok {
		var n int
		fmt.Sscan(after, &n)
		body := make([]byte, n)
		_, err = io.ReadFull(c, body)
		head += string(body)
	}
	return head, err
}

func TestClientRequestHead(t *testing.T) {
	const plain = "GET / HTTP/1.1\r\nHost: a.test\r\n"
	for _, c := range []struct {
		name string
		x    *httpmsg.Exchange
		t    Target
		want string
	}{
		{"plain", request("GET /"), Target{}, plain + "\r\n"},
		{"query", request("GET /a%20b?x=1;y=%zz"), Target{}, "GET /a%20b?x=1;y=%zz HTTP/1.1\r\nHost: a.test\r\n\r\n"},
		{"empty query", request("GET /?"), Target{}, "GET /? HTTP/1.1\r\nHost: a.test\r\n\r\n"},
		{"prefix", request("GET /x"), Target{Prefix: "/base"}, "GET /base/x HTTP/1.1\r\nHost: a.test\r\n\r\n"},
		{"asterisk", request("OPTIONS *"), Target{Prefix: "/base"}, "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n"},
		{"server's host", request("GET /"), Target{Host: "10.0.0.1:80"}, "GET / HTTP/1.1\r\nHost: 10.0.0.1:80\r\n\r\n"},
		{"FLD-01 hop-by-hop fields", request("GET /", "Connection: close, X-A", "Keep-Alive: timeout=5", "Proxy-Connection: x",
			"Proxy-Authorization: x", "Proxy-Authenticate: x", "TE: gzip", "Trailer: X", "Upgrade: h2c", "HTTP2-Settings: x",
			"Transfer-Encoding: chunked", "Content-Length: 0", "Expect: 100-continue", "X-Keep: 1"), Target{},
			plain + "X-Keep: 1\r\nContent-Length: 0\r\n\r\n"},
		{"FLD-06 FLD-07 order, multiplicity, case", request("GET /", "x-b: 1", "X-A: 2", "X-B: 3", "cookie: a", "cookie: b"), Target{},
			plain + "x-b: 1\r\nX-A: 2\r\nX-B: 3\r\ncookie: a\r\ncookie: b\r\n\r\n"},
		{"FLD-10 line breaks in a value", request("GET /", "X-A: 1\r\nX-Evil: 2"), Target{}, plain + "X-A: 1  X-Evil: 2\r\n\r\n"},
		{"forwarded for, none before", request("GET /"), Target{ForwardPeer: true}, plain + "X-Forwarded-For: 192.0.2.7\r\n\r\n"},
		{"XFF-02 forwarded for, appended in place", request("GET /", "X-Forwarded-For: 1.1.1.1, 2.2.2.2", "X-A: 1"), Target{ForwardPeer: true},
			plain + "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 192.0.2.7\r\nX-A: 1\r\n\r\n"},
		{"XFF-03 forwarded for, several lines", request("GET /", "X-Forwarded-For: 1.1.1.1", "X-A: 1", "x-forwarded-for: 2.2.2.2"),
			Target{ForwardPeer: true}, plain + "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 192.0.2.7\r\nX-A: 1\r\n\r\n"},
		{"forwarded for, not appended", request("GET /", "X-Forwarded-For: 1.1.1.1"), Target{}, plain + "X-Forwarded-For: 1.1.1.1\r\n\r\n"},
		{"no body, POST", request("POST /"), Target{}, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, f := appendRequest(nil, c.x, &c.t)
			if f != nil {
				t.Fatal(f)
			}
			if got := string(appendFraming(b, &c.x.Req, false)); got != c.want {
				t.Errorf("got\n%q\nwant\n%q", got, c.want)
			}
		})
	}
	t.Run("forwarded for, kept as it is", func(t *testing.T) {
		x := request("GET /", "X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2")
		x.Req.KeepForwardedFor = true
		want := plain + "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n"
		if b, _ := appendRequest(nil, x, &Target{ForwardPeer: true}); string(b) != want {
			t.Errorf("got %q", b)
		}
	})
	t.Run("forwarded for, suppressed", func(t *testing.T) {
		x := request("GET /")
		x.Req.Header.Append(httpmsg.Field{Name: forwardedForName, ID: httpmsg.HdrXForwardedFor})
		b, _ := appendRequest(nil, x, &Target{ForwardPeer: true})
		if string(b) != plain {
			t.Errorf("got %q", b)
		}
	})
	t.Run("websocket", func(t *testing.T) {
		x := request("GET /", "connection: upgrade", "upgrade: websocket", "sec-websocket-key: k", "SEC-WEBSOCKET-VERSION: 13",
			"sec-websocket-extensions: e", "sec-websocket-protocol: p", "origin: o")
		x.Req.UpgradeTo = httpmsg.Text("websocket")
		want := plain + "Sec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: e\r\n" +
			"Sec-WebSocket-Protocol: p\r\norigin: o\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		if b, _ := appendRequest(nil, x, &Target{}); string(b) != want {
			t.Errorf("got\n%q\nwant\n%q", b, want)
		}
	})
	t.Run("te trailers", func(t *testing.T) {
		x := request("GET /", "TE: trailers, deflate")
		x.Req.Trailers = true
		if b, _ := appendRequest(nil, x, &Target{}); string(b) != plain+"TE: trailers\r\nConnection: TE\r\n" {
			t.Errorf("got %q", b)
		}
	})
	for _, path := range []string{"/a b", "/a\r\nX: y", "/\x7f"} {
		if _, f := appendRequest(nil, request("GET "+"/"), &Target{Prefix: path}); f == nil {
			t.Errorf("target %q was written", path)
		}
	}
}

// answers are raw responses with what must come of them. Body "!" means that the body is cut.
var answers = []struct {
	name   string
	method string
	raw    string
	status int // 0: a fault instead
	body   string
	kind   fault.Kind
	after  string // where the connection is when the exchange has ended
	length int64
}{
	{"counted", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", 0, "idle", 5},
	{"empty", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", 0, "idle", 0},
	{"chunked", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", 200, "hello", 0, "idle", -1},
	{"until close", "GET", "HTTP/1.1 200 OK\r\n\r\nhello", 200, "hello", 0, "closed", -1},
	{"connection close", "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", 0, "closed", 5},
	{"HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", 0, "closed", 5},
	{"HTTP/1.0 keep-alive", "GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", 0, "idle", 5},
	{"no reason phrase", "GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, "", 0, "idle", 0},

	{"UPS-02 counted, cut", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", 200, "abc!", fault.UpstreamCut, "closed", 100},
	{"UPS-02 chunked, cut in data", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", 200, "hel!", fault.UpstreamCut, "closed", -1},
	{"UPS-02 no last chunk", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 200, "hello!", fault.UpstreamCut, "closed", -1},
	{"UPS-02 no final CRLF", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", 200, "hello!", fault.UpstreamCut, "closed", -1},

	{"UPS-03 both framings", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, "", fault.UpstreamProtocol, "closed", 0},
	{"UPS-03 two lengths", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 0, "", fault.UpstreamProtocol, "closed", 0},
	{"UPS-03 negative length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n", 0, "", fault.UpstreamProtocol, "closed", 0},
	{"UPS-03 unknown coding", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx", 0, "", fault.UpstreamProtocol, "closed", 0},
	{"UPS-03 bad chunk size", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 200, "!", fault.UpstreamProtocol, "closed", -1},

	{"UPS-04 garbage", "GET", "\x00\x01\x02garbage\r\n\r\n", 0, "", fault.UpstreamProtocol, "closed", 0},
	{"UPS-04 HTTP/0.9", "GET", "<html>hello</html>", 0, "", fault.UpstreamProtocol, "closed", 0},
	{"UPS-04 cut head", "GET", "HTTP/1.1 200 OK\r\nContent-", 0, "", fault.UpstreamProtocol, "closed", 0},
	{"UPS-04 status 99", "GET", "HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n", 0, "", fault.UpstreamProtocol, "closed", 0},
	{"UPS-04 status 1000", "GET", "HTTP/1.1 1000 X\r\nContent-Length: 0\r\n\r\n", 0, "", fault.UpstreamProtocol, "closed", 0},
	{"UPS-04 bare LF", "GET", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", 0, "", fault.UpstreamProtocol, "closed", 0},
	{"UPS-04 NUL in a value", "GET", "HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n", 0, "", fault.UpstreamProtocol, "closed", 0},
	{"FLD-09 space before colon", "GET", "HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n", 0, "", fault.UpstreamProtocol, "closed", 0},
	{"FLD-09 folded", "GET", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n", 0, "", fault.UpstreamProtocol, "closed", 0},

	{"UPS-05 bytes behind a counted body", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", 200, "ok", 0, "closed", 2},
	{"UPS-05 bytes behind a chunked body", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1", 200, "ok", 0, "closed", -1},
	{"UPS-05 bytes behind an empty body", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1", 200, "", 0, "closed", 0},

	{"UPS-06 HEAD with a length", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, "", 0, "idle", 5},
	{"UPS-06 HEAD without", "HEAD", "HTTP/1.1 200 OK\r\n\r\n", 200, "", 0, "idle", -1},
	{"UPS-06 HEAD, chunked", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, "", 0, "idle", -1},
	{"UPS-06 HEAD with a body", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "", 0, "closed", 5},
	{"UPS-06 204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", 0, "idle", -1},
	{"UPS-06 204 with length 0", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204, "", 0, "idle", -1},
	{"UPS-06 204 with a body", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", 204, "", 0, "closed", -1},
	{"UPS-06 304 with a length", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", 304, "", 0, "idle", 500},
	{"UPS-06 304 with a body", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", 304, "", 0, "closed", 5},

	{"UPS-07 interims", "GET", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok", 0, "idle", 2},
	{"UPS-07 interim, then nothing", "GET", "HTTP/1.1 103 Early Hints\r\n\r\n", 0, "", fault.UpstreamProtocol, "closed", 0},
	{"UPS-08 head of 100 KB", "GET", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 100_000) + "\r\nContent-Length: 2\r\n\r\nok", 200, "ok", 0, "idle", 2},
	{"UPS-08 10 000 fields", "GET", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 10_000) + "Content-Length: 2\r\n\r\nok", 200, "ok", 0, "idle", 2},
	{"UPS-08 head of 2 MB", "GET", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2<<20) + "\r\nContent-Length: 2\r\n\r\nok", 0, "", fault.UpstreamTooLarge, "closed", 0},
	{"UPS-13 redirect", "GET", "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nX-Accel-Redirect: /x\r\nContent-Length: 0\r\n\r\n", 302, "", 0, "idle", 0},

	{"UPG-03 101 unasked", "GET", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 0, "", fault.UpstreamProtocol, "closed", 0},
}

func TestClientAnswers(t *testing.T) {
	for _, c := range answers {
		t.Run(c.name, func(t *testing.T) {
			peer := testkit.Listen(t, func(p *testkit.PeerConn, _ int) {
				p.ReadUntil("\r\n\r\n")
				io.WriteString(p, c.raw)
				if c.after != "idle" {
					return
				}
				io.Copy(io.Discard, p)
			})
			conn, keeper := dialClient(t, peer.Addr, ClientOptions{})
			x := request(c.method + " /")
			err := conn.RoundTrip(x, &Target{})
			if c.status == 0 {
				f := fault.Of(err)
				if f == nil || f.Kind != c.kind || f.Retry != fault.Never {
					t.Fatalf("error %v (%+v), want kind %s", err, f, c.kind.Code())
				}
				if x.Res.Status != 0 || x.Res.Header.Len() != 0 {
					t.Errorf("a refused response left %d and %d fields behind", x.Res.Status, x.Res.Header.Len())
				}
			} else {
				if err != nil {
					t.Fatal(err)
				}
				checkAnswer(t, x, c.status, c.body, c.kind, c.length)
			}
			x.Finish()
			if got := keeper.state(); got != c.after {
				t.Errorf("connection is %s, want %s", got, c.after)
			}
		})
	}
}

func checkAnswer(t *testing.T, x *httpmsg.Exchange, status int, want string, kind fault.Kind, length int64) {
	t.Helper()
	if x.Res.Status != status || x.Res.ContentLength != length || !x.Res.Origin || x.Facts.OriginStatus != status {
		t.Errorf("status %d, length %d, origin %v; want %d, %d, true", x.Res.Status, x.Res.ContentLength, x.Res.Origin, status, length)
	}
	for i := range x.Res.Header.Len() {
		if f := x.Res.Header.At(i); httpmsg.NotReturned.Has(f.ID) {
			t.Errorf("field %s was left in the response", f.Name)
		}
	}
	got, err := readBody(x)
	if cut, broken := strings.CutSuffix(want, "!"); broken {
		if f := fault.Of(err); got != cut || f == nil || f.Kind != kind {
			t.Errorf("body %q, error %v; want %q and %s", got, err, cut, kind.Code())
		}
		if _, again := x.Res.Body.Next(); again != err {
			t.Errorf("a broken body says %v at the next call, want %v", again, err)
		}
	} else if err != nil || got != want {
		t.Errorf("body %q, error %v; want %q", got, err, want)
	}
}

// The same answers, cut at each offset into two segments, give the same exchange.
func TestClientAnswersSplit(t *testing.T) {
	for _, c := range answers {
		if len(c.raw) > 400 || c.status == 0 || c.after != "idle" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			cut := 0
			next := make(chan int, 1)
			peer := testkit.Listen(t, func(p *testkit.PeerConn, _ int) {
				for {
					if _, err := p.ReadUntil("\r\n\r\n"); err != nil {
						return
					}
					n := <-next
					io.WriteString(p, c.raw[:n])
					p.Conn.(*net.TCPConn).SetNoDelay(true)
					io.WriteString(p, c.raw[n:])
				}
			})
			conn, keeper := dialClient(t, peer.Addr, ClientOptions{})
			for cut = 1; cut < len(c.raw); cut++ {
				next <- cut
				x := request(c.method + " /")
				if err := conn.RoundTrip(x, &Target{}); err != nil {
					t.Fatalf("cut at %d: %v", cut, err)
				}
				checkAnswer(t, x, c.status, c.body, c.kind, c.length)
				x.Finish()
				if got := keeper.state(); got != "idle" {
					t.Fatalf("cut at %d: connection is %s", cut, got)
				}
			}
		})
	}
}

func TestClientConnectionFields(t *testing.T) {
	peer := testkit.Listen(t, testkit.Answer("HTTP/1.1 200 OK\r\nX-Hop: 1\r\nConnection: keep-alive, x-hop\r\nKeep-Alive: timeout=5\r\n"+
		"X-Stay: 1\r\nContent-Length: 0\r\nConnection: X-Two\r\nX-Two: 2\r\nx-hop: 3\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n"))
	conn, _ := dialClient(t, peer.Addr, ClientOptions{})
	x := request("GET /")
	if err := conn.RoundTrip(x, &Target{}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range x.Res.Header.Len() {
		f := x.Res.Header.At(i)
		got = append(got, f.Name.String()+"="+f.Value.String())
	}
	if s := strings.Join(got, " "); s != "X-Stay=1 Set-Cookie=a Set-Cookie=b" {
		t.Errorf("fields left: %s", s)
	}
	x.Finish()
}

func TestClientTrailers(t *testing.T) {
	peer := testkit.Listen(t, testkit.Answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nGrpc-Status: 0\r\nContent-Length: 7\r\n\r\n"))
	conn, keeper := dialClient(t, peer.Addr, ClientOptions{})
	x := request("GET /")
	if err := conn.RoundTrip(x, &Target{}); err != nil {
		t.Fatal(err)
	}
	if x.Res.Body.Trailer() != nil {
		t.Error("trailers before the end of the body")
	}
	if body, err := readBody(x); body != "ok" || err != nil {
		t.Errorf("body %q, %v", body, err)
	}
	if h := x.Res.Body.Trailer(); h == nil || h.Len() != 1 || !h.Lookup("grpc-status").Is("0") {
		t.Errorf("trailers %v", h)
	}
	x.Finish()
	if keeper.state() != "idle" {
		t.Error("connection was not kept")
	}
}

// UPS-01: what a server that closes costs depends on what it may have seen.
func TestClientClosedUPS01(t *testing.T) {
	t.Run("idle connection closed", func(t *testing.T) {
		closed := make(chan bool)
		peer := testkit.Listen(t, func(p *testkit.PeerConn, _ int) {
			p.ReadUntil("\r\n\r\n")
			io.WriteString(p, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			<-closed
		})
		conn, keeper := dialClient(t, peer.Addr, ClientOptions{})
		x := request("GET /")
		if err := conn.RoundTrip(x, &Target{}); err != nil {
			t.Fatal(err)
		}
		x.Finish()
		closed <- true
		peer.Close()
		waitReadable(t, conn)
		x = request("POST /")
		if err := conn.RoundTrip(x, &Target{}); err != ErrStale {
			t.Fatalf("error %v, want ErrStale", err)
		}
		x.Finish()
		if keeper.state() != "closed" {
			t.Errorf("connection is %s", keeper.state())
		}
		if got := peer.Received(); strings.Contains(got, "POST") {
			t.Errorf("the server was sent %q", got)
		}
	})
	t.Run("UPS-05 idle connection poisoned", func(t *testing.T) {
		more := make(chan bool)
		peer := testkit.Listen(t, func(p *testkit.PeerConn, _ int) {
			p.ReadUntil("\r\n\r\n")
			io.WriteString(p, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			<-more
			io.WriteString(p, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
			io.Copy(io.Discard, p)
		})
		conn, _ := dialClient(t, peer.Addr, ClientOptions{})
		x := request("GET /")
		if err := conn.RoundTrip(x, &Target{}); err != nil {
			t.Fatal(err)
		}
		x.Finish()
		more <- true
		waitReadable(t, conn)
		x = request("GET /")
		if err := conn.RoundTrip(x, &Target{}); err != ErrStale {
			t.Fatalf("error %v, want ErrStale", err)
		}
	})
	t.Run("server speaks first", func(t *testing.T) {
		peer := testkit.Listen(t, func(p *testkit.PeerConn, _ int) {
			io.WriteString(p, "SSH-2.0-x\r\n")
			io.Copy(io.Discard, p)
		})
		conn, _ := dialClient(t, peer.Addr, ClientOptions{})
		waitReadable(t, conn)
		err := conn.RoundTrip(request("POST /"), &Target{})
		if f := fault.Of(err); f == nil || f.Kind != fault.UpstreamProtocol || f.Retry != fault.Always {
			t.Fatalf("error %v", err)
		}
	})
	for _, c := range []struct {
		name string
		body httpmsg.Body
		n    int64
		want fault.Retry
	}{
		{"no body", nil, 0, fault.Idempotent},
		{"body in memory", &httpmsg.Bytes{Data: []byte("hello")}, 5, fault.Idempotent},
		{"body gone", &ready{data: "hello"}, 5, fault.Never},
	} {
		t.Run("closed instead of an answer, "+c.name, func(t *testing.T) {
			peer := testkit.Listen(t, func(p *testkit.PeerConn, _ int) { readRequest(p) })
			conn, keeper := dialClient(t, peer.Addr, ClientOptions{})
			x := request("PUT /")
			x.Req.Body, x.Req.ContentLength = c.body, c.n
			err := conn.RoundTrip(x, &Target{})
			if f := fault.Of(err); f == nil || f.Kind != fault.UpstreamClosed || f.Retry != c.want {
				t.Fatalf("error %v (%+v), want verdict %d", err, f, c.want)
			}
			if keeper.state() != "closed" {
				t.Errorf("connection is %s", keeper.state())
			}
		})
	}
}

// waitReadable waits until the kernel has something for the connection to see.
func waitReadable(t *testing.T, c *ClientConn) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); quiet(c.raw); {
		if time.Now().After(deadline) {
			t.Fatal("nothing arrived")
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// ready is a body that is there at once and cannot be read again.
type ready struct{ data string }

func (r *ready) Next() ([]byte, error) {
	if r.data == "" {
		return nil, io.EOF
	}
	d := r.data
	r.data = ""
	return []byte(d), nil
}
func (r *ready) Ready() bool              { return true }
func (r *ready) Trailer() *httpmsg.Header { return nil }
func (r *ready) Close()                   {}

func TestClientInterimUPS07(t *testing.T) {
	peer := testkit.Listen(t, testkit.Answer(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n", 200)+
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	conn, keeper := dialClient(t, peer.Addr, ClientOptions{})
	x := request("GET /")
	seen := 0
	x.Reset(func(status int, h *httpmsg.Header) error {
		seen++
		if status != 103 || h.Len() != 1 || !h.Lookup("Link").Is("</a>") {
			t.Errorf("interim %d with %d fields", status, h.Len())
		}
		return errors.New("the client's trouble, not ours")
	})
	x.Req.Method, x.Req.Path = httpmsg.Text("GET"), httpmsg.Text("/")
	if err := conn.RoundTrip(x, &Target{}); err != nil {
		t.Fatal(err)
	}
	if body, _ := readBody(x); body != "ok" || seen != 20 {
		t.Errorf("body %q after %d interim responses, want ok after 20", body, seen)
	}
	x.Finish()
	if keeper.state() != "idle" {
		t.Error("connection was not kept")
	}
}

func TestClientTimeoutsUPS10(t *testing.T) {
	for _, c := range []struct {
		name, raw string
		opts      ClientOptions
		status    int
		kind      fault.Kind
	}{
		{"never answers", "", ClientOptions{ResponseHeaderTimeout: 30 * time.Millisecond}, 0, fault.UpstreamSilent},
		{"half a head", "HTTP/1.1 200 OK\r\nContent-", ClientOptions{ResponseHeaderTimeout: 30 * time.Millisecond}, 0, fault.UpstreamSilent},
		{"UPS-07 103, then nothing", "HTTP/1.1 103 Early Hints\r\n\r\n", ClientOptions{ResponseHeaderTimeout: 30 * time.Millisecond}, 0, fault.UpstreamSilent},
		{"body stands still", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", ClientOptions{BodyIdleTimeout: 30 * time.Millisecond}, 200, fault.UpstreamCut},
		{"body stands still, with both limits", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
			ClientOptions{BodyIdleTimeout: 30 * time.Millisecond, ResponseHeaderTimeout: time.Hour}, 200, fault.UpstreamCut},
	} {
		t.Run(c.name, func(t *testing.T) {
			peer := testkit.Listen(t, func(p *testkit.PeerConn, _ int) {
				p.ReadUntil("\r\n\r\n")
				io.WriteString(p, c.raw)
				io.Copy(io.Discard, p)
			})
			conn, keeper := dialClient(t, peer.Addr, c.opts)
			x := request("GET /")
			err := conn.RoundTrip(x, &Target{})
			if c.status == 0 {
				if f := fault.Of(err); f == nil || f.Kind != c.kind {
					t.Fatalf("error %v", err)
				}
			} else if err != nil {
				t.Fatal(err)
			} else if _, err := readBody(x); fault.Of(err) == nil || fault.Of(err).Kind != c.kind {
				t.Errorf("body ends with %v", err)
			}
			x.Finish()
			if keeper.state() != "closed" {
				t.Errorf("connection is %s", keeper.state())
			}
		})
	}
}

func TestClientIdleTimeout(t *testing.T) {
	peer := testkit.Listen(t, testkit.Answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	conn, keeper := dialClient(t, peer.Addr, ClientOptions{})
	x := request("GET /")
	if err := conn.RoundTrip(x, &Target{}); err != nil {
		t.Fatal(err)
	}
	x.Finish()
	conn.ArmIdle(time.Hour)
	if !conn.DisarmIdle(time.Hour) {
		t.Error("an hour is over already")
	}
	conn.ArmIdle(10 * time.Millisecond)
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		keeper.mu.Lock()
		n := keeper.expired
		keeper.mu.Unlock()
		if n == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("idle time was never over")
		}
	}
	if conn.DisarmIdle(10 * time.Millisecond) {
		t.Error("DisarmIdle says that the time is not over")
	}
}

func TestClientCancel(t *testing.T) {
	for _, c := range []struct {
		name, raw string
		inBody    bool
	}{
		{"before the response", "", false},
		{"in the head", "HTTP/1.1 200", false},
		{"in the body", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			peer := testkit.Listen(t, func(p *testkit.PeerConn, _ int) {
				p.ReadUntil("\r\n\r\n")
				io.WriteString(p, c.raw)
				io.Copy(io.Discard, p)
			})
			conn, keeper := dialClient(t, peer.Addr, ClientOptions{})
			x := request("GET /")
			gone := errors.New("client has gone")
			if !c.inBody {
				go x.Cancel(gone)
			}
			err := conn.RoundTrip(x, &Target{})
			if c.inBody {
				if err != nil {
					t.Fatal(err)
				}
				go x.Cancel(gone)
				_, err = readBody(x)
			}
			if f := fault.Of(err); f == nil || f.Kind != fault.ClientGone || !errors.Is(err, gone) {
				t.Errorf("error %v", err)
			}
			x.Finish()
			if keeper.state() != "closed" {
				t.Errorf("connection is %s", keeper.state())
			}
		})
	}
	t.Run("cancelled before", func(t *testing.T) {
		peer := testkit.Listen(t, nil)
		conn, _ := dialClient(t, peer.Addr, ClientOptions{})
		x := request("GET /")
		x.Cancel(fault.New(fault.ShuttingDown, "going down", nil))
		if f := fault.Of(conn.RoundTrip(x, &Target{})); f == nil || f.Kind != fault.ShuttingDown {
			t.Errorf("error %v", f)
		}
		if got := peer.Received(); got != "" {
			t.Errorf("the server was sent %q", got)
		}
	})
}

// A cancellation that comes when the exchange is over must not touch the connection's next one.
func TestClientLateCancel(t *testing.T) {
	peer := testkit.Listen(t, testkit.Answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	conn, keeper := dialClient(t, peer.Addr, ClientOptions{})
	for i := range 300 {
		x := request("GET /")
		if err := conn.RoundTrip(x, &Target{}); err != nil {
			t.Fatalf("exchange %d: %v", i, err)
		}
		done := make(chan bool)
		go func() { x.Cancel(errors.New("late")); close(done) }()
		if body, err := readBody(x); body != "ok" || err != nil {
			t.Fatalf("exchange %d: %q, %v", i, body, err)
		}
		<-done
		x.Finish()
		if keeper.state() != "idle" {
			t.Fatalf("exchange %d: connection is %s", i, keeper.state())
		}
	}
}

func TestClientUpgrade(t *testing.T) {
	const key = "dGhlIHNhbXBsZSBub25jZQ=="
	ask := func() *httpmsg.Exchange {
		x := request("GET /ws", "Sec-WebSocket-Key: "+key, "Sec-WebSocket-Version: 13")
		x.Req.UpgradeTo = httpmsg.Text("websocket")
		return x
	}
	const good = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
	t.Run("UPG-05 switches", func(t *testing.T) {
		peer := testkit.Listen(t, func(p *testkit.PeerConn, _ int) {
			p.ReadUntil("\r\n\r\n")
			io.WriteString(p, good+"first")
			io.Copy(p, p)
		})
		conn, keeper := dialClient(t, peer.Addr, ClientOptions{ResponseHeaderTimeout: time.Hour})
		x := ask()
		if err := conn.RoundTrip(x, &Target{}); err != nil {
			t.Fatal(err)
		}
		if x.Res.Status != 101 || x.Upgrade == nil || string(x.Upgrade.Buffered) != "first" {
			t.Fatalf("status %d, upgrade %+v", x.Res.Status, x.Upgrade)
		}
		s := x.Upgrade.Server
		io.WriteString(s, "echo")
		got := make([]byte, 4)
		if _, err := io.ReadFull(s.(io.Reader), got); err != nil || string(got) != "echo" {
			t.Errorf("echo %q, %v", got, err)
		}
		s.CloseWrite()
		if n, err := s.Read(got); err != io.EOF {
			t.Errorf("after half-close: %d, %v", n, err)
		}
		x.Finish()
		s.Close()
		s.Close()
		if keeper.gone != 1 {
			t.Errorf("keeper was told %d times", keeper.gone)
		}
	})
	for name, raw := range map[string]string{
		"UPG-03 wrong accept":    strings.Replace(good, "s3p", "xxx", 1),
		"UPG-03 no accept":       strings.Replace(good, "Sec-WebSocket-Accept", "X", 1),
		"UPG-03 other protocol":  strings.Replace(good, "WebSocket\r", "h2c\r", 1),
		"UPG-03 no connection":   strings.Replace(good, "Connection: Upgrade\r\n", "", 1),
		"UPG-03 HTTP/1.0":        strings.Replace(good, "HTTP/1.1", "HTTP/1.0", 1),
		"UPG-03 nothing at all":  "HTTP/1.1 101 Switching Protocols\r\n\r\n",
		"UPG-03 with a bad body": strings.Replace(good, "\r\n\r\n", "\r\nContent-Length: x\r\n\r\n", 1),
	} {
		t.Run(name, func(t *testing.T) {
			peer := testkit.Listen(t, testkit.Answer(raw))
			conn, keeper := dialClient(t, peer.Addr, ClientOptions{})
			x := ask()
			if f := fault.Of(conn.RoundTrip(x, &Target{})); f == nil || f.Kind != fault.UpstreamProtocol {
				t.Errorf("error %v", f)
			}
			if x.Upgrade != nil || keeper.state() != "closed" {
				t.Error("upgraded all the same")
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		peer := testkit.Listen(t, testkit.Answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"))
		conn, keeper := dialClient(t, peer.Addr, ClientOptions{})
		x := ask()
		if err := conn.RoundTrip(x, &Target{}); err != nil {
			t.Fatal(err)
		}
		if body, _ := readBody(x); body != "no" || x.Upgrade != nil {
			t.Errorf("body %q", body)
		}
		x.Finish()
		if keeper.state() != "idle" {
			t.Errorf("connection is %s", keeper.state())
		}
	})
}

func TestClientAllocatesNothing(t *testing.T) {
	if racing {
		t.Skip("pools forget under the race detector")
	}
	peer := testkit.Listen(t, func(p *testkit.PeerConn, _ int) {
		buf := make([]byte, 4096)
		reply := []byte("HTTP/1.1 200 OK\r\nServer: x\r\nConnection: keep-alive\r\nContent-Length: 100\r\n\r\n" + strings.Repeat("x", 100))
		for {
			if _, err := p.Conn.Read(buf); err != nil {
				return
			}
			if _, err := p.Conn.Write(reply); err != nil {
				return
			}
		}
	})
	conn, _ := dialClient(t, peer.Addr, ClientOptions{ResponseHeaderTimeout: time.Minute, BodyIdleTimeout: time.Minute})
	k := conn.keeper.(*bag)
	k.idle = make([]*ClientConn, 0, 1<<16)
	for _, method := range []string{"GET", "POST"} {
		x := request(method+" /a?b=c", "User-Agent: test", "Accept: */*", "X-Forwarded-For: 10.0.0.1")
		small := &ready{}
		target := &Target{ForwardPeer: true}
		if n := testing.AllocsPerRun(200, func() {
			if method == "POST" {
				small.data = "hello"
				x.Req.Body, x.Req.ContentLength = small, 5
			}
			if err := conn.RoundTrip(x, target); err != nil {
				t.Fatal(err)
			}
			for {
				if _, err := x.Res.Body.Next(); err != nil {
					break
				}
			}
			x.Finish()
			x.Res.Header.Reset()
			x.Res.Status = 0
		}); n > 1 || n > 0 && method == "GET" { // the POST's test body is made into bytes
			t.Errorf("%s: %v allocations per exchange", method, n)
		}
	}
}
