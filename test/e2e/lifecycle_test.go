//go:build unix

package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestStop: requests in flight finish, idle connections close at once, tunnels end at the limit, the exit code is 0.
func TestStop(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		io.WriteString(w, "slow answer")
	}))
	defer slow.Close()
	machine, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer machine.Close()
	go func() {
		c, err := machine.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		c.Write([]byte{1})
		io.Copy(io.Discard, c)
	}()
	e := startEdge(t, plan{
		machine: &vm{secure: machine.Addr().String(), plain: "127.0.0.1:1"},
		static:  "[entryPoints.secure.transport.lifeCycle]\n  graceTimeOut = \"2s\"\n[entryPoints.web.transport.lifeCycle]\n  graceTimeOut = \"2s\"\n",
		dynamic: `
[http.routers.slow]
  rule = "Host(` + "`slow.mydomain.com`" + `)"
  service = "slow"
  entryPoints = ["web"]
[[http.services.slow.loadBalancer.servers]]
  url = "` + slow.URL + `"
[http.routers.fast]
  rule = "Host(` + "`fast.mydomain.com`" + `)"
  service = "app"
  entryPoints = ["web"]
`})
	dial := func(address string) net.Conn {
		t.Helper()
		c, err := net.DialTimeout("tcp", address, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(30 * time.Second))
		return c
	}
	idle := dial(e.web)
	fmt.Fprint(idle, "GET / HTTP/1.1\r\nHost: fast.mydomain.com\r\n\r\n")
	idleReader := bufio.NewReader(idle)
	resp, err := http.ReadResponse(idleReader, nil)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)

	busy := dial(e.web)
	fmt.Fprint(busy, "GET / HTTP/1.1\r\nHost: slow.mydomain.com\r\n\r\n")
	<-arrived
	tunnel := dial(e.secure)
	tunnel.Write(firstFlight(t, vmHost))
	if _, err := io.ReadFull(tunnel, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}

	begin := time.Now()
	if err := e.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := idleReader.ReadByte(); err != io.EOF {
		t.Errorf("idle connection: %v, want its end", err)
	}
	eventually(t, "no new connections", func() error {
		c, err := net.DialTimeout("tcp", e.web, time.Second)
		if err == nil {
			c.Close()
			return errors.New("it still accepts")
		}
		return nil
	})
	close(release)
	resp, err = http.ReadResponse(bufio.NewReader(busy), nil)
	if err != nil {
		t.Fatalf("the request in flight: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "slow answer" {
		t.Errorf("the request in flight: %q, %v", body, err)
	}
	if _, err := io.Copy(io.Discard, tunnel); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the tunnel did not end")
	}
	if d := time.Since(begin); d < time.Second {
		t.Errorf("the tunnel ended after %s, before the grace time was over", d)
	}
	<-e.done
	if e.err != nil {
		t.Errorf("exit: %v, want code 0", e.err)
	}
}

// TestSecondSignal ends at once although something is in flight.
func TestSecondSignal(t *testing.T) {
	e := startEdge(t, plan{static: "[entryPoints.secure.transport.lifeCycle]\n  requestAcceptGraceTimeout = \"1m\"\n"})
	e.cmd.Process.Signal(syscall.SIGTERM)
	time.Sleep(200 * time.Millisecond) // two signals of one kind that arrive together are one
	if err := e.alive(); err != nil {
		t.Fatalf("the grace time was not kept: %v", err)
	}
	e.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-e.done:
	case <-time.After(10 * time.Second):
		t.Error("still there 10 s after the second signal")
	}
}

// TestReload changes files while requests are under way, in the ways in which editors and mounts do it.
func TestReload(t *testing.T) {
	e := startEdge(t, plan{})
	others := keepAsking(t, e)
	file := filepath.Join(e.dir, "dynamic/extra.toml")
	router := func(host string) string {
		return "[http.routers.extra]\n  rule = \"Host(`" + host + "`)\"\n  service = \"app@file\"\n  entryPoints = [\"web\"]\n"
	}
	answers := func(host, want string) {
		t.Helper()
		eventually(t, host+" answers "+want, func() error {
			got, err := talkRaw(e.web, []byte("GET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n"))
			if err == nil && !strings.HasPrefix(status(got), want) {
				err = errors.New("answer " + status(got))
			}
			return err
		})
	}
	write(t, file, router("one.mydomain.com"))
	answers("one.mydomain.com", "200")

	write(t, file+".new", router("two.mydomain.com")) // not a configuration by its name
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	answers("two.mydomain.com", "200")
	answers("one.mydomain.com", "404")

	write(t, file, "[http.routers.extra\n")
	eventually(t, "the broken file is told of", func() error {
		if !strings.Contains(e.said(), "extra.toml:1:") {
			return errors.New("no line about extra.toml:1")
		}
		return nil
	})
	answers("two.mydomain.com", "200") // its last good version

	write(t, filepath.Join(e.dir, "dynamic/sub/deep.toml"), strings.Replace(router("three.mydomain.com"), "extra", "deep", 1))
	answers("three.mydomain.com", "200")

	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	answers("two.mydomain.com", "404")

	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGUSR1} {
		if err := e.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	answers("three.mydomain.com", "200")
	if asked, failed := others(); failed > 0 || asked == 0 {
		t.Errorf("meanwhile %d of %d requests to %s failed", failed, asked, appHost)
	}
}

// TestHangUp re-reads files that are not watched.
func TestHangUp(t *testing.T) {
	e := startEdge(t, plan{static: "  watch = false\n"}) // goes on in the providers.file section
	file := filepath.Join(e.dir, "dynamic/base.toml")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, string(bytes.Replace(b, []byte("Host(`"+appHost), []byte("Host(`"+"moved.mydomain.com"), 1)))
	if err := e.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "moved.mydomain.com"}}}
	eventually(t, "the new host is served", func() error {
		req, err := http.NewRequest("GET", "https://"+e.secure+"/", nil)
		if err != nil {
			return err
		}
		req.Host = "moved.mydomain.com"
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != 200 {
				err = errors.New(resp.Status)
			}
		}
		return err
	})
}

// TestHealthcheckAndVersion are the commands for the world outside.
func TestHealthcheckAndVersion(t *testing.T) {
	ping := loopback(ports(t, 1)[0])
	e := startEdge(t, plan{static: "[ping]\n[entryPoints.traefik]\n  address = \"" + ping + "\"\n"})
	args := []string{"healthcheck", "--configFile=" + filepath.Join(e.dir, "static.toml")}
	mustHave(t, "healthcheck", mustRun(t, nil, sluice, args...), "OK: http://"+ping+"/ping")
	if !e.stop(15 * time.Second) {
		t.Error("did not stop")
	}
	if out, err := run(t, nil, sluice, args...); err == nil {
		t.Errorf("healthcheck of a process that is gone: %q and exit code 0", out)
	}
	mustHave(t, "version", mustRun(t, nil, sluice, "version"), "Version:", "Go version:", "OS/Arch:")
}
