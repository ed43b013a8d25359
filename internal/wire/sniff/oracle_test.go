package sniff

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// tape is a net.Conn that gives fixed bytes and keeps what is written.
type tape struct {
	in  io.Reader
	out bytes.Buffer
}

func (c *tape) Read(b []byte) (int, error)       { return c.in.Read(b) }
func (c *tape) Write(b []byte) (int, error)      { return c.out.Write(b) }
func (c *tape) Close() error                     { return nil }
func (c *tape) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *tape) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *tape) SetDeadline(time.Time) error      { return nil }
func (c *tape) SetReadDeadline(time.Time) error  { return nil }
func (c *tape) SetWriteDeadline(time.Time) error { return nil }

// capture returns the first flight of a Go client.
func capture(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	c := &tape{in: strings.NewReader("")}
	if err := tls.Client(c, cfg).Handshake(); err == nil {
		t.Fatal("handshake with nobody succeeded")
	}
	return c.out.Bytes()
}

var errSeen = errors.New("seen")

// judge asks crypto/tls: what it reads from the hello, or nil if it refuses.
func judge(b []byte) *tls.ClientHelloInfo {
	var seen *tls.ClientHelloInfo
	cfg := &tls.Config{GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
		seen = i
		return nil, errSeen
	}}
	_ = tls.Server(&tape{in: bytes.NewReader(b)}, cfg).Handshake()
	return seen
}

// agree compares our answer for a complete flight with the judge's.
func agree(t *testing.T, b []byte) {
	t.Helper()
	h, need, err := ClientHello(b)
	info := judge(b)
	switch {
	case info == nil:
		return // crypto/tls also reads the extensions that we leave to the owner
	case err != nil || need != 0:
		// Where crypto/tls is more lenient than we are, on purpose.
		if errors.Is(err, ErrServerName) && !plainASCII(info.ServerName) {
			return
		}
		if need > 0 || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrEmptyRecord) || errors.Is(err, ErrContentType) ||
			errors.Is(err, ErrVersion) || errors.Is(err, ErrRecordSize) || errors.Is(err, ErrSessionID) {
			return
		}
		t.Fatalf("crypto/tls accepts what we refuse: need %d, error %v\n%x", need, err, b)
	}
	if want := strings.ToLower(strings.TrimSuffix(info.ServerName, ".")); h.SNI != want {
		t.Errorf("got SNI %q, crypto/tls reads %q", h.SNI, want)
	}
	if !slices.Equal(h.ALPN, info.SupportedProtos) {
		t.Errorf("got ALPN %q, crypto/tls reads %q", h.ALPN, info.SupportedProtos)
	}
	if got := slices.Collect(h.CipherSuites()); !slices.Equal(got, info.CipherSuites) {
		t.Errorf("got suites %x, crypto/tls reads %x", got, info.CipherSuites)
	}
	var kinds []uint16
	for kind := range h.Extensions() {
		kinds = append(kinds, kind)
	}
	if !slices.Equal(kinds, info.Extensions) {
		t.Errorf("got extensions %x, crypto/tls reads %x", kinds, info.Extensions)
	}
	if got := slices.Collect(h.Versions()); len(got) > 0 && !slices.Equal(got, info.SupportedVersions) {
		t.Errorf("got versions %x, crypto/tls reads %x", got, info.SupportedVersions)
	}
}

