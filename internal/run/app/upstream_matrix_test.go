package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"sluice/internal/testkit"
)

// versioned starts a net/http server for one kind of connection to servers: h1, h2 (over TLS) or h2c. It returns its URL.
func versioned(t *testing.T, kind string, h http.HandlerFunc) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, Protocols: new(http.Protocols), MaxHeaderBytes: 1 << 20}
	scheme := "http"
	switch kind {
	case "h1":
		s.Protocols.SetHTTP1(true)
	case "h2":
		s.Protocols.SetHTTP2(true)
		s.TLSConfig = testkit.NewCA(t).Leaf(t, "a.test").ServerConfig()
		scheme = "https"
	case "h2c":
		s.Protocols.SetUnencryptedHTTP2(true)
		scheme = "h2c"
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		if kind == "h2" {
			s.ServeTLS(ln, "", "")
		} else {
			s.Serve(ln)
		}
	}()
	t.Cleanup(func() { s.Close(); <-done })
	return scheme + "://" + ln.Addr().String()
}

// visitor is a net/http client for one of the transports, which comes to a.test whatever it asks for.
func (r *router) visitor(transport string) (c *http.Client, base string) {
	var p http.Protocols
	entry, base := "web", "http://a.test"
	switch transport {
	case "h1":
		p.SetHTTP1(true)
	case "h2c":
		p.SetUnencryptedHTTP2(true)
	case "h1s":
		p.SetHTTP1(true)
		entry, base = "secure", "https://a.test"
	default:
		p.SetHTTP2(true)
		entry, base = "secure", "https://a.test"
	}
	tr := &http.Transport{Protocols: &p, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true, ExpectContinueTimeout: 10 * time.Second,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, r.addr(entry))
		}}
	r.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 5 * time.Second}, base
}

// One body over every version of HTTP on both sides.
func TestEveryProtocolOnBothSides(t *testing.T) {
	for _, kind := range []string{"h1", "h2", "h2c"} {
		gone := make(chan bool, 1)
		url := versioned(t, kind, func(w http.ResponseWriter, q *http.Request) { answerMatrix(w, q, gone) })
		r := start(t, twoEntryPoints, `
http:
  routers:
    clear: {rule: "PathPrefix(`+"`/`"+`)", service: s, entryPoints: [web]}
    tls: {rule: "PathPrefix(`+"`/`"+`)", service: s, tls: {}, entryPoints: [secure]}
  services:
    s: {loadBalancer: {serversTransport: t, servers: [{url: "`+url+`"}]}}
  serversTransports:
    t: {insecureSkipVerify: true}
`)
		for _, transport := range transports {
			c, base := r.visitor(transport)
			t.Run(kind+" behind "+transport, func(t *testing.T) { matrix(t, c, base, kind, gone) })
		}
		r.stop()
	}
}

// answerMatrix is the server's side of matrix.
func answerMatrix(w http.ResponseWriter, q *http.Request, gone chan bool) {
	flush := w.(http.Flusher).Flush
	switch q.URL.Path {
	case "/echo":
		http.NewResponseController(w).EnableFullDuplex()
		flush()
		b := make([]byte, 4096)
		for {
			n, err := q.Body.Read(b)
			w.Write(b[:n])
			flush()
			if err != nil {
				return
			}
		}
	case "/trailers":
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, "body")
		flush() // without a length, since HTTP/1 has no trailers behind a counted body
		w.Header().Set("X-Sum", "4")
	case "/early":
		if q.ProtoMajor == 1 {
			w.Header().Set("Connection", "close") // net/http waits for the rest of the body else
		}
		w.Header().Set("Content-Length", "3")
		w.WriteHeader(413)
		io.WriteString(w, "big")
	case "/hang":
		// It goes on writing: a client of HTTP/1 that leaves in the midst of a response is seen by that.
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for q.Context().Err() == nil {
			if _, err := w.Write(bytes.Repeat([]byte("x"), 4096)); err != nil {
				break
			}
			flush()
			<-tick.C
		}
		select {
		case gone <- true:
		default:
		}
	case "/cut":
		io.WriteString(w, "part")
		flush()
		panic(http.ErrAbortHandler)
	case "/cut-counted":
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "part")
		flush()
		panic(http.ErrAbortHandler)
	case "/large":
		w.Header().Set("X-Large", q.Header.Get("X-Large"))
	case "/read":
		n, _ := io.Copy(io.Discard, q.Body)
		fmt.Fprint(w, n, " ", q.Proto)
	case "/refuse":
		w.WriteHeader(401)
	case "/head":
		w.Header().Set("Content-Length", "5")
		io.WriteString(w, "hello")
	case "/204":
		w.WriteHeader(204)
	case "/304":
		w.WriteHeader(304)
	}
}

