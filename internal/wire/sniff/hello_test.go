package sniff

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
)

// ext is one extension of a hello built by hand.
type ext struct {
	kind uint16
	data string
}

func be(n int) string { return string(binary.BigEndian.AppendUint16(nil, uint16(n))) }

func sni(names ...string) ext {
	var list string
	for _, n := range names {
		list += "\x00" + be(len(n)) + n
	}
	return ext{extServerName, be(len(list)) + list}
}

func alpn(names ...string) ext {
	var list string
	for _, n := range names {
		list += string(rune(len(n))) + n
	}
	return ext{extALPN, be(len(list)) + list}
}

// body builds the body of a hello; raw replaces the bytes from the extensions' length on when it is not nil.
func body(exts []ext) string {
	var list string
	for _, e := range exts {
		list += be(int(e.kind)) + be(len(e.data)) + e.data
	}
	return prefix("") + be(len(list)) + list
}

func prefix(sessionID string) string {
	return "\x03\x03" + strings.Repeat("r", 32) + string([]byte{byte(len(sessionID))}) + sessionID + be(4) + "\x13\x01\xc0\x2f" + "\x01\x00"
}

func message(body string) string {
	n := len(body)
	return string([]byte{1, byte(n >> 16), byte(n >> 8), byte(n)}) + body
}

// records cuts msg into handshake records of at most size bytes.
func records(msg string, size int) string {
	var b strings.Builder
	for len(msg) > 0 {
		n := min(size, len(msg))
		b.WriteString("\x16\x03\x01" + be(n) + msg[:n])
		msg = msg[n:]
	}
	return b.String()
}

func hello(exts ...ext) string { return records(message(body(exts)), maxRecord) }

