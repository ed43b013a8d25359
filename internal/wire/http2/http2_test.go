package http2_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/testkit"
	"sluice/internal/wire/bridge"
	"sluice/internal/wire/http2"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/watch"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// serve accepts on a loopback port and hands every connection to a server; secure does the handshake first.
func serve(t *testing.T, opts http2.Options, secure *tls.Config) (addr string, s *http2.Server) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s = http2.New(opts)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				facts := bridge.Conn{Peer: c.RemoteAddr().(*net.TCPAddr).AddrPort(), Local: c.LocalAddr().(*net.TCPAddr).AddrPort()}
				if secure != nil {
					tc := tls.Server(c, secure)
					if tc.Handshake() != nil {
						c.Close()
						return
					}
					facts.TLSOptions = "options"
					c = tc
				}
				s.ServeConn(c, facts)
			}()
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
		s.Close()
		if n := s.Conns(); n != 0 {
			t.Errorf("%d connections left", n)
		}
	})
	return ln.Addr().String(), s
}

func serveClear(t *testing.T, opts http2.Options) string {
	addr, _ := serve(t, opts, nil)
	return addr
}

// client speaks HTTP/2 only, over TLS if ca is given.
func client(t *testing.T, ca *testkit.CA) *http.Client {
	var p http.Protocols
	tr := &http.Transport{Protocols: &p, DisableCompression: true}
	if ca != nil {
		p.SetHTTP2(true)
		tr.TLSClientConfig = &tls.Config{RootCAs: ca.Pool(), ServerName: "a.test"}
	} else {
		p.SetUnencryptedHTTP2(true)
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func get(t *testing.T, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func TestExchangeOverTLS(t *testing.T) {
	ca := testkit.NewCA(t)
	conf := ca.Leaf(t, "a.test").ServerConfig()
	conf.NextProtos = []string{"h2"}
	seen := make(chan string, 1)
	addr, _ := serve(t, http2.Options{Handler: httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		q := &x.Req
		seen <- fmt.Sprintf("%s %s %s?%s %v %s tls=%v sni=%s options=%s peer=%v local=%v ua=%q body=%v %d x=%s,%s", q.Method, q.Host, q.Path, q.Query, q.HasQuery, q.Proto,
			q.TLS, x.TLS.ServerName, x.TLSOptions, x.Peer.IsValid(), x.Local.Port() != 0, q.Header.Get(httpmsg.HdrUserAgent), q.Body != nil, q.ContentLength,
			q.Header.Lookup("x-a"), q.Header.At(q.Header.Index("x-a", q.Header.Index("x-a", 0)+1)).Value)
		x.Respond(201, "text/plain", "made")
		x.Res.Header.Add("X-B", "1")
		x.Res.Header.Add("X-B", "2")
		x.Res.Header.Add("Connection", "X-C")
		return nil
	})}, conf)
	req, _ := http.NewRequest("PUT", "https://"+addr+"/p%2fq/%C3%BC?x=%zz", strings.NewReader("body"))
	req.Host = "b.test:8443"
	req.Header.Add("X-A", "1")
	req.Header.Add("X-A", "2")
	req.Header.Set("User-Agent", "me")
	res, err := client(t, ca).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode != 201 || string(body) != "made" || res.ContentLength != 4 || res.Header.Get("Content-Type") != "text/plain" ||
		!slices.Equal(res.Header["X-B"], []string{"1", "2"}) || res.Header.Get("Connection") != "" {
		t.Errorf("%d %q %v", res.StatusCode, body, res.Header)
	}
	want := `PUT b.test:8443 /p%2fq/%C3%BC?x=%zz true HTTP/2.0 tls=true sni=a.test options=options peer=true local=true ua="me" body=true 4 x=1,2`
	if got := <-seen; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestNotNegotiated(t *testing.T) {
	s := http2.New(http2.Options{})
	defer s.Close()
	ca := testkit.NewCA(t)
	a, b := testkit.Pipe()
	go io.Copy(io.Discard, a)
	if err := s.ServeConn(tls.Server(b, ca.Leaf(t, "a.test").ServerConfig()), bridge.Conn{}); err == nil {
		t.Error("a connection without h2 was taken")
	}
	a.Close()
}

// script is a body that says what it is told to, one piece for each receive from its channel.
type script struct {
	pieces  chan string
	end     error // instead of io.EOF
	trailer *httpmsg.Header
	over    bool
	closed  chan struct{}
}

func (s *script) Next() ([]byte, error) {
	if p, ok := <-s.pieces; ok {
		return []byte(p), nil
	}
	s.over = true
	if s.end != nil {
		return nil, s.end
	}
	return nil, io.EOF
}
func (s *script) Ready() bool { return len(s.pieces) > 0 }
func (s *script) Trailer() *httpmsg.Header {
	if s.over {
		return s.trailer
	}
	return nil
}
func (s *script) Close() {
	if s.closed != nil {
		select {
		case <-s.closed:
		default:
			close(s.closed)
		}
	}
}

func say(pieces ...string) *script {
	s := &script{pieces: make(chan string, len(pieces))}
	for _, p := range pieces {
		s.pieces <- p
	}
	close(s.pieces)
	return s
}

// respond is a handler that answers with this.
func respond(status int, length int64, body func() httpmsg.Body) httpmsg.Handler {
	return httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		x.Res.Status, x.Res.ContentLength, x.Res.Body = status, length, body()
		return nil
	})
}

