package demo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/internal/testkit"
)

// TestDemo does with a Go client what the demo tells people to do with curl.
func TestDemo(t *testing.T) {
	testkit.LeakCheck(t)
	d, err := New(Options{Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	stop, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(stop, context.Background()) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-d.app.Applied():
	case <-time.After(10 * time.Second):
		t.Fatal("no configuration")
	}
	_, web, _ := net.SplitHostPort(d.app.Addr("web").String())
	_, secure, _ := net.SplitHostPort(d.app.Addr("secure").String())
	var text strings.Builder
	d.Explain(&text)
	if !strings.Contains(text.String(), "https://"+vmHost+":"+secure+"/") {
		t.Errorf("instructions do not name the port:\n%s", text.String())
	}

	for _, c := range []struct {
		name, url, ca string
		status        int
		want, issuer  string
		proto         int
	}{
		{"passthrough", "https://" + vmHost + ":" + secure + "/", "ca-vm.pem", 200, "hello from the VM, over its own TLS", "Demo VM authority", 2},
		{"plain HTTP of the VM", "http://" + vmHost + ":" + web + "/", "", 200, "hello from the VM, over plain HTTP", "", 1},
		{"challenge", "http://" + vmHost + ":" + web + "/.well-known/acme-challenge/" + challenge, "", 200, challengeKey, "", 1},
		{"service", "https://" + appHost + ":" + secure + "/", "ca-sluice.pem", 200, `hello from the service "app"`, "Demo Sluice authority", 2},
		{"other service", "https://" + blogHost + ":" + secure + "/", "ca-sluice.pem", 200, `hello from the service "blog"`, "Demo Sluice authority", 2},
		{"redirection", "http://" + appHost + ":" + web + "/a?b", "", 301, "", "", 1},
		{"nobody", "http://nobody.test:" + web + "/", "", 301, "", "", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := clientFor(t, d.world.dir, c.ca)
			resp, err := client.Get(c.url)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != c.status || !strings.Contains(string(body), c.want) || resp.ProtoMajor != c.proto {
				t.Errorf("got %s %d %q, %v; want %d %q over HTTP/%d", resp.Proto, resp.StatusCode, body, err, c.status, c.want, c.proto)
			}
			if c.issuer != "" && resp.TLS.PeerCertificates[0].Issuer.CommonName != c.issuer {
				t.Errorf("certificate issued by %q, want %q", resp.TLS.PeerCertificates[0].Issuer.CommonName, c.issuer)
			}
		})
	}
}

// clientFor trusts one of the demo's authorities and finds every host on loopback.
func clientFor(t *testing.T, dir, ca string) *http.Client {
	config := &tls.Config{}
	if ca != "" {
		pem, err := os.ReadFile(filepath.Join(dir, ca))
		if err != nil {
			t.Fatal(err)
		}
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(pem)
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, _ := net.SplitHostPort(addr)
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
		}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}
