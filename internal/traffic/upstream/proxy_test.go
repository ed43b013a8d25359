package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/testkit"
	"sluice/internal/wire/httpmsg"
)

// Requests go the way that the environment names: as such to a proxy for servers in the clear, through a tunnel for others.
func TestProxy(t *testing.T) {
	secure, plain := newWebsite(t, true, "both", sayProto, nil), newWebsite(t, false, "both", sayProto, nil)
	var mu sync.Mutex
	var saw []string
	note := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		saw = append(saw, s)
	}
	proxy := testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
		in := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			note(r.Method + " " + r.RequestURI + " " + r.Host + " " + r.Header.Get("Proxy-Authorization"))
			switch {
			case r.Method != "CONNECT":
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nproxy")
			case r.Host == "refused.test:443":
				io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
			default:
				server, err := net.Dial("tcp", secure.addr)
				if err != nil {
					return
				}
				defer server.Close()
				io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
				go func() { io.Copy(server, in); server.Close() }()
				io.Copy(c, server)
				return
			}
		}
	})
	socks := testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
		io.ReadFull(c, make([]byte, 3))
		c.Write([]byte{5, 0})
		head := make([]byte, 5)
		io.ReadFull(c, head)
		rest := make([]byte, int(head[4])+2)
		io.ReadFull(c, rest)
		note("SOCKS " + string(rest[:head[4]]))
		c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		server, err := net.Dial("tcp", plain.addr)
		if err != nil {
			return
		}
		defer server.Close()
		go func() { io.Copy(server, c); server.Close() }()
		io.Copy(c, server)
	})
	for _, row := range []struct {
		name, scheme, host, proxy string
		want                      string // body, or the code of the fault
		saw                       string
	}{
		{"clear", "http", "a.test:80", "http://me:secret@" + proxy.Addr, "proxy", "GET http://a.test:80/ a.test:80 Basic bWU6c2VjcmV0"},
		{"TLS", "https", "a.test:443", "http://me:secret@" + proxy.Addr, "HTTP/2.0", "CONNECT a.test:443 a.test:443 Basic bWU6c2VjcmV0"},
		{"refused", "https", "refused.test:443", "http://" + proxy.Addr, "DIAL-FAILED", "CONNECT refused.test:443 refused.test:443 "},
		{"SOCKS", "http", "a.test:80", "socks5://" + socks.Addr, "HTTP/1.1", "SOCKS a.test"},
		{"bad scheme", "http", "a.test:80", "gopher://" + proxy.Addr, "DIAL-FAILED", ""},
		{"bad variable", "http", "a.test:80", "", "DIAL-FAILED", ""},
		{"h2c goes straight", "h2c", plain.addr, "http://" + proxy.Addr, "HTTP/2.0", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			mu.Lock()
			saw = nil
			mu.Unlock()
			o := Defaults()
			o.TLS = secure.tls
			o.Proxy = func(server *url.URL) (*url.URL, error) {
				if server.Scheme != row.scheme || server.Host != row.host {
					t.Errorf("asked about %v", server)
				}
				if row.proxy == "" {
					return nil, errors.New("bad")
				}
				return url.Parse(row.proxy)
			}
			p := newPoolFor(t, row.scheme, row.host, o)
			x := request("GET")
			x.Req.Host = httpmsg.Text("b.test")
			got := ""
			if err := p.RoundTrip(x, &httpmsg.Target{}); err != nil {
				got = fault.Of(err).Kind.Code()
			} else {
				got, _ = bodyOf(x)
			}
			x.Finish()
			mu.Lock()
			defer mu.Unlock()
			if got != row.want || strings.Join(saw, "|") != row.saw {
				t.Errorf("got %q, proxy saw %q", got, saw)
			}
		})
	}
}

// A proxy that is reached by https shows a certificate for its own name, of an authority that the transport trusts.
func TestProxyTLS(t *testing.T) {
	ca := testkit.NewCA(t)
	serve := func(name string) *testkit.Peer {
		cfg := ca.Leaf(t, name).ServerConfig()
		return testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
			tc := tls.Server(c, cfg)
			if _, err := http.ReadRequest(bufio.NewReader(tc)); err == nil {
				io.WriteString(tc, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nproxy")
			}
		})
	}
	right, wrong := serve("127.0.0.1"), serve("other.test")
	ofServer := func(tls.ConnectionState) error { return errors.New("not the server") }
	for _, row := range []struct {
		name  string
		proxy *testkit.Peer
		tls   *tls.Config
		want  string
	}{
		{"its authority", right, &tls.Config{RootCAs: ca.Pool(), ServerName: "a.test", VerifyConnection: ofServer}, "proxy"},
		{"unknown authority", right, nil, "DIAL-FAILED"},
		{"another name", wrong, &tls.Config{RootCAs: ca.Pool()}, "DIAL-FAILED"},
		{"not verified", wrong, &tls.Config{InsecureSkipVerify: true}, "proxy"},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := Defaults()
			o.TLS = row.tls
			o.Proxy = func(*url.URL) (*url.URL, error) { return url.Parse("https://" + row.proxy.Addr) }
			got, err := ask(newPoolFor(t, "http", "a.test:80", o), "GET")
			if err != nil {
				got = fault.Of(err).Kind.Code()
			}
			if got != row.want {
				t.Errorf("got %q (%v), want %q", got, err, row.want)
			}
		})
	}
}

// A proxy that does not answer is no longer waited for than a server.
func TestProxySilent(t *testing.T) {
	silent := testkit.Listen(t, nil)
	o := Defaults()
	o.DialTimeout = 50 * time.Millisecond
	o.Proxy = func(*url.URL) (*url.URL, error) { return url.Parse("http://" + silent.Addr) }
	p := newPoolFor(t, "https", "a.test:443", o)
	if _, err := ask(p, "GET"); fault.Of(err).Kind != fault.DialTimeout {
		t.Error(err)
	}
	if _, err := p.throughProxy(canceled()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