func TestEventsLeaveAtOnce(t *testing.T) {
	pieces := make(chan string)
	addr := serveClear(t, http2.Options{Handler: respond(200, -1, func() httpmsg.Body { return &script{pieces: pieces} })})
	res, err := client(t, nil).Get("http://" + addr)
	if err != nil {
		t.Fatal(err) // the head came before the first piece, or this would hang
	}
	defer res.Body.Close()
	buf := make([]byte, 10)
	for _, p := range []string{"one", "two"} {
		pieces <- p
		if _, err := io.ReadFull(res.Body, buf[:3]); err != nil || string(buf[:3]) != p {
			t.Fatalf("%q, %v", buf[:3], err)
		}
	}
	close(pieces)
	if n, err := res.Body.Read(buf); n != 0 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
}

func TestTrailers(t *testing.T) {
	trailer := &httpmsg.Header{}
	trailer.Add("grpc-status", "0")
	trailer.Add("Transfer-Encoding", "chunked")
	seen := make(chan string, 1)
	addr := serveClear(t, http2.Options{Handler: httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		var got []byte
		for {
			p, err := x.Req.Body.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
			got = append(got, p...)
		}
		seen <- fmt.Sprint(string(got), x.Req.Trailers, x.Req.Body.Trailer().Lookup("X-Sum"), x.Facts.BytesIn)
		b := say("data")
		b.trailer = trailer
		x.Res.Status, x.Res.ContentLength, x.Res.Body = 200, -1, b
		return nil
	})})
	req, _ := http.NewRequest("POST", "http://"+addr, io.MultiReader(strings.NewReader("up"), strings.NewReader("load")))
	req.Header.Set("TE", "trailers")
	req.Trailer = http.Header{"X-Sum": {"9"}}
	res, err := client(t, nil).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if string(body) != "data" || err != nil || len(res.Trailer) != 1 || res.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("%q %v %v", body, err, res.Trailer)
	}
	if got := <-seen; got != "uploadtrue 9 6" {
		t.Errorf("request: %s", got)
	}
}

// echo is a body that returns the request's as it comes: full duplex.
type echo struct{ httpmsg.Body }

func TestFullDuplex(t *testing.T) {
	addr := serveClear(t, http2.Options{Handler: httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		x.Res.Status, x.Res.ContentLength, x.Res.Body = 200, -1, echo{x.Req.Body}
		return nil
	})})
	pr, pw := io.Pipe()
	req, _ := http.NewRequest("POST", "http://"+addr, pr)
	res, err := client(t, nil).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	buf := make([]byte, 4)
	for _, p := range []string{"ping", "pong"} {
		io.WriteString(pw, p)
		if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != p {
			t.Fatalf("%q, %v", buf, err)
		}
	}
	pw.Close()
	if n, err := res.Body.Read(buf); n != 0 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
}

func TestLargeBodies(t *testing.T) {
	addr := serveClear(t, http2.Options{Handler: httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		x.Res.Status, x.Res.ContentLength, x.Res.Body = 200, x.Req.ContentLength, echo{x.Req.Body}
		return nil
	})})
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<17)
	res, err := client(t, nil).Post("http://"+addr, "", bytes.NewReader(sent))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(res.Body)
	res.Body.Close()
	if !bytes.Equal(got, sent) || err != nil {
		t.Errorf("%d of %d bytes, %v", len(got), len(sent), err)
	}
}

