package http1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"sluice/internal/wire/httpmsg"
)

// rewrite writes a parsed request as we would send it on, which must be read the same again.
func rewrite(req *httpmsg.Request, r *requestHead) []byte {
	b := append([]byte(nil), req.Method...)
	b = append(b, ' ')
	b = append(b, req.Path...)
	if req.HasQuery {
		b = append(append(b, '?'), req.Query...)
	}
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(append(b, req.Host...), "\r\n"...)
	b = appendFields(b, &req.Header, httpmsg.HopByHop|ours)
	switch r.framing {
	case counted:
		b = appendLength(b, r.size)
	case chunked:
		b = append(b, chunkedField...)
	}
	return append(b, "\r\n"...)
}

func FuzzRequestHead(f *testing.F) {
	for _, s := range []string{smallRequest, upgradeRequest, "\r\nGET http://a?\xe4 HTTP/1.0\r\nhost:a:80\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: [::1]\r\nTE: trailers\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\nExpect: x\r\n\r\n"} {
		f.Add([]byte(s), uint16(len(s)/2), false)
	}
	f.Fuzz(func(t *testing.T, in []byte, split uint16, tls bool) {
		whole, req, r := parseRequest(string(in), tls, Limits{})
		at := min(int(split), len(in))
		if got, _, _ := parseRequest(string(in), tls, Limits{}, at); got != whole {
			t.Fatalf("split at %d: %q, in one piece %q", at, got, whole)
		}
		if req == nil {
			return
		}
		lengths, codings := 0, 0
		for i := range req.Header.Len() {
			fl := req.Header.At(i)
			if !validName(fl.Name) || controlAt(bytes.ReplaceAll(fl.Value, []byte("\t"), nil)) >= 0 || len(trimOWS(fl.Value)) != len(fl.Value) {
				t.Fatalf("field %q: %q", fl.Name, fl.Value)
			}
			switch {
			case strings.EqualFold(fl.Name.String(), "content-length"):
				lengths++
			case strings.EqualFold(fl.Name.String(), "transfer-encoding"):
				codings++
			case strings.EqualFold(fl.Name.String(), "host"):
				t.Fatal("Host among the fields")
			}
		}
		if lengths+codings > 1 || (codings == 1) != (r.framing == chunked) || lengths == 0 && r.framing == counted {
			t.Fatalf("%d lengths, %d codings, framing %d", lengths, codings, r.framing)
		}
		if req.Proto == httpmsg.HTTP10 && len(req.Host) == 0 {
			return
		}
		out := rewrite(req, r)
		first, req1, r1 := parseRequest(string(out), tls, Limits{})
		if req1 == nil || r1.framing != r.framing || r1.size != r.size || string(req1.Path) != string(req.Path) || string(req1.Query) != string(req.Query) ||
			string(req1.Host) != string(req.Host) || string(req1.Method) != string(req.Method) {
			t.Fatalf("%q was written as %q and read as %s", in, out, first)
		}
		if again := rewrite(req1, r1); string(again) != string(out) {
			t.Fatalf("written %q, read and written %q", out, again)
		}
	})
}

func FuzzResponseHead(f *testing.F) {
	for _, s := range []string{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HTTP/1.0 304\r\n\r\n", "HTTP/1.1 103 x\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\nA: b\n\n", "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n"} {
		f.Add([]byte(s), uint16(len(s)/2), false)
	}
	f.Fuzz(func(t *testing.T, in []byte, split uint16, head bool) {
		whole := parseResponse(string(in), head)
		at := min(int(split), len(in))
		if got := parseResponse(string(in), head, at); got != whole {
			t.Fatalf("split at %d: %q, in one piece %q", at, got, whole)
		}
		if !strings.HasPrefix(whole, "HTTP/1.") {
			return
		}
		lower := strings.ToLower(whole)
		if strings.Count(lower, "\ncontent-length: ")+strings.Count(lower, "\ntransfer-encoding: ") > 1 {
			t.Fatalf("two framings in %s", whole)
		}
	})
}

