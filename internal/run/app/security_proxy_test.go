package app

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"sluice/internal/testkit"
)

// v2 makes a PROXY header of version 2 (first byte of its own part: command, second: family and protocol).
func v2(command, family byte, body string) string {
	b := []byte("\r\n\r\n\x00\r\nQUIT\n")
	b = append(b, 0x20|command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	return string(b) + body
}

const (
	v2in4 = "\x01\x02\x03\x04\x05\x06\x07\x08\x00\x50\x01\xbb"
	get1  = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
)

func startProxy(t *testing.T, trusted string) (*router, *witness) {
	w := newWitness(t)
	option := "transport: {respondingTimeouts: {readTimeout: 300ms}}, proxyProtocol: {trustedIPs: [" + trusted + "]}"
	return start(t, `
entryPoints:
  web: {address: "127.0.0.1:0", `+option+`}
  secure: {address: "127.0.0.1:0", `+option+`}
`, everything(w.Addr)), w
}

// Section 5, PROXY headers of a peer that is believed: who the client is, or that the connection ends without an answer.
func TestSecurityProxyBelieved(t *testing.T) {
	r, w := startProxy(t, `"127.0.0.1"`)
	const socket = "127.0.0.1"
	for _, c := range []struct {
		id, header string
		client     string // empty: closed without an answer
	}{
		{"PPX-02", "", socket},
		{"PPX-03 TCP4", "PROXY TCP4 1.2.3.4 5.6.7.8 80 443\r\n", "1.2.3.4"},
		{"PPX-03 TCP6", "PROXY TCP6 2001:db8::1 2001:db8::2 80 443\r\n", "2001:db8::1"},
		{"PPX-03 UNKNOWN", "PROXY UNKNOWN\r\n", socket},
		{"PPX-03 UNKNOWN with more", "PROXY UNKNOWN ffff::1 anything 1 2\r\n", socket},
		{"PPX-04 address", "PROXY TCP4 999.0.113.7 5.6.7.8 80 443\r\n", ""},
		{"PPX-04 leading zero", "PROXY TCP4 01.2.3.4 5.6.7.8 80 443\r\n", ""},
		{"PPX-04 port zero", "PROXY TCP4 1.2.3.4 5.6.7.8 080 443\r\n", ""},
		{"PPX-04 v6 in TCP4", "PROXY TCP4 ::1 5.6.7.8 80 443\r\n", ""},
		{"PPX-04 v4 in TCP6", "PROXY TCP6 1.2.3.4 ::1 80 443\r\n", ""},
		{"PPX-04 port", "PROXY TCP4 1.2.3.4 5.6.7.8 99999 443\r\n", ""},
		{"PPX-04 negative", "PROXY TCP4 1.2.3.4 5.6.7.8 -1 443\r\n", ""},
		{"PPX-04 two spaces", "PROXY TCP4  1.2.3.4 5.6.7.8 80 443\r\n", ""},
		{"PPX-04 lower case", "PROXY tcp4 1.2.3.4 5.6.7.8 80 443\r\n", ""},
		{"PPX-04 LF", "PROXY TCP4 1.2.3.4 5.6.7.8 80 443\n", ""},
		{"PPX-04 long", "PROXY UNKNOWN " + strings.Repeat("x", 100) + "\r\n", ""},
		{"PPX-05 version", strings.Replace(v2(1, 0x11, v2in4), "QUIT\n\x21", "QUIT\n\x11", 1), ""},
		{"PPX-05 command", v2(2, 0x11, v2in4), ""},
		{"PPX-05 short", v2(1, 0x11, v2in4[:11]), ""},
		{"PPX-05 family", v2(1, 0x41, v2in4), ""},
		{"PPX-05 TLV overrun", v2(1, 0x11, v2in4+"\x04\x00\xff1"), ""},
		{"PPX-05 long", v2(1, 0x11, v2in4)[:14] + "\xff\xff" + v2in4 + strings.Repeat("x", 65523), ""},
		{"PPX-06 TCP4", v2(1, 0x11, v2in4), "1.2.3.4"},
		{"PPX-06 TCP4 and TLV", v2(1, 0x11, v2in4+"\x04\x00\x03123"), "1.2.3.4"},
		{"PPX-06 TCP6", v2(1, 0x21, "\x20\x01\x0d\xb8"+strings.Repeat("\x00", 11)+"\x01"+strings.Repeat("\x00", 16)+"\x00\x50\x01\xbb"), "2001:db8::1"},
		{"PPX-06 LOCAL", v2(0, 0x11, v2in4), socket},
		{"PPX-06 LOCAL bare", v2(0, 0, ""), socket},
		{"PPX-06 UNSPEC", v2(1, 0, ""), socket},
		{"PPX-06 UNIX", v2(1, 0x31, strings.Repeat("x", 216)), socket},
		{"PPX-06 UDP4", v2(1, 0x12, v2in4), ""},
	} {
		t.Run(c.id, func(t *testing.T) {
			for _, over := range []string{"clear", "tls", "split"} {
				before := w.count()
				raw := testkit.Dial(t, r.addr(map[string]string{"clear": "web", "tls": "secure", "split": "web"}[over]))
				var conn net.Conn = raw
				switch over {
				case "clear":
					io.WriteString(raw, c.header+get1)
				case "split":
					for _, p := range pieces([]byte(c.header+get1), max(1, len(c.header+get1)/200)) {
						if _, err := raw.Write(p); err != nil {
							break
						}
					}
				case "tls":
					// PPX-08: the header and the hello in one segment.
					tc := tls.Client(&shaped{Conn: raw, shape: func(p []byte) [][]byte { return [][]byte{append([]byte(c.header), p...)} }}, &tls.Config{InsecureSkipVerify: true, ServerName: "a.test"})
					if err := tc.Handshake(); err != nil {
						if c.client != "" {
							t.Errorf("%s: %v", over, err)
						}
						raw.Close()
						continue
					}
					conn = tc
					io.WriteString(tc, get1)
				}
				got, err := io.ReadAll(conn)
				conn.Close()
				m := w.messages(before)
				if c.client == "" {
					if len(got) > 0 || len(m) > 0 || isTimeout(err) {
						t.Errorf("%s: got %q %v, server got %q", over, got, err, m)
					}
				} else if len(m) != 1 || m[0].value("X-Real-Ip") != c.client || m[0].value("X-Forwarded-For") != c.client {
					t.Errorf("%s: got %q %v, server got %q, want client %s", over, got, err, m, c.client)
				}
			}
		})
	}
	t.Run("PPX-05 silence", func(t *testing.T) {
		for _, in := range []string{"PROXY", "PROXY TCP4 1.2.3.4", v2(1, 0x11, v2in4)[:13], v2(1, 0x11, v2in4)[:14] + "\x00\xff", "\r\n\r\n\x00"} {
			began := time.Now()
			c := testkit.Dial(t, r.addr("web"))
			io.WriteString(c, in)
			got, err := io.ReadAll(c)
			if len(got) > 0 || isTimeout(err) || time.Since(began) > 5*time.Second {
				t.Errorf("%q: %q %v after %v", in, got, err, time.Since(began))
			}
		}
	})
	t.Run("PPX-07", func(t *testing.T) {
		before := w.count()
		c := testkit.Dial(t, r.addr("web"))
		h := "PROXY TCP4 1.2.3.4 5.6.7.8 80 443\r\n"
		got := exchange(t, c, h+h+get1, "GET", true)
		if got.status != 400 || !got.closed || w.count() != before {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("PPX-08 later", func(t *testing.T) {
		c := testkit.Dial(t, r.addr("web"))
		io.WriteString(c, "PROXY TCP4 1.2.3.4 5.6.7.8 80 443\r\n")
		time.Sleep(150 * time.Millisecond)
		if got := exchange(t, c, get1, "GET", false); got.status != 200 {
			t.Errorf("got %+v", got)
		}
		c = testkit.Dial(t, r.addr("web"))
		io.WriteString(c, "PROXY TCP4 1.2.3.4 5.6.7.8 80 443\r\n")
		if got, err := io.ReadAll(c); isTimeout(err) || len(got) > 0 && !strings.HasPrefix(string(got), "HTTP/1.1 408") {
			t.Errorf("silence behind the header: %q, %v", got, err)
		}
	})
}

// PPX-01: a peer that is not believed changes nothing with a well-formed header, and is let go with a malformed one.
func TestSecurityPPX01(t *testing.T) {
	r, w := startProxy(t, `"10.0.0.0/8"`)
	for header, sound := range map[string]bool{
		"":                                      true,
		"PROXY TCP4 1.2.3.4 5.6.7.8 80 443\r\n": true,
		v2(1, 0x11, v2in4):                      true,
		"PROXY TCP4 999.2.3.4 5.6.7.8 80 443\r\n": false,
		v2(2, 0x11, v2in4):                        false,
	} {
		before := w.count()
		c := testkit.Dial(t, r.addr("web"))
		io.WriteString(c, header+get1)
		got, err := io.ReadAll(c)
		m := w.messages(before)
		if sound && (len(m) != 1 || m[0].value("X-Real-Ip") != "127.0.0.1") || !sound && (len(m) > 0 || len(got) > 0 || isTimeout(err)) {
			t.Errorf("%q: got %q %v, server got %q", header, got, err, m)
		}
	}
}

// PPX-07 without the option: a header is payload.
func TestSecurityPPX07(t *testing.T) {
	w := newWitness(t)
	r := start(t, twoEntryPoints, everything(w.Addr))
	for _, h := range []string{"PROXY TCP4 1.2.3.4 5.6.7.8 80 443\r\n", v2(1, 0x11, v2in4)} {
		got := exchange(t, testkit.Dial(t, r.addr("web")), h+get1, "GET", true)
		if !got.closed || got.status != 400 && got.status != 0 {
			t.Errorf("%q: got %+v", h, got)
		}
	}
	if w.count() > 0 {
		t.Error("the server heard of it")
	}
}

// PPX-09: a TCP service that sends PROXY headers says who the client is, before anything else.
func TestSecurityPPX09(t *testing.T) {
	for version, want := range map[int]string{1: "PROXY TCP4 127.0.0.1 127.0.0.1 ", 2: "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01"} {
		server := testkit.Listen(t, nil)
		r := start(t, twoEntryPoints, fmt.Sprintf(`
tcp:
  routers:
    raw: {rule: "HostSNI(%s)", service: raw, tls: {passthrough: true}, entryPoints: [secure]}
  services:
    raw: {loadBalancer: {proxyProtocol: {version: %d}, servers: [{address: "%s"}]}}
`, "`raw.test`", version, server.Addr))
		sent := string(hello(t, "raw.test"))
		c := testkit.Dial(t, r.addr("secure"))
		io.WriteString(c, sent)
		c.CloseWrite()
		io.ReadAll(c)
		got := server.Conn(t, 0).Received()
		if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, sent) || len(got) > len(sent)+60 {
			t.Errorf("version %d: the server got %q", version, got[:min(len(got), 80)])
		}
	}
}

// XFF-02 to XFF-05: what a believed peer says about its clients.
func TestSecurityForwardedBelieved(t *testing.T) {
	w := newWitness(t)
	r := start(t, `
entryPoints:
  web: {address: "127.0.0.1:0", forwardedHeaders: {trustedIPs: ["127.0.0.0/8"]}}
  secure: {address: "127.0.0.1:0", forwardedHeaders: {trustedIPs: ["::ffff:127.0.0.1"]}}
`, everything(w.Addr))
	many := strings.Repeat("1.1.1.1, ", 5000) + "2.2.2.2"
	for _, c := range []struct {
		id     string
		fields []string
		name   string
		want   string // %s is the scheme
	}{
		{"XFF-02", []string{"X-Forwarded-For", "1.1.1.1, 2.2.2.2"}, "X-Forwarded-For", "1.1.1.1, 2.2.2.2, 127.0.0.1"},
		{"XFF-03 lines", []string{"X-Forwarded-For", "1.1.1.1", "X-Forwarded-For", "2.2.2.2"}, "X-Forwarded-For", "1.1.1.1, 2.2.2.2, 127.0.0.1"},
		{"XFF-03 junk", []string{"X-Forwarded-For", "junk,, [::1%25e]:80"}, "X-Forwarded-For", "junk,, [::1%25e]:80, 127.0.0.1"},
		{"XFF-03 many", []string{"X-Forwarded-For", many}, "X-Forwarded-For", many + ", 127.0.0.1"},
		{"XFF-04 evil", []string{"X-Forwarded-Proto", "evil"}, "X-Forwarded-Proto", "%s"},
		{"XFF-04 wss", []string{"X-Forwarded-Proto", "wss"}, "X-Forwarded-Proto", "wss"},
		{"XFF-02 host", []string{"X-Forwarded-Host", "b.test"}, "X-Forwarded-Host", "b.test"},
		{"XFF-01 underscore", []string{"X_Forwarded_For", "9.9.9.9"}, "X-Forwarded-For", "127.0.0.1"},
	} {
		for _, transport := range transports {
			t.Run(c.id+" "+transport, func(t *testing.T) {
				before := w.count()
				got := r.tell(transport, ask{fields: c.fields}, false)
				want := c.want
				if want == "%s" {
					want = map[string]string{"h1": "http", "h2c": "http", "h1s": "https", "h2": "https"}[transport]
				}
				if m := w.messages(before); got.status != 200 || len(m) != 1 || m[0].value(c.name) != want || len(m[0].values("X_Forwarded_For")) > 0 {
					t.Errorf("got %+v, server got %.500q", got, m)
				}
			})
		}
	}
}
