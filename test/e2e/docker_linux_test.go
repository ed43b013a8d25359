package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestDocker goes through the life of containers on a real engine, with Sluice on the machine itself.
func TestDocker(t *testing.T) {
	e := containerEngine(t)
	n1 := e.network(t)
	g := newFrontier(t, e)
	const rule = "traefik.http.routers.shop.rule: Host(`shop.test`)"

	t.Run("discovery and removal", func(t *testing.T) {
		if status, _ := g.get("shop.test", "/"); status != 404 {
			t.Errorf("status %d before there is anything", status)
		}
		e.container(t, "shop", n1, testImage, rule)
		g.until("a container is found", "shop.test", 200, "shop ")
		e.docker(t, "stop", "-t", "5", "shop")
		g.until("a stopped container is known", "shop.test", 503, "")
		status, _, res := g.ask("http", "shop.test", "/")
		if status != 503 || res.Header.Get("Retry-After") == "" {
			t.Errorf("%d, Retry-After %q", status, res.Header.Get("Retry-After"))
		}
		var routers []struct{ Name string }
		if err := g.fromAPI("/api/http/routers", &routers); err != nil || slices.ContainsFunc(routers, func(r struct{ Name string }) bool { return r.Name == "shop@docker" }) {
			t.Errorf("the API lists %v, %v", routers, err)
		}
		e.docker(t, "start", "shop")
		g.until("it is back", "shop.test", 200, "shop ")
		e.docker(t, "pause", "shop")
		eventually(t, "it is paused", func() error {
			// A request that has gone to it before waits as long as it is paused.
			if got := g.servers("shop@docker"); got != nil {
				return fmt.Errorf("servers %v", got)
			}
			return nil
		})
		g.until("a paused container is known", "shop.test", 503, "")
		e.docker(t, "unpause", "shop")
		g.until("it goes on", "shop.test", 200, "shop ")
		e.docker(t, "rm", "-f", "shop")
		g.until("it is removed", "shop.test", 503, "")
	})

	t.Run("labels change by making it anew", func(t *testing.T) {
		e.container(t, "anew", n1, testImage, "traefik.http.routers.anew.rule: Host(`one.test`)")
		g.until("the first labels", "one.test", 200, "anew ")
		e.docker(t, "rm", "-f", "anew")
		e.container(t, "anew", n1, testImage, "traefik.http.routers.anew.rule: Host(`two.test`)")
		g.until("the second labels", "two.test", 200, "anew ")
		if status, _ := g.get("one.test", "/"); status != 404 {
			t.Errorf("the first labels still count: %d", status)
		}
	})

	t.Run("scale up and down", func(t *testing.T) {
		replica := func(i int) {
			e.container(t, fmt.Sprint("web", i), n1, testImage, "com.docker.compose.service: web", "com.docker.compose.project: p", "traefik.http.routers.web.rule: Host(`web.test`)")
		}
		for i := range 4 {
			replica(i)
		}
		g.untilServers("web-p@docker", 4)
		if got := g.names("web.test", 40); got != "web0 web1 web2 web3" {
			t.Errorf("answers of %s", got)
		}
		e.docker(t, "rm", "-f", "web1", "web3")
		g.untilServers("web-p@docker", 2)
		if got := g.names("web.test", 40); got != "web0 web2" {
			t.Errorf("answers of %s", got)
		}
	})

	t.Run("health", func(t *testing.T) {
		e.container(t, "flaps", n1, sickImage, "traefik.http.routers.flaps.rule: Host(`flaps.test`)")
		g.until("it is healthy", "flaps.test", 200, "flaps ")
		address := strings.TrimPrefix(g.servers("flaps@docker")[0], "http://")
		for range 3 {
			if _, err := g.client.Get("http://" + address + "/sick"); err != nil {
				t.Fatal(err)
			}
			g.until("it is unhealthy", "flaps.test", 503, "")
			if _, err := g.client.Get("http://" + address + "/well"); err != nil {
				t.Fatal(err)
			}
			g.until("it is healthy again", "flaps.test", 200, "flaps ")
		}
	})

	t.Run("networks", func(t *testing.T) {
		n2, n3 := e.network(t), e.network(t)
		e.container(t, "three", n3, testImage, "traefik.http.routers.three.rule: Host(`three.test`)", "traefik.docker.network: "+n2)
		g.until("the wanted network is missing", "three.test", 200, "three ")
		e.docker(t, "network", "connect", n2, "three")
		want := "http://" + e.docker(t, "inspect", "-f", "{{.NetworkSettings.Networks."+n2+".IPAddress}}", "three") + ":8080"
		eventually(t, "the wanted network is taken", func() error {
			if got := g.servers("three@docker"); len(got) != 1 || got[0] != want {
				return fmt.Errorf("servers %v, want %s", got, want)
			}
			return nil
		})
		g.until("it answers there", "three.test", 200, "three ")
	})

	t.Run("network of the host", func(t *testing.T) {
		port := ports(t, 1)[0]
		e.container(t, "host", "host", testImage, fmt.Sprintf("-e LISTEN=%s", loopback(port)), "traefik.http.routers.host.rule: Host(`host.test`)",
			fmt.Sprintf("traefik.http.services.host.loadbalancer.server.port: %d", port))
		g.until("it is reached on loopback", "host.test", 200, "host ")
		e.docker(t, "rm", "-f", "host")
	})

	t.Run("network of another container", func(t *testing.T) {
		e.container(t, "vpn", n1, testImage)
		e.container(t, "joined", "container:vpn", testImage, "-e LISTEN=:9090", "traefik.http.routers.joined.rule: Host(`joined.test`)", "traefik.http.services.joined.loadbalancer.server.port: 9090")
		g.until("it is reached by the other's address", "joined.test", 200, "joined ")
	})

	t.Run("several ports, and a bad label beside", func(t *testing.T) {
		e.container(t, "mixed", n1, testImage, "traefik.http.routers.good.rule: Host(`good.test`)", "traefik.http.routers.good.service: good", "traefik.http.services.good.loadbalancer.server.port: 8080",
			"traefik.http.routers.bad.rule: Host(`bad.test`)", "traefik.http.routers.bad.service: good", "traefik.http.routers.bad.priority: high", "traefik.http.routers.odd].rule: x")
		g.until("the sound router serves", "good.test", 200, "mixed ")
		g.until("the broken one refuses", "bad.test", 503, "")
	})
}

