package http2_test

import (
	"bytes"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sluice/internal/testkit"
	"sluice/internal/wire/http2"
	"sluice/internal/wire/httpmsg"
)

// raw is a client that can say wrong things.
type raw struct {
	net.Conn
	framer *xhttp2.Framer
	block  bytes.Buffer
	enc    *hpack.Encoder
	stream uint32
	note   string // the field that a handler may answer with
}

func dialRaw(t *testing.T, addr string) *raw {
	t.Helper()
	c := &raw{Conn: testkit.Dial(t, addr), stream: 1}
	io.WriteString(c, http2.Preface)
	c.framer = xhttp2.NewFramer(c, c)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.framer.AllowIllegalWrites = true
	c.enc = hpack.NewEncoder(&c.block)
	c.framer.WriteSettings()
	return c
}

func (c *raw) request(t *testing.T, fields ...string) {
	t.Helper()
	c.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		c.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	if err := c.framer.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: c.stream, BlockFragment: c.block.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
		t.Fatal(err)
	}
	c.stream += 2
}

// outcome reads until something is decided: a final status with our code, a reset, or a GOAWAY.
func (c *raw) outcome(t *testing.T) string {
	t.Helper()
	for {
		f, err := c.framer.ReadFrame()
		if err != nil {
			return "closed"
		}
		switch f := f.(type) {
		case *xhttp2.MetaHeadersFrame:
			code, status := "", ""
			for _, h := range f.Fields {
				switch h.Name {
				case ":status":
					status = h.Value
				case "saw":
					c.note = h.Value
				case "sluice-error":
					code = " " + h.Value
				}
			}
			if status != "200" || f.StreamEnded() {
				return status + code
			}
		case *xhttp2.RSTStreamFrame:
			return "RST_STREAM " + f.ErrCode.String()
		case *xhttp2.GoAwayFrame:
			return "GOAWAY " + f.ErrCode.String()
		case *xhttp2.SettingsFrame:
			if !f.IsAck() {
				c.framer.WriteSettingsAck()
			}
		}
	}
}