func TestInterim(t *testing.T) {
	addr := serveClear(t, http2.Options{Handler: httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		h := &httpmsg.Header{}
		h.Add("Link", "</a>; rel=preload")
		h.Add("Connection", "close")
		x.Interim(103, h)
		x.Interim(101, nil)
		release := x.HoldInterim()
		x.Interim(102, nil)
		release()
		x.Respond(200, "", "x")
		return nil
	})})
	var got []string
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		got = append(got, fmt.Sprint(code, h))
		return nil
	}})
	req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+addr, nil)
	res, err := client(t, nil).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if fmt.Sprint(got) != "[103 map[Link:[</a>; rel=preload]]]" || res.Header.Get("Link") != "" {
		t.Errorf("%v, then %v", got, res.Header)
	}
}

func TestContinue(t *testing.T) {
	addr := serveClear(t, http2.Options{Handler: httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		if x.Req.Path.Is("/read") {
			x.Req.Body.Next()
		}
		x.Respond(200, "", "")
		return nil
	})})
	for path, want := range map[string]int{"/read": 1, "/refuse": 0} {
		n := 0
		ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got100Continue: func() { n++ }})
		req, _ := http.NewRequestWithContext(ctx, "POST", "http://"+addr+path, strings.NewReader("body"))
		req.Header.Set("Expect", "100-continue")
		c := client(t, nil)
		c.Transport.(*http.Transport).ExpectContinueTimeout = 5 * time.Second
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if n != want {
			t.Errorf("%s: %d times 100", path, n)
		}
	}
}

func TestBodiless(t *testing.T) {
	for _, c := range []struct {
		method string
		status int
		length int64
		want   string // Content-Length
	}{
		{"HEAD", 200, 5, "5"}, {"HEAD", 200, -1, ""}, {"GET", 204, 0, ""}, {"GET", 204, 5, ""}, {"GET", 304, 0, ""}, {"GET", 304, 5, ""}, {"GET", 200, 0, "0"},
	} {
		body := &script{closed: make(chan struct{}), pieces: make(chan string)}
		addr := serveClear(t, http2.Options{Handler: respond(c.status, c.length, func() httpmsg.Body {
			if c.method == "GET" && c.status == 200 {
				close(body.closed)
				return nil
			}
			return body
		})})
		req, _ := http.NewRequest(c.method, "http://"+addr, nil)
		res, err := client(t, nil).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		if res.StatusCode != c.status || len(got) != 0 || err != nil || res.Header.Get("Content-Length") != c.want {
			t.Errorf("%s %d %d: %d %q %v %v", c.method, c.status, c.length, res.StatusCode, got, err, res.Header)
		}
		<-body.closed
	}
}

// after adds a field at commit.
type after struct{}

func (after) EditResponse(x *httpmsg.Exchange) { x.Res.Header.Set("X-Edit", "yes") }

func TestFaults(t *testing.T) {
	cases := map[string]struct {
		serve  httpmsg.HandlerFunc
		status int
		code   string
		body   string
	}{
		"no router":     {func(*httpmsg.Exchange) error { return fault.New(fault.NoRouter, "", nil) }, 404, "NO-ROUTER", "404 page not found\n"},
		"plain error":   {func(*httpmsg.Exchange) error { return errors.New("secret text") }, 500, "INTERNAL", "Internal Server Error"},
		"panic":         {func(*httpmsg.Exchange) error { panic("secret text") }, 500, "PANIC", "Internal Server Error"},
		"cut, too soon": {func(*httpmsg.Exchange) error { return fault.New(fault.UpstreamCut, "", nil) }, 502, "UPSTREAM-CUT", ""},
		"no answer":     {func(*httpmsg.Exchange) error { return nil }, 500, "INTERNAL", "Internal Server Error"},
		"upgrade": {func(x *httpmsg.Exchange) error {
			a, _ := testkit.Pipe()
			x.Upgrade, x.Res.Status = &httpmsg.Upgrade{Server: a}, 101
			return nil
		}, 500, "INTERNAL", ""},
		"edit panics": {func(x *httpmsg.Exchange) error { x.Respond(200, "", "x"); x.OnCommit(bad{}); return nil }, 500, "PANIC", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			addr := serveClear(t, http2.Options{Handler: httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
				x.OnCommit(after{})
				return c.serve(x)
			})})
			res, body := get(t, client(t, nil), "http://"+addr)
			if res.StatusCode != c.status || res.Header.Get("Sluice-Error") != c.code || c.body != "" && body != c.body ||
				res.Header.Get("X-Edit") != "yes" || strings.Contains(body, "secret") {
				t.Errorf("%d %q %v", res.StatusCode, body, res.Header)
			}
		})
	}
}

