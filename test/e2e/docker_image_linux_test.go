package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// TestDockerImage runs Sluice in its image, as nobody, with a read-only file system and socket.
func TestDockerImage(t *testing.T) {
	e := containerEngine(t)
	image := e.sluice(t)
	for _, args := range [][]string{{"version"}, {"traefik", "version"}, {"check", "--entryPoints.web.address=:80"}} {
		e.docker(t, append([]string{"run", "--rm", "--network", "none", "--read-only", image}, args...)...)
	}
	if out := e.docker(t, "run", "--rm", "--network", "none", "--entrypoint", "traefik", image, "version"); !strings.Contains(out, "Version:") {
		t.Errorf("traefik version: %s", out)
	}
	id := e.docker(t, "create", image)
	files, err := e.try("export", id)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"etc/ssl/certs/ca-certificates.crt", "usr/share/zoneinfo.zip", "usr/local/bin/traefik", "tmp/"} {
		if !strings.Contains(files, name) {
			t.Errorf("%s is not in the image", name)
		}
	}

	front, back, third := e.network(t), e.network(t), e.network(t)
	p := ports(t, 2)
	e.docker(t, "run", "-d", "--name", "router", "--network", front, "--user", "65534:"+e.group(t), "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "-v", e.socket+":/var/run/docker.sock:ro",
		"-p", fmt.Sprintf("127.0.0.1:%d:80", p[0]), "-p", fmt.Sprintf("127.0.0.1:%d:8080", p[1]), image,
		"--entryPoints.web.address=:80", "--api.insecure=true", "--log.level=INFO", "--providers.docker.exposedByDefault=false")
	g := frontierAt(t, p[0], p[0], p[1])
	t.Cleanup(func() {
		if out, err := e.try("logs", "router"); err == nil && t.Failed() {
			t.Logf("sluice said:\n%s", tail(out, 4000))
		}
	})

	// On three networks, of which Sluice shares one; its name is neither the first nor the last in order.
	e.container(t, "many", back, testImage, "traefik.http.routers.many.rule: Host(`many.test`)")
	e.docker(t, "network", "connect", third, "many")
	eventually(t, "no shared network is said", func() error {
		out, err := e.try("logs", "router")
		if want := "none of its networks is one of Sluice's: it is on " + back + ", " + third + ", and Sluice is on " + front; err != nil || !strings.Contains(out, want) {
			return fmt.Errorf("no %q in the log", want)
		}
		return nil
	})
	g.until("it has no address", "many.test", 503, "")
	e.docker(t, "network", "connect", front, "many")
	g.until("the shared network is taken", "many.test", 200, "many ")
	e.docker(t, "network", "disconnect", front, "router")
	e.docker(t, "network", "connect", front, "router")
	g.until("Sluice itself was elsewhere for a while", "many.test", 200, "many ")
}

