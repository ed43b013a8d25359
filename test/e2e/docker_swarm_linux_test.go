package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestDockerSwarm runs services of a Swarm, with Sluice in a container on their network: replicas, a rolling update under
// load, a virtual address, and none.
func TestDockerSwarm(t *testing.T) {
	e := containerEngine(t)
	image := e.sluice(t)
	e.docker(t, "swarm", "init", "--advertise-addr", "127.0.0.1")
	const inner = "inner"
	front := e.network(t)
	e.docker(t, "network", "create", "-d", "overlay", "--attachable", inner)
	t.Cleanup(func() {
		if out, err := e.try("service", "ls", "-q"); err == nil && strings.TrimSpace(out) != "" {
			_, _ = e.try(append([]string{"service", "rm"}, strings.Fields(out)...)...)
		}
		_, _ = e.try("rm", "-f", "router")
		_, _ = e.try("swarm", "leave", "--force") // and with it its networks
	})
	p := ports(t, 2)
	e.docker(t, "create", "--name", "router", "--network", front, "-v", e.socket+":/var/run/docker.sock:ro", "-p", fmt.Sprintf("127.0.0.1:%d:80", p[0]), "-p", fmt.Sprintf("127.0.0.1:%d:8080", p[1]),
		image, "--entryPoints.web.address=:80", "--api.insecure=true", "--log.level=INFO", "--providers.swarm.exposedByDefault=false", "--providers.swarm.refreshSeconds=5s", "--providers.providersThrottleDuration=200ms")
	e.docker(t, "network", "connect", inner, "router")
	e.docker(t, "start", "router")
	g := frontierAt(t, p[0], p[0], p[1])
	t.Cleanup(func() {
		if out, err := e.try("logs", "router"); err == nil && t.Failed() {
			t.Logf("sluice said:\n%s", tail(out, 4000))
			out, _ = e.try("service", "ls")
			t.Log(out)
		}
	})
	create := func(name string, options ...string) {
		t.Helper()
		args := []string{"service", "create", "-q", "--detach", "--no-resolve-image", "--name", name, "--network", inner, "--env", "NAME=" + name, "--stop-grace-period", "5s",
			"-l", "traefik.enable=true", "-l", fmt.Sprintf("traefik.http.routers.%s.rule=Host(`%s.test`)", name, name), "-l", "traefik.http.services." + name + ".loadbalancer.server.port=8080"}
		e.docker(t, append(append(args, options...), testImage)...)
	}
	create("web", "--replicas", "2", "--update-order", "start-first", "--update-delay", "1s")
	create("vip", "--replicas", "2", "-l", "traefik.swarm.lbswarm=true")
	create("rr", "--replicas", "1", "--endpoint-mode", "dnsrr", "-l", "traefik.swarm.lbswarm=true")
	g.untilServers("web@swarm", 2)
	g.until("replicas are served", "web.test", 200, "web ")
	virtual := e.docker(t, "service", "inspect", "-f", "{{range .Endpoint.VirtualIPs}}{{.Addr}}{{end}}", "vip")
	virtual, _, _ = strings.Cut(virtual, "/")
	if _, err := os.Stat("/proc/net/ip_vs"); err == nil {
		g.until("a virtual address is served", "vip.test", 200, "vip ")
		if got, want := g.servers("vip@swarm"), "http://"+virtual+":8080"; len(got) != 1 || got[0] != want {
			t.Errorf("a virtual address has the servers %v, want %s", got, want)
		}
	} else {
		// Virtual addresses need IPVS, which this kernel does not have; that the right one is asked can be seen all the same.
		eventually(t, "the virtual address is asked", func() error {
			var answer struct{ Cause string }
			err := g.fromAPI("/api/explain?url=http://vip.test/", &answer)
			if want := "nothing answers on " + virtual + ":8080"; err != nil || !strings.Contains(answer.Cause, want) {
				return fmt.Errorf("%v: %s, want %s", err, answer.Cause, want)
			}
			return nil
		})
	}
	g.until("a service without a virtual address is served", "rr.test", 200, "rr ")

	load := g.load("web.test", "/")
	e.docker(t, "service", "update", "-q", "--detach", "--no-resolve-image", "--env-add", "NAME=new", "web")
	eventually(t, "all replicas are new", func() error {
		if got := g.names("web.test", 20); got != "new" {
			return fmt.Errorf("answers of %s", got)
		}
		return nil
	})
	load.end(t, "during a rolling update")

	e.docker(t, "service", "scale", "--detach", "web=0")
	g.until("a service without tasks is known", "web.test", 503, "")
	e.docker(t, "service", "scale", "--detach", "web=1")
	g.until("it has one again", "web.test", 200, "new ")
}