// bad panics the first time.
type bad struct{}

func (bad) EditResponse(x *httpmsg.Exchange) {
	if x.Res.Status == 200 {
		panic("bad edit")
	}
}

// upper is a filter that changes bytes, doubles what it emits at the end, and may hold or break.
type upper struct {
	hold bool
	fail error
}

func (u *upper) Head(x *httpmsg.Exchange) bool {
	x.Res.ContentLength = -1
	x.Res.Header.Set("X-Upper", "1")
	return u.hold
}
func (u *upper) Data(p []byte, _ bool, out func([]byte) error) error {
	if u.fail != nil {
		return u.fail
	}
	return out(bytes.ToUpper(p))
}
func (u *upper) End(out func([]byte) error) error { return out([]byte("!")) }
func (u *upper) Close()                           {}

func TestFilters(t *testing.T) {
	for _, hold := range []bool{false, true} {
		addr := serveClear(t, http2.Options{Handler: httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
			x.Respond(200, "text/plain", "abc")
			x.AddFilter(&upper{hold: hold})
			x.AddFilter(&upper{hold: hold})
			return nil
		})})
		if res, body := get(t, client(t, nil), "http://"+addr); body != "ABC!!" || res.Header.Get("X-Upper") != "1" {
			t.Errorf("hold %v: %q %v", hold, body, res.Header)
		}
	}
	addr := serveClear(t, http2.Options{Handler: httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		x.Respond(200, "text/plain", "abc")
		x.AddFilter(&upper{hold: true, fail: fault.New(fault.BodyTooLarge, "", nil)})
		return nil
	})})
	if res, _ := get(t, client(t, nil), "http://"+addr); res.StatusCode != 413 || res.Header.Get("X-Upper") != "" {
		t.Errorf("a filter that breaks before the head: %d %v", res.StatusCode, res.Header)
	}
}

func TestCutNeverLooksComplete(t *testing.T) {
	cases := map[string]httpmsg.Handler{
		"source breaks": respond(200, -1, func() httpmsg.Body {
			s := say("abc")
			s.end = fault.New(fault.UpstreamCut, "", nil)
			return s
		}),
		"shorter than announced": respond(200, 10, func() httpmsg.Body { return say("abc") }),
		"longer than announced":  respond(200, 2, func() httpmsg.Body { return say("abc") }),
		"filter breaks later": httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
			x.Res.Status, x.Res.ContentLength, x.Res.Body = 200, -1, say("abc")
			x.AddFilter(&upper{fail: errors.New("no")})
			return nil
		}),
	}
	for name, h := range cases {
		t.Run(name, func(t *testing.T) {
			over := make(chan error, 1)
			addr := serveClear(t, http2.Options{Handler: httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
				x.OnFinish(told(func(x *httpmsg.Exchange) { over <- x.Facts.Err }))
				return h.Serve(x)
			})})
			res, err := client(t, nil).Get("http://" + addr)
			if err == nil {
				_, err = io.ReadAll(res.Body)
				res.Body.Close()
			}
			// As on HTTP/1 a response of which nothing has left becomes an honest answer.
			if err == nil && (res.StatusCode < 500 || res.Header.Get("Sluice-Error") == "") {
				t.Error("the client saw a complete response")
			}
			if err := <-over; err == nil {
				t.Error("the record shows no fault")
			}
		})
	}
}

type told func(*httpmsg.Exchange)

func (f told) Finish(x *httpmsg.Exchange) { f(x) }