func TestClientHello(t *testing.T) {
	long := strings.Repeat("a", 63) + "." + strings.Repeat("b", 191)
	pad := func(n int) ext { return ext{21, strings.Repeat("\x00", n)} }
	tests := []struct {
		name string
		in   string
		want Hello
		err  *Error
	}{
		{name: "simple", in: hello(sni("a.test"), alpn("h2", "http/1.1")), want: Hello{SNI: "a.test", ALPN: []string{"h2", "http/1.1"}}},
		{name: "no extensions at all", in: records(message(prefix("")), maxRecord)},
		{name: "empty extension block", in: hello()},
		{name: "HST-11 no SNI", in: hello(alpn("x"))},
		{name: "HST-11 upper case and final dot", in: hello(sni("WWW.A.Test.")), want: Hello{SNI: "www.a.test"}},
		{name: "HST-11 only a dot", in: hello(sni(".")), want: Hello{SNI: "."}},
		{name: "HST-11 address", in: hello(sni("10.0.0.1")), want: Hello{SNI: "10.0.0.1"}},
		{name: "HST-11 255 bytes", in: hello(sni(long)), want: Hello{SNI: long}},
		{name: "HST-11 256 bytes", in: hello(sni(long + "c")), err: ErrServerName},
		{name: "HST-11 NUL", in: hello(sni("a.test\x00.evil")), err: ErrServerName},
		{name: "HST-11 space", in: hello(sni("a test")), err: ErrServerName},
		{name: "HST-11 not ASCII", in: hello(sni("b\xc3\xbccher.test")), err: ErrServerName},
		{name: "HST-11 two names", in: hello(sni("a.test", "b.test")), err: ErrServerName},
		{name: "HST-11 empty name", in: hello(sni("")), err: ErrServerName},
		{name: "HST-11 empty list", in: hello(ext{0, be(0)}), err: ErrServerName},
		{name: "HST-11 empty extension", in: hello(ext{0, ""}), err: ErrServerName},
		{name: "HST-11 unknown type alone", in: hello(ext{0, be(5) + "\x07" + be(2) + "xy"})},
		{name: "HST-11 unknown type first", in: hello(ext{0, be(11) + "\x07" + be(2) + "xy" + "\x00" + be(3) + "a.b"}), want: Hello{SNI: "a.b"}},
		{name: "HST-11 list overruns", in: hello(ext{0, be(9) + "\x00" + be(3) + "a.b"}), err: ErrServerName},
		{name: "HST-11 name overruns", in: hello(ext{0, be(6) + "\x00" + be(4) + "a.b"}), err: ErrServerName},
		{name: "HST-11 bytes behind the list", in: hello(ext{0, be(6) + "\x00" + be(3) + "a.b!"}), err: ErrServerName},
		{name: "TLS-08 acme", in: hello(sni("vm.test"), alpn("acme-tls/1")), want: Hello{SNI: "vm.test", ALPN: []string{"acme-tls/1"}}},
		{name: "ALPN empty list", in: hello(ext{16, be(0)}), err: ErrProtocols},
		{name: "ALPN empty name", in: hello(ext{16, be(1) + "\x00"}), err: ErrProtocols},
		{name: "ALPN overrun", in: hello(ext{16, be(3) + "\x03h2"}), err: ErrProtocols},
		{name: "ALPN trailing", in: hello(ext{16, be(3) + "\x02h2x"}), err: ErrProtocols},
		{name: "TLS-07 GREASE", in: hello(ext{0x0a0a, ""}, sni("a.test"), ext{0x3a3a, "\x00"}), want: Hello{SNI: "a.test"}},
		{name: "TLS-07 ECH", in: hello(sni("public.test"), ext{extECH, "outer"}), want: Hello{SNI: "public.test", ECH: true}},
		{name: "early data", in: hello(ext{extEarlyData, ""}, ext{extPreSharedKey, "x"}), want: Hello{EarlyData: true}},
		{name: "pre_shared_key not last", in: hello(ext{extPreSharedKey, "x"}, sni("a.test")), err: ErrAfterPSK},
		{name: "versions odd", in: hello(ext{extSupportedVersions, "\x03\x03\x04\x03"}), err: ErrVersionsField},
		{name: "versions empty", in: hello(ext{extSupportedVersions, "\x00"}), err: ErrVersionsField},
		{name: "versions missing", in: hello(ext{extSupportedVersions, ""}), err: ErrVersionsField},
		{name: "TLS-04 duplicate SNI", in: hello(sni("a.test"), sni("b.test")), err: ErrDuplicate},
		{name: "TLS-04 duplicate unknown", in: hello(ext{0x1234, ""}, ext{0x1234, ""}), err: ErrDuplicate},
		{name: "TLS-04 extension overruns", in: records(message(prefix("")+be(4)+"\x00\x00\x00\x01"), maxRecord), err: ErrTruncated},
		{name: "TLS-04 extension cut", in: records(message(prefix("")+be(3)+"\x00\x00\x00"), maxRecord), err: ErrTruncated},
		{name: "TLS-04 block overruns", in: records(message(prefix("")+be(1)), maxRecord), err: ErrTruncated},
		{name: "TLS-04 bytes behind the block", in: records(message(body(nil)+"x"), maxRecord), err: ErrTrailing},
		{name: "TLS-04 session id of 32", in: records(message(prefix(strings.Repeat("s", 32))), maxRecord)},
		{name: "TLS-04 session id of 33", in: records(message(prefix(strings.Repeat("s", 33))), maxRecord), err: ErrSessionID},
		{name: "session id overruns", in: records(message(prefix("")[:34]+"\x20xx"), maxRecord), err: ErrTruncated},
		{name: "ciphers odd", in: records(message(prefix("")[:35]+be(3)+"\x13\x01\xc0\x01\x00"), maxRecord), err: ErrCipherSuites},
		{name: "ciphers empty", in: records(message(prefix("")[:35]+be(0)+"\x01\x00"), maxRecord), err: ErrCipherSuites},
		{name: "ciphers overrun", in: records(message(prefix("")[:35]+be(9)+"\x13\x01"), maxRecord), err: ErrTruncated},
		{name: "compression empty", in: records(message(prefix("")[:41]+"\x00"), maxRecord), err: ErrCompression},
		{name: "compression missing", in: records(message(prefix("")[:41]), maxRecord), err: ErrTruncated},
		{name: "cut in the random", in: records(message(prefix("")[:20]), maxRecord), err: ErrTruncated},
		{name: "empty message", in: records(message(""), maxRecord), err: ErrTruncated},
		{name: "TLS-04 empty record first", in: "\x16\x03\x01\x00\x00" + hello(sni("a.test")), err: ErrEmptyRecord},
		{name: "TLS-04 empty record between", in: "\x16\x03\x01\x00\x01\x01" + "\x16\x03\x01\x00\x00", err: ErrEmptyRecord},
		{name: "TLS-04 alert between", in: "\x16\x03\x01\x00\x01\x01" + "\x15\x03\x01\x00\x02\x01\x00", err: ErrContentType},
		{name: "TLS-04 alert between, first byte only", in: "\x16\x03\x01\x00\x01\x01" + "\x15", err: ErrContentType},
		{name: "TLS-04 application data first", in: "\x17\x03\x01\x00\x01\x01", err: ErrContentType},
		{name: "TLS-04 record of 2^14+1", in: "\x16\x03\x01\x40\x01", err: ErrRecordSize},
		{name: "TLS-04 record of 2^14+257", in: "\x16\x03\x01\x41\x01", err: ErrRecordSize},
		{name: "TLS-04 not a ClientHello", in: records("\x02\x00\x00\x02xx", maxRecord), err: ErrMessageType},
		{name: "record version 2", in: "\x16\x02\x00\x00\x05", err: ErrVersion},
		{name: "record version 3.4", in: strings.Replace(hello(sni("a.test")), "\x16\x03\x01", "\x16\x03\x04", 1), want: Hello{SNI: "a.test"}},
		{name: "TLS-03 claims 64 KiB and a byte", in: "\x16\x03\x01\x00\x04\x01\x00\xff\xfd", err: ErrTooLarge},
		{name: "TLS-03 claims 16 MiB", in: "\x16\x03\x01\x00\x04\x01\xff\xff\xff", err: ErrTooLarge},
		{name: "TLS-03 40 KiB", in: hello(pad(40<<10), sni("a.test")), want: Hello{SNI: "a.test"}},
		{name: "TLS-02 64-byte records", in: records(message(body([]ext{pad(40 << 10), sni("a.test")})), 64), want: Hello{SNI: "a.test"}},
		{name: "TLS-02 1-byte records, 20 KiB", in: records(message(body([]ext{pad(20 << 10), sni("a.test")})), 1), want: Hello{SNI: "a.test"}},
		{name: "TLS-02 1-byte records, beyond 128 KiB", in: records(message(body([]ext{pad(40 << 10), sni("a.test")})), 1), err: ErrTooLarge},
		{name: "TLS-05 more behind", in: hello(sni("a.test")) + "\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x05early", want: Hello{SNI: "a.test"}},
		{name: "TLS-05 behind in the same record", in: records(message(body([]ext{sni("a.test")}))+"more", maxRecord), want: Hello{SNI: "a.test"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h, n, err := grow(t, []byte(test.in), 1)
			checkHello(t, h, test.want)
			var want error
			if test.err != nil {
				want = test.err
			}
			if err != want {
				t.Fatalf("got error %v, want %v (after %d bytes)", err, want, n)
			}
			// The answer does not depend on how many bytes came at once.
			all, need, errAll := ClientHello([]byte(test.in))
			if errAll != err || need != 0 || all.SNI != h.SNI || !slices.Equal(all.ALPN, h.ALPN) {
				t.Errorf("all at once: got SNI %q, ALPN %q, need %d, error %v", all.SNI, all.ALPN, need, errAll)
			}
		})
	}
}

