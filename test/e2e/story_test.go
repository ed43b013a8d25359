//go:build unix

package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/testkit"
)

// TestStory is the article that the product starts from, with the redirection to HTTPS that people want besides: a
// virtual machine that looks after its own certificate behind the same two ports as a host that Sluice serves itself.
func TestStory(t *testing.T) {
	vmCA := testkit.NewCA(t)
	leaf := vmCA.Leaf(t, vmHost)
	m := startVM(t, leaf)
	e := startEdge(t, plan{machine: m, redirect: true})
	vmCAFile := filepath.Join(directory(t), "vm-ca.pem")
	write(t, vmCAFile, string(vmCA.PEM))

	t.Run("TLS goes through untouched", func(t *testing.T) {
		for _, version := range []string{"--http1.1", "--http2"} {
			got := mustCurl(t, version, "--cacert", vmCAFile, e.url(vmHost))
			want := map[string]string{"--http1.1": "HTTP/1.1", "--http2": "HTTP/2.0"}[version]
			mustHave(t, "curl "+version, got, "secure VM, SNI "+vmHost, want)
		}
		if got := opensslCertificate(t, e.secure, vmHost); !bytes.Equal(got.Raw, leaf.Pair.Certificate[0]) {
			t.Errorf("openssl saw the certificate of %v, not the machine's own", got.DNSNames)
		}
	})
	t.Run("another host is terminated", func(t *testing.T) {
		for _, version := range []string{"--http1.1", "--http2"} {
			got := mustCurl(t, version, "--cacert", e.appCAFile, "--write-out", "%{http_version} %{response_code}", e.url(appHost))
			want := map[string]string{"--http1.1": "1.1 200", "--http2": "2 200"}[version]
			mustHave(t, "curl "+version, got, "app, host "+appHost+":"+portOf(e.secure), "for 127.0.0.1", "proto https", want)
		}
	})
	t.Run("plain HTTP is redirected", func(t *testing.T) {
		for _, name := range []string{vmHost, appHost, "unknown.mydomain.com"} {
			got := mustCurl(t, "--write-out", "%{response_code} %{redirect_url}", "--output", "/dev/null", e.webURL(name, "/a?b=c"))
			mustHave(t, name, got, "301 https://"+name+":"+portOf(e.secure)+"/a?b=c")
		}
	})
	t.Run("the machine answers its challenges", func(t *testing.T) {
		got := mustCurl(t, e.webURL(vmHost, "/.well-known/acme-challenge/hand-made"))
		mustHave(t, "token", got, "hand-made.answer")
		// Nobody owns this host, so it gets what it would get without any rule about challenges.
		got = mustCurl(t, "--write-out", "%{response_code}", "--output", "/dev/null", e.webURL("unknown.mydomain.com", "/.well-known/acme-challenge/hand-made"))
		mustHave(t, "token of a host without an owner", got, "301")
	})
	t.Run("its ACME client issues and renews", func(t *testing.T) {
		ca := startAuthority(t, port(t, e.web), port(t, e.secure))
		c := newCertbot(t, ca)
		others := keepAsking(t, e)
		before := m.requests("GET /.well-known/acme-challenge/")
		c.issue(t, m)
		c.serves(t, e.secure)
		mustHave(t, "curl with the new authority's root", mustCurl(t, "--cacert", ca.rootsFile, e.url(vmHost)), "secure VM")
		first := c.certificate(t)
		if got := opensslCertificate(t, e.secure, vmHost); !bytes.Equal(got.Raw, first.Raw) {
			t.Error("openssl saw another certificate than the one that certbot got")
		}
		c.renew(t)
		if c.certificate(t).SerialNumber.Cmp(first.SerialNumber) == 0 {
			t.Error("the renewal brought the same certificate")
		}
		c.serves(t, e.secure)
		if n := m.requests("GET /.well-known/acme-challenge/") - before; n < 2 {
			t.Errorf("the machine answered %d challenges, want one for the issue and one for the renewal", n)
		}
		if asked, failed := others(); failed > 0 || asked == 0 {
			t.Errorf("meanwhile %d of %d requests to %s failed", failed, asked, appHost)
		}
	})
}