func TestMalformed(t *testing.T) {
	addr := serveClear(t, http2.Options{Handler: httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		x.Respond(200, "", "")
		return nil
	})})
	const mr, bad = "RST_STREAM PROTOCOL_ERROR", "400 BAD-REQUEST"
	base := func(change ...string) []string {
		f := []string{":method", "GET", ":path", "/", ":scheme", "http", ":authority", "a.test"}
		for i := 0; i < len(change); i += 2 {
			if k := slices.Index(f, change[i]); k >= 0 && strings.HasPrefix(change[i], ":") {
				f[k+1] = change[i+1]
			} else {
				f = append(f, change[i], change[i+1])
			}
		}
		return f
	}
	cases := []struct {
		name   string
		fields []string
		want   string
	}{
		{"sound", base(), "200"},
		{"sound, Host too", base("host", "A.test"), "200"},
		{"sound, Host alone", []string{":method", "GET", ":path", "/", ":scheme", "http", "host", "a.test"}, "200"},
		{"sound, unknown method", base(":method", "m-search"), "200"},
		{"sound, bytes in path", base(":path", "/\xc3\xbc{}|"), "200"},
		{"sound, te trailers", base("te", "trailers"), "200"},
		{"sound, OPTIONS *", base(":method", "OPTIONS", ":path", "*"), "200"},
		{"HST-05 port 0", base(":authority", "a.test:0"), bad},
		{"HST-05 port 65536", base(":authority", "a.test:65536"), bad},
		{"HST-06 zone", base(":authority", "[fe80::1%25eth0]"), bad},
		{"HST-06 literal", base(":authority", "[::1]:80"), "200"},
		{"HST-07 none", []string{":method", "GET", ":path", "/", ":scheme", "http"}, bad},
		{"HST-07 empty", base(":authority", ""), bad},
		{"HST-07 userinfo", base(":authority", "u@a.test"), mr},
		{"HST-07 slash", base(":authority", "a.test/evil"), bad},
		{"HST-07 CRLF", base(":authority", "a.test\r\nx: y"), mr},
		{"HST-07 space", base(":authority", "a test"), bad},
		{"HST-07 percent", base(":authority", "a%41.test"), bad},
		{"HST-08 Host differs", base("host", "b.test"), bad},
		{"HST-08 two Host", base("host", "a.test", "host", "a.test"), bad},
		{"HST-12 U-label", base(":authority", "b\xc3\xbccher.test"), bad},
		{"H2-01 upper case", base("X-A", "1"), mr},
		{"H2-01 space in name", base("x a", "1"), mr},
		{"H2-01 empty name", base("", "1"), mr},
		{"H2-01 CR in value", base("x-a", "1\r2"), mr},
		{"H2-01 NUL in value", base("x-a", "1\x002"), mr},
		{"H2-01 leading space", base("x-a", " 1"), bad},
		{"H2-01 trailing tab", base("x-a", "1\t"), bad},
		{"H2-02 connection", base("connection", "close"), "400"},
		{"H2-02 keep-alive", base("keep-alive", "1"), "400"},
		{"H2-02 proxy-connection", base("proxy-connection", "close"), "400"},
		{"H2-02 transfer-encoding", base("transfer-encoding", "chunked"), "400"},
		{"H2-02 upgrade", base("upgrade", "websocket"), "400"},
		{"H2-02 te", base("te", "gzip"), "400"},
		{"H2-02 te empty", base("te", ""), bad},
		{"H2-03 unknown pseudo", base(":x", "1"), mr},
		{"H2-03 twice", append(base(), ":path", "/"), mr},
		{"H2-03 late", append([]string{"x-a", "1"}, base()...), mr},
		{"H2-03 no path", []string{":method", "GET", ":scheme", "http", ":authority", "a.test"}, mr},
		{"H2-03 empty path", base(":path", ""), mr},
		{"H2-03 status", append(base(), ":status", "200"), mr},
		{"H2-04 space", base(":path", "/a b"), bad},
		{"H2-04 fragment", base(":path", "/a#b"), bad},
		{"H2-04 backslash", base(":path", `/a\b`), bad},
		{"H2-04 no slash", base(":path", "a"), mr},
		{"H2-04 absolute", base(":path", "http://a.test/"), bad},
		{"H2-04 CR", base(":path", "/a\rb"), mr},
		{"H2-04 DEL", base(":path", "/a\x7fb"), mr},
		{"H2-04 asterisk", base(":path", "*"), bad},
		{"H2-04 method space", base(":method", "GE T"), bad},
		{"H2-04 method slash", base(":method", "GET /x"), bad},
		{"H2-04 method long", base(":method", strings.Repeat("A", 65)), bad},
		{"H2-04 scheme", base(":scheme", "https://x/?"), mr},
		{"H2-05 body announced, none came", base("content-length", "5"), bad},
		{"H2-05 two lengths", base("content-length", "0", "content-length", "0"), bad},
		{"H2-05 sign", base("content-length", "+0"), bad},
		{"H2-06 protocol", base(":method", "CONNECT", ":protocol", "websocket"), mr},
		{"REQ-13 CONNECT", []string{":method", "CONNECT", ":authority", "a.test:443"}, "501 METHOD-NOT-IMPLEMENTED"},
		{"REQ-15 TRACE", base(":method", "TRACE"), "405 METHOD-NOT-ALLOWED"},
		{"REQ-17 target", base(":path", "/"+strings.Repeat("a", 16<<10)), "414 URI-TOO-LONG"},
		{"FRM-26 expectation", base("expect", "miracles"), "417 EXPECTATION-FAILED"},
		{"FRM-11 escape in value", base("x-a", "a\x1bb"), mr},
		{"FRM-11 DEL in value", base("x-a", "a\x7fb"), mr},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := dialRaw(t, addr)
			r.request(t, c.fields...)
			if got := r.outcome(t); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	addr := serveClear(t, http2.Options{MaxHeaderBytes: 10000})
	c := dialRaw(t, addr)
	f, err := c.framer.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	s := f.(*xhttp2.SettingsFrame)
	streams, _ := s.Value(xhttp2.SettingMaxConcurrentStreams)
	list, _ := s.Value(xhttp2.SettingMaxHeaderListSize)
	if streams != 250 || list < 10000 || list > 11000 {
		t.Errorf("streams %d, header list %d", streams, list)
	}
	c.request(t, ":method", "GET", ":path", "/", ":scheme", "http", ":authority", "a.test", "x-a", strings.Repeat("a", 5000), "x-b", strings.Repeat("b", 6000))
	if got := c.outcome(t); got != "431" {
		t.Errorf("large head: %s", got)
	}
}