func checkHello(t *testing.T, got, want Hello) {
	t.Helper()
	if want.SNI != "" && got.SNI != want.SNI {
		t.Errorf("got SNI %q, want %q", got.SNI, want.SNI)
	}
	if want.ALPN != nil && !slices.Equal(got.ALPN, want.ALPN) {
		t.Errorf("got ALPN %q, want %q", got.ALPN, want.ALPN)
	}
	if got.ECH != want.ECH || got.EarlyData != want.EarlyData {
		t.Errorf("got ECH %v, early data %v, want %v, %v", got.ECH, got.EarlyData, want.ECH, want.EarlyData)
	}
}

// grow reads b through a Scan that is shown bytes more at each step, and checks what need promises. It returns the answer and
// how many bytes were shown.
func grow(t *testing.T, b []byte, step int) (Hello, int, error) {
	t.Helper()
	var s Scan
	asked := 0
	for n := 0; n <= len(b); n = min(n+step, max(len(b), n+1)) {
		// The stateless form must say the same, but costs a scan from the start each time.
		if len(b) < 400 {
			checkNeed(t, b, n)
		}
		if n < asked {
			continue
		}
		h, need, err := s.ClientHello(b[:n:n])
		if need == 0 || err != nil {
			return h, n, err
		}
		if need <= n || need > MaxBytes {
			t.Fatalf("shown %d bytes: needs %d", n, need)
		}
		asked = need
	}
	t.Fatalf("undecided at the end, %d bytes", len(b))
	return Hello{}, 0, nil
}