func matrix(t *testing.T, c *http.Client, base, kind string, gone chan bool) {
	do := func(t *testing.T, method, path string, body io.Reader, fields ...string) *http.Response {
		t.Helper()
		req, err := http.NewRequest(method, base+path, body)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(fields); i += 2 {
			req.Header.Set(fields[i], fields[i+1])
		}
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res
	}
	t.Run("full duplex, flushed at once", func(t *testing.T) {
		pr, pw := io.Pipe()
		res := do(t, "POST", "/echo", pr)
		for _, piece := range []string{"one", "two", "three"} {
			go io.WriteString(pw, piece)
			got := make([]byte, len(piece))
			if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != piece {
				t.Fatalf("%q, %v", got, err)
			}
		}
		pw.Close()
		if rest, err := io.ReadAll(res.Body); len(rest) > 0 || err != nil {
			t.Errorf("%q, %v", rest, err)
		}
	})
	t.Run("trailers", func(t *testing.T) {
		res := do(t, "GET", "/trailers", nil)
		if body, err := io.ReadAll(res.Body); string(body) != "body" || err != nil || res.Trailer.Get("X-Sum") != "4" {
			t.Errorf("%q, %v, %v", body, err, res.Trailer)
		}
	})
	t.Run("upload", func(t *testing.T) {
		sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		want := fmt.Sprint(len(sent), " HTTP/", map[string]string{"h1": "1.1", "h2": "2.0", "h2c": "2.0"}[kind])
		for _, body := range []io.Reader{bytes.NewReader(sent), struct{ io.Reader }{bytes.NewReader(sent)}} {
			res := do(t, "POST", "/read", body)
			if got, err := io.ReadAll(res.Body); string(got) != want || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		}
	})
	t.Run("early response", func(t *testing.T) {
		pr, pw := io.Pipe()
		defer pw.Close()
		go io.WriteString(pw, "beginning")
		res := do(t, "POST", "/early", pr)
		if body, _ := io.ReadAll(res.Body); res.StatusCode != 413 || string(body) != "big" {
			t.Errorf("%d %q", res.StatusCode, body)
		}
	})
	t.Run("client aborts", func(t *testing.T) {
		select {
		case <-gone: // of a row before
		default:
		}
		ctx, cancel := context.WithCancel(context.Background())
		req, _ := http.NewRequestWithContext(ctx, "GET", base+"/hang", nil)
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		res.Body.Close()
		select {
		case <-gone:
		case <-time.After(10 * time.Second):
			t.Error("the server does not learn of it")
		}
	})
	for _, path := range []string{"/cut", "/cut-counted"} {
		t.Run("server aborts: "+path, func(t *testing.T) {
			req, _ := http.NewRequest("GET", base+path, nil)
			res, err := c.Do(req)
			if err == nil {
				_, err = io.ReadAll(res.Body)
				res.Body.Close()
			}
			if err == nil && res.StatusCode < 500 {
				t.Error("the client saw a complete response")
			}
		})
	}
	t.Run("large field", func(t *testing.T) {
		large := strings.Repeat("x", 30<<10)
		if res := do(t, "GET", "/large", nil, "X-Large", large); res.Header.Get("X-Large") != large {
			t.Errorf("%d, %d bytes", res.StatusCode, len(res.Header.Get("X-Large")))
		}
	})
	t.Run("100-continue", func(t *testing.T) {
		for path, want := range map[string]int{"/read": 1, "/refuse": 0} {
			n := 0
			ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got100Continue: func() { n++ }})
			req, _ := http.NewRequestWithContext(ctx, "POST", base+path, strings.NewReader("body"))
			req.Header.Set("Expect", "100-continue")
			res, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if path == "/read" && n != want {
				t.Errorf("%s: %d times 100", path, n)
			}
		}
	})
	t.Run("without a body", func(t *testing.T) {
		for _, row := range []struct {
			method, path, length string
			status               int
		}{{"HEAD", "/head", "5", 200}, {"GET", "/204", "", 204}, {"GET", "/304", "", 304}} {
			for range 2 {
				res := do(t, row.method, row.path, nil)
				body, err := io.ReadAll(res.Body)
				if res.StatusCode != row.status || len(body) > 0 || err != nil || res.Header.Get("Content-Length") != row.length {
					t.Errorf("%s %s: %d %q %v %v", row.method, row.path, res.StatusCode, body, err, res.Header)
				}
			}
		}
	})
}
