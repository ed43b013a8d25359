package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/internal/testkit"
)

// tlsWorld is a router with a host of its own, a machine behind a passthrough, and a passthrough server that only writes
// down what it got.
type tlsWorld struct {
	*router
	own *witness      // behind a.test, terminated
	raw *testkit.Peer // behind raw.test, passed through
	vm  *testkit.Leaf // the certificate of vm.test
}

const withDeadlines = `
entryPoints:
  web: {address: "127.0.0.1:0", transport: {respondingTimeouts: {readTimeout: 500ms}}}
  secure: {address: "127.0.0.1:0", transport: {respondingTimeouts: {readTimeout: 500ms}}}
`

func startTLS(t *testing.T) *tlsWorld {
	ca := testkit.NewCA(t)
	w := &tlsWorld{own: newWitness(t), raw: testkit.Listen(t, nil), vm: ca.Leaf(t, "vm.test")}
	vm := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "vm") })}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{w.vm.Pair}, NextProtos: []string{"http/1.1", "acme-tls/1"}})
	if err != nil {
		t.Fatal(err)
	}
	go vm.Serve(ln)
	t.Cleanup(func() { vm.Close() })
	w.router = start(t, withDeadlines, `
http:
  routers:
    a: {rule: "Host(`+"`a.test`"+`)", service: s, tls: {}, entryPoints: [secure]}
    old: {rule: "Host(`+"`old.test`"+`)", service: s, tls: {options: old}, entryPoints: [secure]}
  services:
    s: {loadBalancer: {servers: [{url: "http://`+w.own.Addr+`"}]}}
tcp:
  routers:
    vm: {rule: "HostSNI(`+"`vm.test`"+`)", service: vm, tls: {passthrough: true}, entryPoints: [secure]}
    raw: {rule: "HostSNI(`+"`raw.test`"+`)", service: raw, tls: {passthrough: true}, entryPoints: [secure]}
    db: {rule: "HostSNI(`+"`db.test`"+`)", service: raw, tls: {}, entryPoints: [secure]}
  services:
    vm: {loadBalancer: {servers: [{address: "`+ln.Addr().String()+`"}]}}
    raw: {loadBalancer: {servers: [{address: "`+w.raw.Addr+`"}]}}
tls:
  options:
    old: {alpnProtocols: [http/1.1]}
`)
	return w
}

// shaped changes the first flight of a TLS client.
type shaped struct {
	net.Conn
	shape func(hello []byte) [][]byte
	pause time.Duration
	begun bool
}

