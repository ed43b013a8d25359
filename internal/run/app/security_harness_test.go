package app

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sluice/internal/testkit"
)

// message is a request as a server got it.
type message struct{ line, head, body string }

// values returns the values of a field, in their order.
func (m *message) values(name string) []string {
	var out []string
	for line := range strings.SplitSeq(m.head, "\r\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(k, name) {
			out = append(out, strings.TrimSpace(v))
		}
	}
	return out
}

// value returns the only value of a field, or what is there instead.
func (m *message) value(name string) string {
	if v := m.values(name); len(v) == 1 {
		return v[0]
	} else {
		return fmt.Sprintf("%d fields %q", len(v), v)
	}
}

// chunked reports whether any field could be taken for the chunked coding.
func (m *message) chunked() bool {
	for line := range strings.SplitSeq(m.head, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		if unmasked(name) == "transfer-encoding" && strings.Contains(strings.ToLower(value), "chunked") {
			return true
		}
	}
	return false
}

// unmasked is a field name as the most careless server reads it.
func unmasked(name string) string {
	return strings.Trim(strings.ToLower(strings.ReplaceAll(name, "_", "-")), " \t\v\f")
}

// witness is a server that takes nearly everything and writes down what it got.
type witness struct {
	*testkit.Peer
	mu   sync.Mutex
	seen []message
}

func newWitness(t *testing.T) *witness {
	w := &witness{}
	w.Peer = testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
		in := bufio.NewReader(c)
		for {
			m, err := readMessage(in)
			if err != nil {
				return
			}
			w.mu.Lock()
			w.seen = append(w.seen, m)
			w.mu.Unlock()
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
				return
			}
		}
	})
	return w
}

// readMessage reads one request, with no eye for rules.
func readMessage(in *bufio.Reader) (m message, err error) {
	if m.line, err = in.ReadString('\n'); err != nil {
		return m, err
	}
	m.line = strings.TrimRight(m.line, "\r\n")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return m, err
		}
		if strings.TrimRight(line, "\r\n") == "" {
			break
		}
		m.head += line
	}
	if m.chunked() {
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return m, err
			}
			n, err := strconv.ParseUint(strings.TrimRight(line, "\r\n"), 16, 32)
			if err != nil {
				return m, err
			}
			data := make([]byte, n+2)
			if n == 0 {
				for {
					if line, err = in.ReadString('\n'); err != nil || line == "\r\n" {
						return m, err
					}
					m.body += "trailer " + line
				}
			}
			if _, err := io.ReadFull(in, data); err != nil {
				return m, err
			}
			m.body += string(data[:n])
		}
	}
	if v := m.values("Content-Length"); len(v) > 0 {
		n, _ := strconv.Atoi(v[0])
		data := make([]byte, n)
		_, err = io.ReadFull(in, data)
		m.body = string(data)
	}
	return m, err
}

// messages returns what came since the first n messages.
func (w *witness) messages(n int) []message {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen[n:])
}

func (w *witness) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen)
}

// noLeak fails the test if what stood behind refused requests was ever taken for a request, or if anything has two
// framings or one in disguise (INV-1, FRM-30).
func (w *witness) noLeak(t *testing.T) {
	t.Helper()
	if i := strings.Index(w.Received(), "smuggled"); i >= 0 {
		t.Errorf("bytes behind a refused request reached a server: %.300q", w.Received()[max(0, i-200):])
	}
	for _, m := range w.messages(0) {
		framings := 0
		for line := range strings.SplitSeq(m.head, "\r\n") {
			name, _, _ := strings.Cut(line, ":")
			switch folded := unmasked(name); folded {
			case "transfer-encoding", "content-length":
				framings++
				if folded != strings.ToLower(name) {
					t.Errorf("a framing field in disguise reached a server: %q", line)
				}
			}
		}
		if framings > 1 {
			t.Errorf("a server got several framings: %q", m)
		}
	}
}

// The ways in which the same request can come.
var transports = []string{"h1", "h1s", "h2c", "h2"}

// everything routes whatever comes to one server, in the clear at entry point web and over TLS at secure.
func everything(server string) string {
	return `
http:
  routers:
    clear: {rule: "PathPrefix(` + "`/`" + `)", service: s, entryPoints: [web]}
    tls: {rule: "PathPrefix(` + "`/`" + `)", service: s, tls: {}, entryPoints: [secure]}
  services:
    s: {loadBalancer: {servers: [{url: "http://` + server + `"}]}}
`
}

// dial makes a connection of one of the transports.
func (r *router) dial(transport string) net.Conn {
	r.t.Helper()
	switch transport {
	case "h1", "h2c":
		return testkit.Dial(r.t, r.addr("web"))
	default:
		proto := map[string]string{"h1s": "http/1.1", "h2": "h2"}[transport]
		c := tls.Client(testkit.Dial(r.t, r.addr("secure")), &tls.Config{InsecureSkipVerify: true, ServerName: "a.test", NextProtos: []string{proto}})
		if err := c.Handshake(); err != nil {
			r.t.Fatal(err)
		}
		return c
	}
}

// ask is a request by its meaning, to be said in each version of HTTP.
type ask struct {
	method, target, host string // GET, / and a.test when empty
	noHost               bool
	fields               []string // names and values in turn
	body                 string
	trailers             []string
}