// TestStoryWithoutRedirection is the article's own form: plain HTTP of the machine is proxied.
func TestStoryWithoutRedirection(t *testing.T) {
	m := startVM(t, testkit.NewCA(t).Leaf(t, vmHost))
	e := startEdge(t, plan{machine: m})
	mustHave(t, "plain HTTP", mustCurl(t, e.webURL(vmHost, "/")), "plain VM, host "+vmHost, "from 127.0.0.1")
	mustHave(t, "token", mustCurl(t, e.webURL(vmHost, "/.well-known/acme-challenge/hand-made")), "hand-made.answer")
	got := mustCurl(t, "--write-out", "%{response_code}", "--output", "/dev/null", e.webURL("unknown.mydomain.com", "/"))
	mustHave(t, "unknown host", got, "404")
}

// TestTLSALPNChallenge: a challenge by TLS-ALPN-01 goes to the machine that owns the name, whose client speaks it.
func TestTLSALPNChallenge(t *testing.T) {
	leaf := testkit.NewCA(t).Leaf(t, vmHost)
	conf := leaf.ServerConfig()
	conf.NextProtos = []string{"acme-tls/1"}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { c.(*tls.Conn).Handshake(); io.Copy(io.Discard, c); c.Close() }()
		}
	}()
	e := startEdge(t, plan{machine: &vm{secure: ln.Addr().String(), plain: "127.0.0.1:1"}})
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", e.secure,
		&tls.Config{ServerName: vmHost, NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	state := c.ConnectionState()
	if state.NegotiatedProtocol != "acme-tls/1" || !bytes.Equal(state.PeerCertificates[0].Raw, leaf.Pair.Certificate[0]) {
		t.Errorf("protocol %q, certificate of %v: not the machine's answer", state.NegotiatedProtocol, state.PeerCertificates[0].DNSNames)
	}
}

// opensslCertificate is the leaf that openssl s_client is shown.
func opensslCertificate(t *testing.T, address, name string) *x509.Certificate {
	t.Helper()
	openssl := need(t, "openssl")[0]
	out := mustRun(t, nil, openssl, "s_client", "-connect", address, "-servername", name)
	_, rest, _ := strings.Cut(out, "-----BEGIN")
	block, _ := pem.Decode([]byte("-----BEGIN" + rest))
	if block == nil {
		t.Fatalf("openssl showed no certificate:\n%s", out)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// keepAsking sends requests to the terminated host, over HTTP/1.1 and HTTP/2, old and new connections, until the function
// that it returns is called; that tells how many there were and how many failed.
func keepAsking(t *testing.T, e *edge) func() (asked, failed int) {
	t.Helper()
	var n, bad atomic.Int64
	stop := make(chan struct{})
	ended := make(chan struct{}, 2)
	for _, h2 := range []bool{false, true} {
		dialer := &net.Dialer{Timeout: 5 * time.Second}
		transport := &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: e.appRoots, ServerName: appHost},
			ForceAttemptHTTP2: h2,
		}
		client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
		transport.DialContext = dialer.DialContext
		go func() {
			defer func() { transport.CloseIdleConnections(); ended <- struct{}{} }()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if i%10 == 9 {
					transport.CloseIdleConnections()
				}
				n.Add(1)
				if err := ask(client, e); err != nil {
					bad.Add(1)
					t.Log(err)
				}
				time.Sleep(5 * time.Millisecond)
			}
		}()
	}
	var done atomic.Bool
	end := func() (int, int) {
		if done.CompareAndSwap(false, true) {
			close(stop)
			<-ended
			<-ended
		}
		return int(n.Load()), int(bad.Load())
	}
	t.Cleanup(func() { end() })
	return end
}

func ask(client *http.Client, e *edge) error {
	req, err := http.NewRequest("GET", "https://"+e.secure+"/", nil)
	if err != nil {
		return err
	}
	req.Host = appHost
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != 200 || !strings.HasPrefix(string(b), "app, ") {
		return fmt.Errorf("answer %s: %q", resp.Status, b)
	}
	return nil
}