func checkNeed(t *testing.T, b []byte, n int) {
	t.Helper()
	_, need, err := ClientHello(b[:n:n])
	if err != nil || need == 0 {
		return
	}
	if need <= n {
		t.Fatalf("shown %d bytes: needs %d", n, need)
	}
	// Before need bytes are there, the only news can be a refusal.
	for m := n + 1; m < min(need, len(b)); m++ {
		if _, again, err := ClientHello(b[:m:m]); err == nil && again == 0 {
			t.Fatalf("asked for %d bytes after %d, but %d were enough", need, n, m)
		}
	}
}

func TestNeverDecidesOnAPrefix(t *testing.T) {
	whole := []byte(hello(sni("www.a.test"), alpn("h2")))
	for n := range whole {
		h, need, err := ClientHello(whole[:n])
		if err != nil || need <= n || need > len(whole) || h.SNI != "" {
			t.Fatalf("cut at %d: got SNI %q, need %d, error %v", n, h.SNI, need, err)
		}
	}
}

func TestViews(t *testing.T) {
	h, _, err := ClientHello([]byte(hello(sni("a.test"), ext{extSupportedVersions, "\x04\x03\x04\x03\x03"}, ext{0x1234, "data"})))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Collect(h.CipherSuites()), []uint16{0x1301, 0xc02f}; !slices.Equal(got, want) {
		t.Errorf("got suites %x, want %x", got, want)
	}
	if got, want := slices.Collect(h.Versions()), []uint16{0x0304, 0x0303}; !slices.Equal(got, want) {
		t.Errorf("got versions %x, want %x", got, want)
	}
	var kinds []uint16
	for kind, data := range h.Extensions() {
		kinds = append(kinds, kind)
		if kind == 0x1234 && string(data) != "data" {
			t.Errorf("got data %q", data)
		}
	}
	if want := []uint16{0, extSupportedVersions, 0x1234}; !slices.Equal(kinds, want) {
		t.Errorf("got extensions %x, want %x", kinds, want)
	}
	for range h.Extensions() {
		break
	}
	for range h.CipherSuites() {
		break
	}
}

func TestThousandsOfExtensions(t *testing.T) {
	var exts []ext
	for i := range 15000 {
		exts = append(exts, ext{uint16(1000 + i), ""})
	}
	if _, _, err := ClientHello([]byte(hello(exts...))); err != nil {
		t.Errorf("distinct: %v", err)
	}
	for _, again := range []uint16{1000, 1047, 1048, 15999} {
		in := hello(append(exts[:len(exts):len(exts)], ext{again, ""})...)
		if _, _, err := ClientHello([]byte(in)); !errors.Is(err, ErrDuplicate) {
			t.Errorf("%d twice: got error %v", again, err)
		}
	}
}

func TestAlertRecord(t *testing.T) {
	if got, want := ErrServerName.Record(), [7]byte{21, 3, 1, 0, 2, 2, 50}; got != want {
		t.Errorf("got % x, want % x", got, want)
	}
	if got := ErrTruncated.Error(); got != "client hello: a length runs over the end" {
		t.Errorf("got %q", got)
	}
}

func TestKind(t *testing.T) {
	tests := []struct {
		in   string
		want Kind
		need int
	}{
		{"", Undecided, 1},
		{"\x16", TLS, 0},
		{"\x80", SSLv2, 0},
		{"\x80\x2e\x01\x00\x02", SSLv2, 0},
		{"G", Other, 0},
		{"SSH-2.0-OpenSSH", Other, 0},
		{"\x00", Undecided, 2},
		{"\x00\x00\x00\x08", Undecided, 5},
		{"\x00\x00\x00\x08\x04\xd2\x16", Undecided, 8},
		{PostgresSSLRequest, Postgres, 0},
		{PostgresSSLRequest + "\x16\x03", Postgres, 0},
		{"\x00\x00\x00\x08\x04\xd2\x16\x30", Other, 0},
		{"\x00\x00\x00\x54\x00\x03", Other, 0},
		{"P", Undecided, 2},
		{"PO", Other, 0},
		{"PRO", Other, 0},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", Undecided, 24},
		{HTTP2Preface, HTTP2, 0},
		{HTTP2Preface + "\x00", HTTP2, 0},
		{"PRI * HTTP/2.0\r\n\r\nXX", Other, 0},
	}
	for _, test := range tests {
		if got, need := Of([]byte(test.in)); got != test.want || need != test.need {
			t.Errorf("%q: got %v and need %d, want %v and %d", test.in, got, need, test.want, test.need)
		}
	}
}
