package app

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/internal/testkit"
)

// tcpServer answers what it reads up to the client's FIN with its name in front, by TLS if config is set, and returns its
// address and what ends it.
func tcpServer(t *testing.T, name, address string, config *tls.Config) (string, func()) {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(10 * time.Second))
				if config != nil {
					c = tls.Server(c, config)
				}
				got, err := io.ReadAll(c)
				if err == nil && len(got) > 0 {
					fmt.Fprintf(c, "%s %s", name, got)
				}
				c.Close()
			})
		}
	})
	stop := sync.OnceFunc(func() { ln.Close(); all.Wait() })
	t.Cleanup(stop)
	return ln.Addr().String(), stop
}

// tellTCP sends text with a FIN and returns the answer, empty where the connection is closed.
func (r *router) tellTCP(entryPoint, text string) string {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr(entryPoint))
	if errors.Is(err, syscall.ECONNRESET) {
		return "" // closed before this side has seen it open
	}
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, text)
	c.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(c)
	if err != nil && isTimeout(err) {
		r.t.Errorf("no answer and no end: %v", err)
	}
	return string(got)
}

// TestTLSToTCPServers connects to servers by every option of a TCP transport's tls section.
func TestTLSToTCPServers(t *testing.T) {
	ca, other := testkit.NewCA(t), testkit.NewCA(t)
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	root, foreign := write("ca.pem", ca.PEM), write("other.pem", other.PEM)
	ours := ca.Leaf(t, "client.test")
	if err := os.Mkdir(filepath.Join(dir, "client"), 0o700); err != nil {
		t.Fatal(err)
	}
	cert, key := ours.Files(t, filepath.Join(dir, "client"))
	server := ca.Leaf(t, "db.test", "127.0.0.1", "spiffe://db.test/a")
	plain := server.ServerConfig()
	asking := server.ServerConfig()
	asking.ClientAuth, asking.ClientCAs = tls.RequireAndVerifyClientCert, ca.Pool()
	named := ca.Leaf(t, "only.test").ServerConfig()
	addresses := map[string]string{}
	for name, config := range map[string]*tls.Config{"plain": plain, "asking": asking, "named": named} {
		addresses[name], _ = tcpServer(t, name, "127.0.0.1:0", config)
	}
	for _, row := range []struct {
		name, server, tls string
		want              bool
	}{
		{"name from the address", "plain", "rootCAs: [" + root + "]", true},
		{"server name", "named", "serverName: only.test, rootCAs: [" + root + "]", true},
		{"name of another", "named", "rootCAs: [" + root + "]", false},
		{"wrong server name", "plain", "serverName: mail.test, rootCAs: [" + root + "]", false},
		{"system's roots", "plain", "", false},
		{"another root", "plain", "rootCAs: [" + foreign + "]", false},
		{"one of two roots", "plain", "rootCAs: [" + foreign + ", " + root + "]", true},
		{"a root that is not there", "plain", "rootCAs: [" + root + ", " + dir + "/gone.pem]", false},
		{"no verification", "named", "insecureSkipVerify: true", true},
		{"client certificate", "asking", "rootCAs: [" + root + "], certificates: [{certFile: " + cert + ", keyFile: " + key + "}]", true},
		{"no client certificate", "asking", "rootCAs: [" + root + "]", false},
		{"peer URI", "plain", "rootCAs: [" + root + "], peerCertURI: \"spiffe://db.test/a\"", true},
		{"another peer URI", "plain", "rootCAs: [" + root + "], peerCertURI: \"spiffe://db.test/b\"", false},
		{"peer URI without verification of the name", "plain", "insecureSkipVerify: true, rootCAs: [" + root + "], peerCertURI: \"spiffe://db.test/a\"", true},
		{"another peer URI without verification of the name", "plain", "insecureSkipVerify: true, rootCAs: [" + root + "], peerCertURI: \"spiffe://db.test/b\"", false},
		{"one of the peer's names", "plain", "rootCAs: [" + root + "], peerCertSANs: [{type: DNSName, value: x.test}, {type: DNSName, value: db.test}]", true},
		{"SPIFFE", "plain", "spiffe: {trustDomain: db.test}", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := start(t, "entryPoints: {tcp: {address: \"127.0.0.1:0\"}}", fmt.Sprintf(`
tcp:
  routers: {r: {rule: "HostSNI(%s)", service: s}}
  services: {s: {loadBalancer: {serversTransport: t, servers: [{address: %q, tls: true}]}}}
  serversTransports: {t: {dialTimeout: 5s, tls: {%s}}}
`, "`*`", addresses[row.server], row.tls))
			want := ""
			if row.want {
				want = row.server + " hello"
			}
			if got := r.tellTCP("tcp", "hello"); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// TestTCPHealth shows what a check finds out, and keeps it over a change that leaves the service alone.
func TestTCPHealth(t *testing.T) {
	good, _ := tcpServer(t, "good", "127.0.0.1:0", nil)
	bad, stop := tcpServer(t, "bad", "127.0.0.1:0", nil)
	config := func(more string) string {
		return fmt.Sprintf(`
tcp:
  routers: {r: {rule: "HostSNI(%s)", service: top, entryPoints: [tcp]}%s}
  services:
    top: {weighted: {healthCheck: {}, services: [{name: one}, {name: two}]}}
    one: {loadBalancer: {healthCheck: {interval: 20ms}, servers: [{address: %q}]}}
    two: {loadBalancer: {healthCheck: {interval: 20ms, unhealthyInterval: 20ms, timeout: 1s}, servers: [{address: %q}]}}
`, "`*`", more, good, bad)
	}
	r := start(t, "entryPoints: {tcp: {address: \"127.0.0.1:0\"}, traefik: {address: \"127.0.0.1:0\"}}\napi: {insecure: true}", config(""))
	status := func(up string) bool {
		_, body := r.get("traefik", "http://any/api/tcp/services/two@file")
		return strings.Contains(body, fmt.Sprintf(`"serverStatus":{%q:%q}`, bad, up))
	}
	if !status("UP") {
		t.Error("the server is not up at first")
	}
	stop()
	soon(t, "the server is down", func() bool { return status("DOWN") })
	r.reload(config(", other: {rule: \"HostSNI(`*`)\", service: one, entryPoints: [tcp], priority: -5}"))
	if !status("DOWN") {
		t.Error("a change of something else brought the server back")
	}
	for range 4 {
		if got := r.tellTCP("tcp", "x"); got != "good x" {
			t.Errorf("got %q", got)
		}
	}
	tcpServer(t, "back", bad, nil)
	soon(t, "the server is up again", func() bool { return status("UP") })
	got := map[string]int{}
	for range 4 {
		got[r.tellTCP("tcp", "x")]++
	}
	if got["good x"] != 2 || got["back x"] != 2 {
		t.Errorf("got %v", got)
	}
}