// TestDockerSocketProxy runs Sluice behind a proxy that lets nothing through but what it has to.
func TestDockerSocketProxy(t *testing.T) {
	e := containerEngine(t)
	n1 := e.network(t)
	allowed := regexp.MustCompile(`^(/v[0-9.]+)?/(_ping|containers/json|containers/[^/]+/json|events)$`)
	var mu sync.Mutex
	var refused []string
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "engine"}) },
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", e.socket)
		}},
		FlushInterval: -1,
	}
	dir := directory(t)
	l, err := net.Listen("unix", filepath.Join(dir, "proxy.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" && r.Method != "HEAD" || !allowed.MatchString(r.URL.Path) {
			mu.Lock()
			refused = append(refused, r.Method+" "+r.URL.Path)
			mu.Unlock()
			w.WriteHeader(http.StatusForbidden)
			return
		}
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	g := newFrontierBy(t, "unix://"+filepath.Join(dir, "proxy.sock"))
	e.container(t, "proxied", n1, testImage, "traefik.http.routers.proxied.rule: Host(`proxied.test`)")
	g.until("it is found through the proxy", "proxied.test", 200, "proxied ")
	e.docker(t, "rm", "-f", "proxied")
	g.until("its removal is heard of", "proxied.test", 503, "")
	mu.Lock()
	defer mu.Unlock()
	if len(refused) > 0 {
		t.Errorf("asked for more than is documented: %v", refused)
	}
}

// composeFile has one service, whose name two projects have.
const composeFile = `version: "3.8"
services:
  web:
    image: app
    environment: {NAME: "${WHO}"}
    networks: [edge]
    labels:
      traefik.enable: "true"
networks:
  edge: {}
`

// TestDockerCompose checks two projects with equal names of services, and the example.
func TestDockerCompose(t *testing.T) {
	e := containerEngine(t)
	need(t, "docker-compose")
	dir := directory(t)
	write(t, filepath.Join(dir, "compose.yml"), composeFile)
	up := func(project string, env []string, file string, args ...string) {
		t.Helper()
		if out, err := e.by(env, "docker-compose", append([]string{"-p", project, "-f", file}, args...)...); err != nil {
			t.Fatalf("docker-compose %v: %v\n%s", args, err, out)
		}
	}
	for _, project := range []string{"one", "two"} {
		t.Cleanup(func() {
			if out, err := e.by(nil, "docker-compose", "-p", project, "-f", filepath.Join(dir, "compose.yml"), "down", "-v", "-t", "1"); err != nil {
				t.Logf("docker-compose down: %v %s", err, out)
			}
		})
	}
	g := newFrontier(t, e)
	up("one", []string{"WHO=first"}, filepath.Join(dir, "compose.yml"), "up", "-d")
	up("two", []string{"WHO=second"}, filepath.Join(dir, "compose.yml"), "up", "-d")
	g.until("the first project", "web-one", 200, "first ")
	g.until("the second project", "web-two", 200, "second ")
	up("one", []string{"WHO=first"}, filepath.Join(dir, "compose.yml"), "up", "-d", "--scale", "web=3")
	g.untilServers("web-one@docker", 3)
	g.until("it is made anew", "web-two", 200, "second ")
	up("two", []string{"WHO=third"}, filepath.Join(dir, "compose.yml"), "up", "-d", "--force-recreate", "-t", "2")
	g.until("it is made anew", "web-two", 200, "third ")
}

// TestDockerExample runs examples/compose: containers by labels, a machine by a file.
func TestDockerExample(t *testing.T) {
	e := containerEngine(t)
	need(t, "docker-compose")
	p := ports(t, 2)
	env := []string{"SLUICE_IMAGE=" + e.sluice(t), "SHOP_IMAGE=" + webImage, "DATABASE_IMAGE=" + testImage, "DOCKER_SOCK=" + e.socket,
		fmt.Sprint("WEB_PORT=127.0.0.1:", p[0]), fmt.Sprint("SECURE_PORT=127.0.0.1:", p[1]), "VM=vm", "VM_HTTPS=8443", "VM_HTTP=80", "CA_SERVER=https://127.0.0.1:1/directory"}
	file, err := filepath.Abs("../../examples/compose/compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, nil, sluice, "check", file); err != nil {
		t.Errorf("sluice check: %v\n%s", err, out)
	}
	args := []string{"-p", "example", "-f", file}
	if out, err := e.by(env, "docker-compose", append(args, "up", "-d")...); err != nil {
		t.Fatalf("docker-compose up: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := e.try("logs", "example_sluice_1")
			t.Logf("sluice said:\n%s", tail(out, 4000))
		}
		_, _ = e.try("rm", "-f", "vm-tls", "vm-web")
		if out, err := e.by(env, "docker-compose", append(args, "down", "-v", "-t", "1")...); err != nil {
			t.Logf("docker-compose down: %v %s", err, out)
		}
	})
	// The machine, and what answers on its port 80.
	e.docker(t, "run", "-d", "--name", "vm-tls", "--network", "example_front", "--network-alias", "vm", "-e", "NAME=machine", "-e", "LISTEN=:8443", "-e", "TLS=www.vm.mydomain.com", testImage)
	e.docker(t, "run", "-d", "--name", "vm-web", "--network", "container:vm-tls", "-e", "NAME=challenge", "-e", "LISTEN=:80", testImage)

	g := frontierAt(t, p[0], p[1], p[0])
	eventually(t, "the shop answers over TLS", func() error {
		if status, body, _ := g.ask("https", "shop.mydomain.com", "/"); status != 200 {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	if status, _, res := g.redirected("shop.mydomain.com"); status != 301 || !strings.HasPrefix(res.Header.Get("Location"), "https://shop.mydomain.com") {
		t.Errorf("http is not redirected: %d", status)
	}
	eventually(t, "the machine shows its own certificate", func() error {
		c, err := tls.Dial("tcp", g.secure, &tls.Config{ServerName: "www.vm.mydomain.com", InsecureSkipVerify: true})
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.ConnectionState().PeerCertificates[0].VerifyHostname("www.vm.mydomain.com"); err != nil {
			return err
		}
		return nil
	})
	eventually(t, "challenges of the machine go to it", func() error {
		if status, body := g.get("www.vm.mydomain.com", "/.well-known/acme-challenge/token"); status != 200 || !strings.HasPrefix(body, "challenge ") {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	eventually(t, "Sluice is healthy", func() error {
		if out := e.docker(t, "inspect", "-f", "{{.State.Health.Status}}", "example_sluice_1"); out != "healthy" {
			return fmt.Errorf("it is %s", out)
		}
		return nil
	})
	e.docker(t, "stop", "-t", "1", "example_shop_1")
	if status, body, res := g.ask("https", "shop.mydomain.com", "/"); status != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("a stopped shop answers %d %s", status, body)
	}
}

// redirected asks in the clear without following.
func (g *frontier) redirected(host string) (int, string, *http.Response) {
	g.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return g.ask("http", host, "/")
}

// TestDockerCheck asks check about a real engine.
func TestDockerCheck(t *testing.T) {
	e := containerEngine(t)
	n1 := e.network(t)
	e.container(t, "good", n1, testImage, "traefik.http.routers.good.rule: Host(`good.test`)")
	e.container(t, "silent", n1, testImage, "traefik.http.services.silent.loadbalancer.server.port: 9")
	e.docker(t, "create", "--name", "new", testImage)
	out, err := run(t, []string{"DOCKER_HOST=unix://" + e.socket}, sluice, "check", "--docker", "--entryPoints.web.address=:80")
	if err != nil {
		t.Errorf("check: %v", err)
	}
	for _, want := range []string{"router good@docker: Host(`good.test`) on web to good, enabled", "not served: nothing answers on", "container new (created", "not served: is created"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if _, err := os.Stat(e.socket); err != nil {
		t.Error(err)
	}
}