func (s *shaped) Write(p []byte) (int, error) {
	if s.begun {
		return s.Conn.Write(p)
	}
	s.begun = true
	for i, part := range s.shape(p) {
		if i > 0 && s.pause > 0 {
			time.Sleep(s.pause)
		}
		if _, err := s.Conn.Write(part); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// rerecord cuts the handshake bytes of records into records of other sizes.
func rerecord(hello []byte, sizes ...int) []byte {
	var body, out []byte
	for rest := hello; len(rest) >= 5; {
		n := int(binary.BigEndian.Uint16(rest[3:]))
		body = append(body, rest[5:5+n]...)
		rest = rest[5+n:]
	}
	for i := 0; len(body) > 0; i++ {
		n := min(sizes[min(i, len(sizes)-1)], len(body))
		out = append(out, hello[0], hello[1], hello[2], byte(n>>8), byte(n))
		out = append(out, body[:n]...)
		body = body[n:]
	}
	return out
}

func pieces(p []byte, n int) (out [][]byte) {
	for len(p) > n {
		out, p = append(out, p[:n]), p[n:]
	}
	return append(out, p)
}

// reached makes a TLS connection with SNI name and returns who answered: vm, own, or what went wrong.
func (w *tlsWorld) reached(t *testing.T, name string, c net.Conn, protos ...string) string {
	t.Helper()
	tc := tls.Client(c, &tls.Config{InsecureSkipVerify: true, ServerName: name, NextProtos: protos})
	if err := tc.HandshakeContext(context.Background()); err != nil {
		return "handshake: " + err.Error()
	}
	leaf := tc.ConnectionState().PeerCertificates[0]
	before := w.own.count()
	fmt.Fprintf(tc, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", name)
	got, err := io.ReadAll(tc)
	switch {
	case strings.HasSuffix(string(got), "vm") && bytes.Equal(leaf.Raw, w.vm.Pair.Certificate[0]):
		return "vm"
	case w.own.count() == before+1 && strings.HasSuffix(string(got), "ok") && !bytes.Equal(leaf.Raw, w.vm.Pair.Certificate[0]):
		return "own"
	case len(got) > 12:
		return string(got[9:12])
	}
	return fmt.Sprintf("%q, %v", got, err)
}

// TLS-01 to TLS-03: whatever the ClientHello is cut into, and however long it is, it goes where its name belongs.
func TestSecurityTLSShapes(t *testing.T) {
	w := startTLS(t)
	whole := func(p []byte) [][]byte { return [][]byte{p} }
	long := func(n int) []string {
		protos := []string{"http/1.1"}
		for i := 0; i < n; i += 201 {
			protos = append(protos, fmt.Sprintf("%0200d", i))
		}
		return protos
	}
	for _, c := range []struct {
		id     string
		shape  func([]byte) [][]byte
		pause  time.Duration
		protos []string
	}{
		{"TLS-01 byte by byte", func(p []byte) [][]byte { return pieces(p, 1) }, 0, nil},
		{"TLS-01 with gaps", func(p []byte) [][]byte { return pieces(p, 100) }, 2 * time.Millisecond, nil},
		{"TLS-01 record header cut", func(p []byte) [][]byte { return [][]byte{p[:3], p[3:]} }, 20 * time.Millisecond, nil},
		{"TLS-01 cut in two", func(p []byte) [][]byte { return [][]byte{p[:len(p)/2], p[len(p)/2:]} }, 100 * time.Millisecond, nil},
		{"TLS-02 two records", func(p []byte) [][]byte { return whole(rerecord(p, len(p)/2)) }, 0, nil},
		{"TLS-02 64 bytes", func(p []byte) [][]byte { return whole(rerecord(p, 64)) }, 0, nil},
		{"TLS-02 64 bytes, many segments", func(p []byte) [][]byte { return pieces(rerecord(p, 64), 69) }, time.Millisecond, nil},
		{"TLS-02 first of 1", func(p []byte) [][]byte { return whole(rerecord(p, 1, 16384)) }, 0, nil},
		{"TLS-02 first of 3", func(p []byte) [][]byte { return whole(rerecord(p, 3, 16384)) }, 0, nil},
		{"TLS-02 all of 1", func(p []byte) [][]byte { return whole(rerecord(p, 1)) }, 0, nil},
		{"TLS-03 4 KiB", whole, 0, long(4 << 10)},
		{"TLS-03 9 KiB", whole, 0, long(9 << 10)},
		{"TLS-03 15 KiB", whole, 0, long(15 << 10)},
		{"TLS-03 20 KiB", whole, 0, long(20 << 10)},
		{"TLS-03 40 KiB", whole, 0, long(40 << 10)},
		{"TLS-03 60 KiB in small records", func(p []byte) [][]byte { return whole(rerecord(p, 200)) }, 0, long(60 << 10)},
	} {
		t.Run(c.id, func(t *testing.T) {
			for name, want := range map[string]string{"vm.test": "vm", "VM.Test": "vm", "a.test": "own"} {
				conn := &shaped{Conn: testkit.Dial(t, w.addr("secure")), shape: c.shape, pause: c.pause}
				if got := w.reached(t, name, conn, c.protos...); got != want {
					t.Errorf("%s: reached %s, want %s", name, got, want)
				}
			}
		})
	}
}

// hello returns the first flight of a TLS client.
func hello(t *testing.T, name string, protos ...string) []byte {
	t.Helper()
	client, server := testkit.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tls.Client(client, &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: protos}).Handshake()
	}()
	head := make([]byte, 5)
	if _, err := io.ReadFull(server, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(server, body); err != nil {
		t.Fatal(err)
	}
	server.Close()
	client.Close()
	<-ended
	return append(head, body...)
}

// TLS-05: a passthrough server gets exactly the bytes that the client sent, also those in the flight of its hello.
func TestSecurityTLS05(t *testing.T) {
	w := startTLS(t)
	for i, sent := range [][]byte{
		append(hello(t, "raw.test"), "\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x05early"...),
		append(rerecord(hello(t, "raw.test"), 64), "\x14\x03\x03\x00\x01\x01\x00\xff anything"...),
	} {
		c := testkit.Dial(t, w.addr("secure"))
		c.Write(sent)
		c.CloseWrite()
		io.ReadAll(c)
		if got := w.raw.Conn(t, i).Received(); got != string(sent) {
			t.Errorf("the server got %d bytes of %d: %q", len(got), len(sent), got)
		}
	}
}

// TLS-04, TLS-06, TLS-12, TCP-01: what is no TLS client, or none that goes on, is let go by the deadline, and nobody
// hears of it.
func TestSecurityTLSRefused(t *testing.T) {
	w := startTLS(t)
	good := hello(t, "vm.test")
	change := func(f func(p []byte) []byte) string { return string(f(append([]byte(nil), good...))) }
	tooLong := func(n int) string {
		var b strings.Builder
		b.WriteString("\x16\x03\x01\x40\x00\x01" + string([]byte{byte(n >> 16), byte(n >> 8), byte(n)}) + strings.Repeat("x", 16380))
		for range 5 {
			b.WriteString("\x16\x03\x01\x40\x00" + strings.Repeat("x", 16384))
		}
		return b.String()
	}
	for _, c := range []struct {
		id, in string
		alert  bool // an alert record is the answer
	}{
		{"TCP-01 nothing", "", false},
		{"TCP-01 one byte", "\x16", false},
		{"TCP-01 half a hello", string(good[:len(good)/2]), false},
		{"TCP-01 record header", string(good[:5]), false},
		{"TLS-03 70 KB", tooLong(70000), true},
		{"TLS-03 16 MB", tooLong(1<<24 - 1), true},
		{"TLS-04 empty record", "\x16\x03\x01\x00\x00" + string(good), true},
		{"TLS-04 alert in between", string(rerecord(good, 100)[:105]) + "\x15\x03\x01\x00\x02\x01\x00" + string(rerecord(good, 100)[105:]), true},
		{"TLS-04 alert first", "\x15\x03\x01\x00\x02\x01\x00", false},
		{"TLS-04 length", "\x16\x03\x01\x48\x01" + string(good[5:]), true},
		{"TLS-04 type", change(func(p []byte) []byte { p[5] = 2; return p }), true},
		{"TLS-04 session id", change(func(p []byte) []byte { p[43] = 33; return p }), true},
		{"TLS-04 overrun", change(func(p []byte) []byte { n := len(p); p[n-1], p[n-2] = 0xff, 0xff; return p[:n-1] }), false},
		{"TLS-06 SSLv2", "\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10" + strings.Repeat("\x01", 37), false},
		{"TLS-06 SSH", "SSH-2.0-OpenSSH_9.6\r\n", false},
		{"TLS-06 noise", "\x00\xff\x01\xfe\x02\xfd", false},
		{"TLS-12 Postgres", "\x00\x00\x00\x08\x04\xd2\x16\x2f", false},
		{"TLS-12 Postgres, then half a hello", "\x00\x00\x00\x08\x04\xd2\x16\x2f" + string(good[:100]), false},
		{"TLS-12 Postgres twice", "\x00\x00\x00\x08\x04\xd2\x16\x2f\x00\x00\x00\x08\x04\xd2\x16\x2f", false},
	} {
		t.Run(c.id, func(t *testing.T) {
			began := time.Now()
			conn := testkit.Dial(t, w.addr("secure"))
			go io.WriteString(conn, c.in)
			got, err := io.ReadAll(conn)
			if isTimeout(err) || time.Since(began) > 5*time.Second {
				t.Fatalf("not closed: %q, %v", got, err)
			}
			if alert := len(got) == 7 && got[0] == 0x15; alert != c.alert && (c.alert || !alert && len(got) > 0 && got[0] != 'S' && got[0] != 'H') {
				t.Errorf("answered %q", got)
			}
			if strings.HasPrefix(string(got), "HTTP/1.1 2") {
				t.Errorf("answered %q", got)
			}
		})
	}
	if w.own.count() > 0 || w.raw.Conns() > 0 {
		t.Error("a server heard of it")
	}
}

// TLS-06: plain HTTP on the TLS port is answered, and not by a server.
func TestSecurityTLS06HTTP(t *testing.T) {
	w := startTLS(t)
	c := testkit.Dial(t, w.addr("secure"))
	got := exchange(t, c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET", false)
	if got.status != 400 && got.status != 404 {
		t.Errorf("got %+v", got)
	}
	if w.own.count() > 0 {
		t.Error("a router with TLS served a request in the clear")
	}
}

// TLS-07: no name and unknown names get the default certificate, and never a passthrough server.
func TestSecurityTLS07(t *testing.T) {
	w := startTLS(t)
	for _, name := range []string{"", "unknown.test", "x.vm.test", "127.0.0.1", "vm.test.evil.test"} {
		if got := w.reached(t, name, testkit.Dial(t, w.addr("secure"))); got != "404" && got != "400" {
			t.Errorf("%q reached %s", name, got)
		}
	}
	w.reload(`
http:
  routers:
    a: {rule: "Host(` + "`a.test`" + `)", service: s, tls: {}, entryPoints: [secure]}
  services:
    s: {loadBalancer: {servers: [{url: "http://` + w.own.Addr + `"}]}}
tls:
  options:
    default: {sniStrict: true}
`)
	for _, name := range []string{"", "unknown.test"} {
		if got := w.reached(t, name, testkit.Dial(t, w.addr("secure"))); !strings.HasPrefix(got, "handshake: ") {
			t.Errorf("sniStrict: %q reached %s", name, got)
		}
	}
}

// TLS-08 and ACM-03: a tls-alpn-01 handshake goes to the machine behind the host's passthrough; a client that stalls in
// one is let go.
func TestSecurityTLS08(t *testing.T) {
	w := startTLS(t)
	c := tls.Client(testkit.Dial(t, w.addr("secure")), &tls.Config{InsecureSkipVerify: true, ServerName: "vm.test", NextProtos: []string{"acme-tls/1"}})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if s := c.ConnectionState(); s.NegotiatedProtocol != "acme-tls/1" || !bytes.Equal(s.PeerCertificates[0].Raw, w.vm.Pair.Certificate[0]) {
		t.Errorf("got %q from %v", s.NegotiatedProtocol, s.PeerCertificates[0].DNSNames)
	}
	c = tls.Client(testkit.Dial(t, w.addr("secure")), &tls.Config{InsecureSkipVerify: true, ServerName: "a.test", NextProtos: []string{"acme-tls/1"}})
	if err := c.Handshake(); err == nil {
		t.Error("a challenge that nobody waits for was answered")
	}
	began := time.Now()
	conn := testkit.Dial(t, w.addr("secure"))
	conn.Write(hello(t, "a.test", "http/1.1"))
	if _, err := io.ReadAll(conn); isTimeout(err) || time.Since(began) > 5*time.Second {
		t.Errorf("a stalled handshake lives on: %v", err)
	}
}

// TLS-09: protocols without overlap are refused in the handshake.
func TestSecurityTLS09(t *testing.T) {
	w := startTLS(t)
	for _, protos := range [][]string{{"h3"}, {"foo", "bar"}, {"spdy/3"}} {
		if got := w.reached(t, "a.test", testkit.Dial(t, w.addr("secure")), protos...); !strings.Contains(got, "no application protocol") {
			t.Errorf("%q: %s", protos, got)
		}
	}
	if got := w.reached(t, "a.test", testkit.Dial(t, w.addr("secure")), "http/1.1", "h3"); got != "own" {
		t.Errorf("got %s", got)
	}
	if got := w.reached(t, "old.test", testkit.Dial(t, w.addr("secure")), "h2"); !strings.Contains(got, "no application protocol") {
		t.Errorf("h2 where it is off: %s", got)
	}
	if got := w.reached(t, "old.test", testkit.Dial(t, w.addr("secure")), "h2", "http/1.1"); got != "own" {
		t.Errorf("got %s", got)
	}
	// Frames of HTTP/2 on a connection that settled for HTTP/1.
	c := w.dial("h1s")
	if got := exchange(t, c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+smuggled, "GET", true); got.status != 400 || !got.closed {
		t.Errorf("a preface in HTTP/1: %+v", got)
	}
}

// borrowed gives a client the session of another host.
type borrowed struct{ s *tls.ClientSessionState }

func (b *borrowed) Get(string) (*tls.ClientSessionState, bool) { return b.s, b.s != nil }
func (b *borrowed) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		b.s = s
	}
}

// TLS-10, TLS-11 and HST-09: client certificates are asked for in every handshake of a host that wants them, and nothing
// is routed before.
func TestSecurityClientCertificates(t *testing.T) {
	own := newWitness(t)
	ca, other := testkit.NewCA(t), testkit.NewCA(t)
	r := start(t, withDeadlines, `
http:
  routers:
    open: {rule: "Host(`+"`open.test`"+`)", service: s, tls: {}, entryPoints: [secure]}
    strict: {rule: "Host(`+"`strict.test`"+`)", service: s, tls: {options: strict}, entryPoints: [secure]}
  services:
    s: {loadBalancer: {servers: [{url: "http://`+own.Addr+`"}]}}
tls:
  options:
    strict:
      clientAuth:
        clientAuthType: RequireAndVerifyClientCert
        caFiles: [`+quoted(string(ca.PEM))+`]
`)
	ask := func(host string, session *borrowed, leaf *testkit.Leaf) string {
		config := &tls.Config{InsecureSkipVerify: true, ServerName: host, ClientSessionCache: session}
		if leaf != nil {
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &leaf.Pair, nil
			}
		}
		c := tls.Client(testkit.Dial(t, r.addr("secure")), config)
		if err := c.Handshake(); err != nil {
			return "refused"
		}
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host)
		got, _ := io.ReadAll(c)
		if len(got) < 12 {
			return "refused"
		}
		return string(got[9:12])
	}
	good := ca.Leaf(t, "client")
	session := &borrowed{}
	if got := ask("open.test", session, nil); got != "200" {
		t.Fatalf("open: %s", got)
	}
	if session.s == nil {
		t.Error("no session was given")
	}
	if got := ask("strict.test", session, nil); got != "refused" {
		t.Errorf("TLS-10: the session of another host: %s", got)
	}
	mine := &borrowed{}
	for range 2 {
		if got := ask("strict.test", mine, good); got != "200" {
			t.Errorf("strict with a good certificate: %s", got)
		}
	}
	before := own.count()
	now := time.Now()
	for name, leaf := range map[string]*testkit.Leaf{
		"none":        nil,
		"foreign":     other.Leaf(t, "client"),
		"expired":     ca.Issue(t, testkit.Request{Names: []string{"client"}, NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(-24 * time.Hour)}),
		"not yet":     ca.Issue(t, testkit.Request{Names: []string{"client"}, NotBefore: now.Add(24 * time.Hour), NotAfter: now.Add(48 * time.Hour)}),
		"server only": ca.Issue(t, testkit.Request{Names: []string{"client"}, Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}),
	} {
		if got := ask("strict.test", &borrowed{}, leaf); got != "refused" {
			t.Errorf("TLS-11 %s: %s", name, got)
		}
	}
	if own.count() != before {
		t.Error("a refused client reached the server")
	}
}

func quoted(pem string) string { return `"` + strings.ReplaceAll(pem, "\n", `\n`) + `"` }