func (a ask) filled() ask {
	if a.method == "" {
		a.method = "GET"
	}
	if a.target == "" {
		a.target = "/"
	}
	if a.host == "" && !a.noHost {
		a.host = "a.test"
	}
	return a
}

// outcome is what a client got.
type outcome struct {
	status int
	code   string // Sluice-Error
	body   string
	closed bool // HTTP/1: the connection ended behind it
	extra  string
}

// tell sends a request and reads the outcome. On HTTP/1 another request for /smuggled stands behind it when it is to be
// refused.
func (r *router) tell(transport string, a ask, refused bool) outcome {
	r.t.Helper()
	c := r.dial(transport)
	defer c.Close()
	a = a.filled()
	if transport == "h2" || transport == "h2c" {
		return say2(r.t, c, a, map[string]string{"h2": "https", "h2c": "http"}[transport])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", a.method, a.target)
	if !a.noHost {
		fmt.Fprintf(&b, "Host: %s\r\n", a.host)
	}
	for i := 0; i < len(a.fields); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", a.fields[i], a.fields[i+1])
	}
	switch {
	case len(a.trailers) > 0:
		fmt.Fprintf(&b, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n", len(a.body), a.body)
		for i := 0; i < len(a.trailers); i += 2 {
			fmt.Fprintf(&b, "%s: %s\r\n", a.trailers[i], a.trailers[i+1])
		}
		b.WriteString("\r\n")
	case a.body != "":
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(a.body), a.body)
	default:
		b.WriteString("\r\n")
	}
	if refused {
		b.WriteString(smuggled)
	}
	return exchange(r.t, c, b.String(), a.method, refused)
}

const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"

// exchange sends bytes over HTTP/1 and reads the answer; with all, until the connection ends.
func exchange(t *testing.T, c net.Conn, raw, method string, all bool) (o outcome) {
	t.Helper()
	go io.WriteString(c, raw) // an early answer must not be missed for a write that fails
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, &http.Request{Method: method})
	for err == nil && resp.StatusCode < 200 {
		resp, err = http.ReadResponse(in, &http.Request{Method: method})
	}
	if err != nil {
		o.closed, o.extra = true, err.Error()
		return o
	}
	body, err := io.ReadAll(resp.Body)
	o.status, o.code, o.body = resp.StatusCode, resp.Header.Get("Sluice-Error"), string(body)
	if err != nil {
		o.extra = err.Error()
	}
	if all {
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		rest, err := io.ReadAll(in)
		o.closed = err == nil || !isTimeout(err)
		o.extra += string(rest)
		if !resp.Close {
			o.extra += "(without Connection: close)"
		}
	}
	return o
}

func isTimeout(err error) bool {
	n, ok := err.(net.Error)
	return ok && n.Timeout()
}

// say2 sends a request over HTTP/2. A reset of the stream as malformed counts as 400.
func say2(t *testing.T, c net.Conn, a ask, scheme string) (o outcome) {
	t.Helper()
	io.WriteString(c, xhttp2.ClientPreface)
	f := xhttp2.NewFramer(c, c)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.AllowIllegalWrites = true
	f.WriteSettings()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	put := func(name, value string) { enc.WriteField(hpack.HeaderField{Name: strings.ToLower(name), Value: value}) }
	put(":method", a.method)
	if a.method != "CONNECT" {
		put(":scheme", scheme)
		put(":path", a.target)
	}
	if !a.noHost {
		put(":authority", a.host)
	}
	for i := 0; i < len(a.fields); i += 2 {
		put(a.fields[i], a.fields[i+1])
	}
	if a.body != "" && len(a.trailers) == 0 {
		put("content-length", strconv.Itoa(len(a.body)))
	}
	head, rest := block.Bytes(), []byte(nil)
	if len(head) > 16384 {
		head, rest = head[:16384], head[16384:]
	}
	f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: head, EndStream: a.body == "", EndHeaders: len(rest) == 0})
	for len(rest) > 0 {
		n := min(len(rest), 16384)
		f.WriteContinuation(1, n == len(rest), rest[:n])
		rest = rest[n:]
	}
	if a.body != "" {
		f.WriteData(1, len(a.trailers) == 0, []byte(a.body))
	}
	if len(a.trailers) > 0 {
		block.Reset()
		for i := 0; i < len(a.trailers); i += 2 {
			put(a.trailers[i], a.trailers[i+1])
		}
		f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			if o.status == 0 {
				o.extra = err.Error()
			}
			return o
		}
		switch frame := frame.(type) {
		case *xhttp2.MetaHeadersFrame:
			for _, h := range frame.Fields {
				switch h.Name {
				case ":status":
					if s, _ := strconv.Atoi(h.Value); s >= 200 {
						o.status = s
					}
				case "sluice-error":
					o.code = h.Value
				}
			}
			if frame.StreamEnded() {
				return o
			}
		case *xhttp2.DataFrame:
			o.body += string(frame.Data())
			if frame.StreamEnded() {
				return o
			}
		case *xhttp2.RSTStreamFrame:
			if o.status == 0 && frame.ErrCode == xhttp2.ErrCodeProtocol {
				o.status = 400
			}
			o.extra = frame.ErrCode.String()
			return o
		case *xhttp2.GoAwayFrame:
			o.extra = "GOAWAY " + frame.ErrCode.String()
		case *xhttp2.SettingsFrame:
			if !frame.IsAck() {
				f.WriteSettingsAck()
			}
		}
	}
}