func plainASCII(s string) bool {
	return len(s) <= maxServerName && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

type flight struct {
	name, sni string
	alpn      []string
	raw       []byte
}

// flights returns hellos of Go clients in many shapes and the recorded ones of other programs.
func flights(t testing.TB) []flight {
	t.Helper()
	long := make([]string, 200)
	for i := range long {
		long[i] = strings.Repeat(string(rune('a'+i%26)), 200)
	}
	protos := func(n int) []string { return slices.Concat(long[:n], []string{"h2"}) }
	name := "www.vm.mydomain.com"
	var fs []flight
	add := func(label string, cfg *tls.Config) {
		fs = append(fs, flight{label, cfg.ServerName, cfg.NextProtos, capture(t, cfg)})
	}
	add("go default", &tls.Config{ServerName: name})
	add("go browser", &tls.Config{ServerName: name, NextProtos: []string{"h2", "http/1.1"}})
	add("go no name", &tls.Config{InsecureSkipVerify: true})
	add("go acme", &tls.Config{ServerName: name, NextProtos: []string{"acme-tls/1"}})
	add("go tls 1.0", &tls.Config{ServerName: name, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10})
	add("go tls 1.2", &tls.Config{ServerName: name, MaxVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	add("go tls 1.3", &tls.Config{ServerName: name, MinVersion: tls.VersionTLS13})
	add("go classic curves", &tls.Config{ServerName: name, CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP521}})
	add("go post-quantum", &tls.Config{ServerName: name, CurvePreferences: []tls.CurveID{tls.X25519MLKEM768}})
	add("go 4 KiB", &tls.Config{ServerName: name, NextProtos: protos(20)})
	add("go 9 KiB", &tls.Config{ServerName: name, NextProtos: protos(46)})
	add("go 15 KiB", &tls.Config{ServerName: name, NextProtos: protos(76)})
	add("go 20 KiB", &tls.Config{ServerName: name, NextProtos: protos(100)})
	add("go 40 KiB", &tls.Config{ServerName: name, NextProtos: protos(200)})

	recorded := map[string]struct {
		sni  string
		alpn []string
	}{
		"openssl-default":      {sni: name},
		"openssl-noservername": {},
		"openssl-tls12-alpn":   {sni: name, alpn: []string{"h2", "http/1.1"}},
		"openssl-tls11":        {sni: "old.test"},
		"openssl-acme":         {sni: "vm.test", alpn: []string{"acme-tls/1"}},
		"openssl-frag":         {sni: "frag.test"},
		"curl-default":         {sni: name, alpn: []string{"h2", "http/1.1"}},
		"curl-http11-tls12":    {sni: name, alpn: []string{"http/1.1"}},
		"curl-ip":              {alpn: []string{"h2", "http/1.1"}},
		"gnutls-wget":          {sni: "localhost"},
		"chromium":             {sni: name, alpn: []string{"h2", "http/1.1"}},
	}
	files, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(files) != len(recorded) {
		t.Fatalf("got %d recorded hellos, want %d (%v)", len(files), len(recorded), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
		if err != nil {
			t.Fatal(file, err)
		}
		label := strings.TrimSuffix(filepath.Base(file), ".hex")
		want, ok := recorded[label]
		if !ok {
			t.Fatalf("%s is not expected", file)
		}
		fs = append(fs, flight{label, want.sni, want.alpn, raw})
	}
	return fs
}

// handshakeOf puts the handshake bytes of a flight together.
func handshakeOf(raw []byte) string {
	var msg strings.Builder
	for len(raw) > 0 {
		n := int(be16(raw[3:]))
		msg.Write(raw[5 : 5+n])
		raw = raw[5+n:]
	}
	return msg.String()
}

func (f flight) check(t *testing.T, h Hello, err error) {
	t.Helper()
	if err != nil || h.SNI != f.sni || !slices.Equal(h.ALPN, f.alpn) {
		t.Fatalf("got SNI %q, ALPN %q, error %v, want %q, %q", h.SNI, h.ALPN, err, f.sni, f.alpn)
	}
}

func TestRealHellosInEveryShape(t *testing.T) {
	for _, f := range flights(t) {
		t.Run(f.name, func(t *testing.T) {
			h, _, err := ClientHello(f.raw)
			f.check(t, h, err)
			agree(t, f.raw)
			msg := handshakeOf(f.raw)
			sizes := []int{1, 2, 3, 4, 5, 7, 16, 64, 100, 255, 256, 1000, 1460, 4096, maxRecord}
			if len(msg) < 2500 {
				for n := 1; n <= len(msg); n += 1 + n/3 {
					sizes = append(sizes, n)
				}
			}
			for _, size := range sizes {
				framed := []byte(records(msg, size))
				if len(framed) > MaxBytes {
					if _, _, err := grow(t, framed, 1); !errors.Is(err, ErrTooLarge) {
						t.Fatalf("records of %d: got error %v", size, err)
					}
					continue
				}
				// Segments of one byte, then of a usual size: the same answer, and only with the last byte.
				for _, step := range []int{1, 1448} {
					h, n, err := grow(t, framed, step)
					f.check(t, h, err)
					if step == 1 && n != len(framed) {
						t.Fatalf("records of %d: decided after %d of %d bytes", size, n, len(framed))
					}
				}
				if size == 1 || size == 64 {
					agree(t, framed)
				}
			}
			// A first record of 1 to 5 bytes, cut at every offset.
			for first := 1; first <= 5; first++ {
				framed := []byte(records(msg[:first], first) + records(msg[first:], maxRecord))
				for cut := 0; cut <= len(framed) && len(framed) < 5000; cut++ {
					var s Scan
					_, need, err := s.ClientHello(framed[:cut])
					if cut < len(framed) && (err != nil || need <= cut) {
						t.Fatalf("first record %d, cut at %d: need %d, error %v", first, cut, need, err)
					}
					if cut < len(framed) {
						h, _, err = s.ClientHello(framed)
						f.check(t, h, err)
					}
				}
			}
		})
	}
}

func FuzzClientHello(f *testing.F) {
	for _, fl := range flights(f) {
		// Larger seeds only slow the fuzzer down.
		if len(fl.raw) < 600 {
			f.Add(fl.raw)
			f.Add([]byte(records(handshakeOf(fl.raw), 64)))
		}
	}
	f.Add([]byte(hello(sni("a.test", "b.test"))))
	f.Add([]byte("\x16\x03\x01\x00\x01\x01\x15\x03\x01\x00\x02\x01\x00"))
	f.Add([]byte("\x80\x2e\x01\x03\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, need := Of(b); (k == Undecided) != (need > len(b)) {
			t.Fatalf("kind %v needs %d of %d", k, need, len(b))
		}
		whole, needWhole, errWhole := ClientHello(b)
		if needWhole != 0 && needWhole <= len(b) {
			t.Fatalf("needs %d of %d", needWhole, len(b))
		}
		if len(whole.SNI) > maxServerName || !plainASCII(whole.SNI) || strings.ToLower(whole.SNI) != whole.SNI {
			t.Fatalf("SNI %q", whole.SNI)
		}
		agree(t, b)
		// Piece by piece gives the same.
		var s Scan
		for n := 0; ; {
			h, need, err := s.ClientHello(b[:n:n])
			if err == nil && need != 0 && n < len(b) {
				if need <= n {
					t.Fatalf("shown %d: needs %d", n, need)
				}
				n = min(need, len(b))
				continue
			}
			if err != errWhole || (need == 0) != (needWhole == 0) || h.SNI != whole.SNI || !slices.Equal(h.ALPN, whole.ALPN) {
				t.Fatalf("after %d bytes: %q, %v; at once: %q, need %d, %v", n, h.SNI, err, whole.SNI, needWhole, errWhole)
			}
			return
		}
	})
}

func TestAllocations(t *testing.T) {
	raw := []byte(hello(sni("a.test"), alpn("h2", "http/1.1")))
	got := testing.AllocsPerRun(100, func() {
		if _, _, err := ClientHello(raw); err != nil {
			t.Fatal(err)
		}
	})
	// The name and the list of protocols.
	if got > 2 {
		t.Errorf("got %v allocations, want at most 2", got)
	}
}

func BenchmarkClientHello(b *testing.B) {
	for _, f := range flights(b) {
		switch f.name {
		case "go browser", "chromium", "go 20 KiB":
			b.Run(f.name, func(b *testing.B) {
				b.SetBytes(int64(len(f.raw)))
				b.ReportAllocs()
				for b.Loop() {
					if _, _, err := ClientHello(f.raw); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
	tiny := []byte(records(message(body([]ext{{21, strings.Repeat("\x00", 20<<10)}, sni("a.test")})), 1))
	b.Run("one byte records", func(b *testing.B) {
		b.SetBytes(int64(len(tiny)))
		for b.Loop() {
			var s Scan
			for n := 0; ; {
				_, need, err := s.ClientHello(tiny[:n])
				if err != nil {
					b.Fatal(err)
				}
				if need == 0 {
					break
				}
				n = need
			}
		}
	})
}
