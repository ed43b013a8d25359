package tunnel

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/testkit"
	"sluice/internal/wire/proxyproto"
	"sluice/internal/wire/sniff"
)

// echo is a server that sends back what it gets and ends when the client has ended. first is sent unasked.
func echo(t *testing.T, config *tls.Config, first string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.WriteString(c, first)
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// through serves one client and returns what it got back for what it sent.
func through(t *testing.T, s *Service, sent string, postgres bool) (string, Result) {
	t.Helper()
	client, ours := testkit.Pipe()
	done := make(chan Result, 1)
	go func() {
		r := s.Serve(Client{Stream: ours, Postgres: postgres, Peer: netip.MustParseAddrPort("192.0.2.1:1234"),
			Local: netip.MustParseAddrPort("198.51.100.2:443")})
		if r.Open {
			ours.Close()
		}
		done <- r
	}()
	// A client whose connection was refused may not get rid of its bytes.
	_, _ = io.WriteString(client, sent)
	_ = client.CloseWrite()
	got, _ := io.ReadAll(client)
	r := <-done
	client.Close()
	return string(got), r
}

func TestServe(t *testing.T) {
	testkit.LeakCheck(t)
	ca := testkit.NewCA(t)
	secure := echo(t, ca.Leaf(t, "127.0.0.1").ServerConfig(), "")
	plain, dead := echo(t, nil, ""), closedPort(t)
	trusting := &tls.Config{RootCAs: ca.Pool()}
	for _, c := range []struct {
		name    string
		servers []Server
		options Options
		want    string
		fault   *fault.Kind
	}{
		{"plain", []Server{{Address: plain}}, Options{}, "hello", nil},
		{"next server", []Server{{Address: dead}, {Address: plain}}, Options{DialTimeout: time.Second}, "hello", nil},
		{"all dead", []Server{{Address: dead}}, Options{}, "", new(fault.DialFailed)},
		{"none", nil, Options{}, "", new(fault.NoServer)},
		{"TLS, name from the address", []Server{{Address: secure, TLS: true}}, Options{TLS: trusting}, "hello", nil},
		{"UPS-12 unknown authority", []Server{{Address: secure, TLS: true}}, Options{}, "", new(fault.UpstreamTLS)},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 3 { // whatever place in the round is first
				s := New("s@file", c.servers, NewLive(), c.options)
				s.Publish()
				got, r := through(t, s, "hello", false)
				if c.fault == nil && (got != c.want || r.Fault != nil || r.In != 5 || r.Out != 5) {
					t.Errorf("got %q, %+v", got, r)
				}
				if c.fault != nil && (r.Fault == nil || r.Fault.Kind != *c.fault) {
					t.Errorf("got %+v, want fault %s", r, c.fault.Code())
				}
			}
		})
	}
}

// PPX-09: the header comes before everything else, with the client's addresses.
func TestProxyHeader(t *testing.T) {
	server := echo(t, nil, "")
	for _, version := range []int{1, 2} {
		s := New("s@file", []Server{{Address: server}}, NewLive(), Options{ProxyVersion: version})
		s.Publish()
		got, r := through(t, s, "hello", false)
		h, _, err := proxyproto.Parse([]byte(got))
		if err != nil || h.Source.String() != "192.0.2.1:1234" || got[h.Length:] != "hello" {
			t.Errorf("version %d: got %q, %v, %+v", version, got, err, r)
		}
	}
}

// TLS-12: the server is asked for TLS as Postgres clients ask, and its refusal ends the connection.
func TestPostgres(t *testing.T) {
	for answer, want := range map[string]string{"S": sniff.PostgresSSLRequest + "hello", "N": ""} {
		s := New("s@file", []Server{{Address: echo(t, nil, answer)}}, NewLive(), Options{})
		s.Publish()
		got, r := through(t, s, "hello", true)
		if got != want || (r.Fault == nil) != (answer == "S") {
			t.Errorf("answer %s: got %q, %+v", answer, got, r)
		}
	}
}

func TestWeighted(t *testing.T) {
	a, b := echo(t, nil, "a"), echo(t, nil, "b")
	sa, sb := New("a", []Server{{Address: a}}, NewLive(), Options{}), New("b", []Server{{Address: b}}, NewLive(), Options{})
	zero := New("zero", []Server{{Address: a}}, NewLive(), Options{})
	w := NewWeighted("w", []Child{{Name: "a", Weight: 3, Service: sa}, {Name: "b", Weight: 1, Service: sb}, {Name: "zero", Service: zero}}, NewLive())
	for _, s := range []*Service{sa, sb, zero, w} {
		s.Publish()
	}
	var got bytes.Buffer
	for range 8 {
		text, _ := through(t, w, "", false)
		got.WriteString(text)
	}
	if n := bytes.Count(got.Bytes(), []byte("a")); n != 6 {
		t.Errorf("got %s, want three a for each b", got.String())
	}
}