// TestDockerPublished checks an engine whose containers are reached by published ports only.
func TestDockerPublished(t *testing.T) {
	e := containerEngine(t)
	n1 := e.network(t)
	g := newFrontier(t, e, "--providers.docker.useBindPortIP=true")
	port := ports(t, 1)[0]
	e.container(t, "published", n1, testImage, fmt.Sprintf("-p 127.0.0.1:%d:8080", port), "traefik.http.routers.published.rule: Host(`published.test`)")
	g.until("it is reached by its published port", "published.test", 200, "published ")
	if got, want := g.servers("published@docker"), "http://"+loopback(port); len(got) != 1 || got[0] != want {
		t.Errorf("servers %v, want %s", got, want)
	}
}

// TestDockerManyAtOnce starts two hundred containers side by side.
func TestDockerManyAtOnce(t *testing.T) {
	e := containerEngine(t)
	n1 := e.network(t)
	g := newFrontier(t, e)
	n := 200
	if testing.Short() {
		n = 30
	}
	var all sync.WaitGroup
	next := make(chan int)
	for range 8 {
		all.Go(func() {
			for i := range next {
				name := fmt.Sprintf("many%d", i)
				if out, err := e.try("run", "-d", "--name", name, "--network", n1, "-e", "NAME="+name, "-l", "traefik.enable=true",
					"-l", fmt.Sprintf("traefik.http.routers.%s.rule=Host(`%s.test`)", name, name), testImage); err != nil {
					t.Errorf("%s: %v %s", name, err, out)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
	began := time.Now()
	eventually(t, "all are served", func() error {
		for i := range n {
			name := fmt.Sprintf("many%d", i)
			if status, body := g.get(name+".test", "/"); status != 200 || !strings.HasPrefix(body, name+" ") {
				return fmt.Errorf("%s: %d %s", name, status, body)
			}
		}
		return nil
	})
	t.Logf("%d containers are served %v after the last one was started", n, time.Since(began).Round(time.Millisecond))
	// The time to remove them one by one is the engine's, so this goes before the clean-up does.
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("many%d", i))
	}
	e.docker(t, append([]string{"rm", "-f"}, names...)...)
	g.until("the last one is gone", fmt.Sprintf("many%d.test", n-1), 503, "")
}

// TestDockerEngineRestart restarts the engine under load: routes stay, and what happens afterwards is seen.
func TestDockerEngineRestart(t *testing.T) {
	e := containerEngine(t)
	e.restart(t, true)
	t.Cleanup(func() { e.restart(t, false) })
	n1 := e.network(t)
	g := newFrontier(t, e)
	e.container(t, "steady", n1, testImage, "traefik.http.routers.steady.rule: Host(`steady.test`)")
	g.until("it is served", "steady.test", 200, "steady ")
	load := g.load("steady.test", "/")
	e.stop()
	time.Sleep(time.Second) // requests without an engine
	if err := e.start(); err != nil {
		t.Fatal(err)
	}
	e.container(t, "later", n1, testImage, "traefik.http.routers.later.rule: Host(`later.test`)")
	g.until("events are followed again", "later.test", 200, "later ")
	load.end(t, "while the engine was restarted")
}

// TestDockerRollingReplace replaces containers one after the other under load. The program starts slowly, and closes its
// listener the moment that it is told to stop.
func TestDockerRollingReplace(t *testing.T) {
	e := containerEngine(t)
	n1 := e.network(t)
	g := newFrontier(t, e)
	replica := func(i int) string {
		name := fmt.Sprint("roll", i)
		e.container(t, name, n1, testImage, "-e DELAY=300ms", "com.docker.compose.service: roll", "com.docker.compose.project: p", "traefik.http.routers.roll.rule: Host(`roll.test`)")
		return name
	}
	replaces := 50
	if testing.Short() {
		replaces = 10
	}
	current := []string{replica(0), replica(1)}
	g.untilServers("roll-p@docker", 2)
	load := g.load("roll.test", "/")
	for i := range replaces {
		current = append(current, replica(i+2))
		g.untilServers("roll-p@docker", 3)
		e.docker(t, "stop", "-t", "10", current[0])
		e.docker(t, "rm", current[0])
		current = current[1:]
	}
	load.end(t, fmt.Sprintf("during %d replaces", replaces))

	// A full stop: nobody is left.
	e.docker(t, append([]string{"stop", "-t", "10"}, current...)...)
	for range 20 {
		for _, scheme := range []string{"http", "https"} {
			if status, body, _ := g.ask(scheme, "roll.test", "/"); status != 503 {
				t.Errorf("%s: status %d %s after a full stop", scheme, status, body)
			}
		}
	}
	e.docker(t, append([]string{"rm", "-f"}, current...)...)
	if status, _ := g.get("roll.test", "/"); status != 503 {
		t.Errorf("status %d after the removal", status)
	}
}

// load are requests at two hundred a second.
type load struct {
	stop chan bool
	all  sync.WaitGroup

	mu     sync.Mutex
	sent   int
	failed map[string]int
}

// load begins to send requests.
func (g *frontier) load(host, path string) *load {
	l := &load{stop: make(chan bool), failed: map[string]int{}}
	ticks := make(chan bool)
	l.all.Go(func() {
		defer close(ticks)
		every := time.NewTicker(5 * time.Millisecond)
		defer every.Stop()
		for {
			select {
			case <-l.stop:
				return
			case <-every.C:
				select {
				case ticks <- true:
				default: // all are busy: the machine is, too
				}
			}
		}
	})
	for range 16 {
		l.all.Go(func() {
			for range ticks {
				status, body := g.get(host, path)
				l.mu.Lock()
				l.sent++
				if status != http.StatusOK {
					l.failed[fmt.Sprintf("%d %.80s", status, body)]++
				}
				l.mu.Unlock()
			}
		})
	}
	return l
}

// end stops the requests. None may have failed.
func (l *load) end(t *testing.T, when string) {
	t.Helper()
	close(l.stop)
	l.all.Wait()
	t.Logf("%d requests %s", l.sent, when)
	if l.sent == 0 || len(l.failed) > 0 {
		t.Errorf("%d requests %s, failed: %v", l.sent, when, l.failed)
	}
}