func FuzzChunkedBody(f *testing.F) {
	for _, s := range []string{"3\r\nabc\r\n0\r\n\r\n", "3;a=\"b\\\"\"\r\nabc\r\n0;c\r\nX: y\r\n\r\nGET", "0\r\n\r\n", "ffffffffffffffff\r\n", "1\r\nab\r\n", "3\nabc\n0\n\n"} {
		f.Add([]byte(s), uint16(len(s)/2))
	}
	f.Fuzz(func(t *testing.T, in []byte, split uint16) {
		whole := readStream(chunked, 0, string(in))
		at := min(int(split), len(in))
		if got := readStream(chunked, 0, string(in), at); got != whole {
			t.Fatalf("split at %d: %q, in one piece %q", at, got, whole)
		}
		// What we accept, net/http reads as the same body.
		if !strings.HasPrefix(whole, `"`) {
			return
		}
		req, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"), bytes.NewReader(in))))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(req.Body)
		if err != nil && !strings.Contains(err.Error(), "trailer") && !strings.Contains(err.Error(), "MIME") {
			t.Fatalf("net/http refuses %q: %v", in, err)
		}
		if want := fmt.Sprintf("%q", body); !strings.HasPrefix(whole, want) {
			t.Fatalf("we read %s, net/http %s", whole, want)
		}
	})
}

// scriptConn delivers bytes in two pieces and takes what is written.
type scriptConn struct {
	loopConn
	pieces [][]byte
	out    bytes.Buffer
}

func (c *scriptConn) Read(p []byte) (int, error) {
	for len(c.pieces) > 0 && len(c.pieces[0]) == 0 {
		c.pieces = c.pieces[1:]
	}
	if len(c.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.pieces[0])
	c.pieces[0] = c.pieces[0][n:]
	return n, nil
}

func (c *scriptConn) Write(p []byte) (int, error) { return c.out.Write(p) }

// FuzzServe: whatever a client sends, it gets well-formed answers, none behind one that closes, and never more than
// there were requests; how the bytes were cut does not matter.
func FuzzServe(f *testing.F) {
	for _, s := range []string{smallRequest, smallRequest + smallRequest, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.0\r\n\r\n",
		"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 36\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n",
		"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nabHEAD / HTTP/1.1\r\nHost: a\r\n\r\n", upgradeRequest + "frames"} {
		f.Add([]byte(s), uint16(len(s)/2))
	}
	var calls int
	s := loopServer(func(x *httpmsg.Exchange) error {
		calls++
		if x.Req.Path.Is("/unread") {
			return hello(x)
		}
		return echo(x)
	})
	s.Timeouts = Timeouts{Stall: -1}
	s.Watch.Start()
	f.Cleanup(s.Watch.Stop)
	serve := func(pieces ...[]byte) (string, int) {
		calls = 0
		c := &scriptConn{pieces: pieces}
		s.ServeConn(c, Session{})
		return c.out.String(), calls
	}
	f.Fuzz(func(t *testing.T, in []byte, split uint16) {
		whole, n := serve(append([]byte(nil), in...))
		at := min(int(split), len(in))
		if got, m := serve(append([]byte(nil), in[:at]...), append([]byte(nil), in[at:]...)); m != n || strip(got) != strip(whole) {
			t.Fatalf("split at %d: %q, in one piece %q", at, got, whole)
		}
		if upper := bytes.ToUpper(in); bytes.Contains(upper, []byte("HEAD")) {
			return // an answer to HEAD cannot be read without knowing that it is one
		}
		r := bufio.NewReader(strings.NewReader(whole))
		for closed := false; ; {
			if _, err := r.Peek(1); err != nil {
				return
			}
			if closed {
				t.Fatalf("%q: bytes behind a closing answer in %q", in, whole)
			}
			res, err := http.ReadResponse(r, &http.Request{Method: "GET"})
			if err != nil {
				t.Fatalf("%q: answer %q: %v", in, whole, err)
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				t.Fatalf("%q: answer %q: %v", in, whole, err)
			}
			closed = res.Close
		}
	})
}

// strip takes out what may differ: the date, and a 100 that was not needed when the body came along.
func strip(s string) string {
	s = strings.ReplaceAll(s, "HTTP/1.1 100 Continue\r\n\r\n", "")
	var b strings.Builder
	for _, line := range strings.SplitAfter(s, "\r\n") {
		if !strings.HasPrefix(line, "Date: ") {
			b.WriteString(line)
		}
	}
	return b.String()
}