func TestClientGone(t *testing.T) {
	started, cancelled, over := make(chan struct{}), make(chan error, 1), make(chan error, 1)
	addr := serveClear(t, http2.Options{Handler: httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		x.OnFinish(told(func(x *httpmsg.Exchange) { over <- x.Facts.Err }))
		hook := func(cause error) { cancelled <- cause }
		x.OnCancel(&hook)
		close(started)
		err := <-cancelled
		cancelled <- err
		return err
	})})
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-started; cancel() }()
	req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+addr, nil)
	if _, err := client(t, nil).Do(req); err == nil {
		t.Error("no error")
	}
	if f := fault.Of(<-cancelled); f.Kind != fault.ClientGone {
		t.Errorf("cancelled with %v", f)
	}
	if f := fault.Of(<-over); f.Kind != fault.ClientGone {
		t.Errorf("ended with %v", f)
	}
}

func TestStalledUpload(t *testing.T) {
	w := watch.New()
	w.Start()
	defer w.Stop()
	addr, s := serve(t, http2.Options{Watch: w, ReadTimeout: time.Second, Handler: httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		for {
			if _, err := x.Req.Body.Next(); err == io.EOF {
				x.Respond(200, "", "")
				return nil
			} else if err != nil {
				return err
			}
		}
	})}, nil)
	pr, pw := io.Pipe()
	defer pw.Close()
	go io.WriteString(pw, "some")
	res, err := client(t, nil).Post("http://"+addr, "", pr)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 408 || res.Header.Get("Sluice-Error") != "BODY-STALLED" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	// A slow but steady one lives for longer than the timeout.
	pr, pw2 := io.Pipe()
	go func() {
		for range 10 {
			time.Sleep(150 * time.Millisecond)
			pw2.Write(make([]byte, 1024))
		}
		pw2.Close()
	}()
	if res, err = client(t, nil).Post("http://"+addr, "", pr); err != nil || res.StatusCode != 200 {
		t.Errorf("%v %v", res, err)
	}
	s.Close()
	if w.Len() != 0 {
		t.Errorf("%d watch entries left", w.Len())
	}
}

func TestInterruptedUpload(t *testing.T) {
	addr := serveClear(t, http2.Options{Handler: httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		got := make(chan error)
		go func() {
			for {
				if _, err := x.Req.Body.Next(); err != nil {
					got <- err
					return
				}
			}
		}()
		x.Req.Body.(httpmsg.Interrupter).Interrupt()
		if err := <-got; !errors.Is(err, httpmsg.ErrInterrupted) {
			return err
		}
		x.Respond(200, "", "early")
		return nil
	})})
	pr, pw := io.Pipe()
	defer pw.Close()
	res, err := client(t, nil).Post("http://"+addr, "", pr)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode != 200 || string(body) != "early" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
}

func TestStalledReader(t *testing.T) {
	w := watch.New()
	w.Start()
	defer w.Stop()
	over := make(chan error, 1)
	addr := serveClear(t, http2.Options{Watch: w, Stall: 100 * time.Millisecond, Handler: httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		x.OnFinish(told(func(x *httpmsg.Exchange) { over <- x.Facts.Err }))
		x.Res.Status, x.Res.ContentLength, x.Res.Body = 200, -1, say(strings.Repeat("x", 1<<20))
		return nil
	})})
	c := dialRaw(t, addr)
	c.request(t, ":method", "GET", ":path", "/", ":scheme", "http", ":authority", "a.test")
	// Window of 64 KiB is used up and never renewed.
	if f := fault.Of(<-over); f == nil || f.Kind != fault.ClientGone {
		t.Errorf("ended with %v", f)
	}
	if got := c.outcome(t); got != "RST_STREAM INTERNAL_ERROR" {
		t.Errorf("client saw %s", got)
	}
}

func TestFieldLimits(t *testing.T) {
	addr := serveClear(t, http2.Options{Handler: respond(200, 0, func() httpmsg.Body { return nil })})
	c := client(t, nil)
	for name, c2 := range map[string]struct {
		add  func(http.Header)
		want int
	}{
		"1000 fields": {func(h http.Header) {
			for range 999 { // and Accept-Encoding or User-Agent
				h.Add("X-A", "1")
			}
		}, 200},
		"1001 fields": {func(h http.Header) {
			for range 1001 {
				h.Add("X-A", "1")
			}
		}, 431},
		"64 KiB field": {func(h http.Header) { h.Set("X-A", strings.Repeat("a", 64<<10)) }, 431},
	} {
		req, _ := http.NewRequest("GET", "http://"+addr, nil)
		req.Header.Set("User-Agent", "")
		c2.add(req.Header)
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != c2.want {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}
}
