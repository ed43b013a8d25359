// This file is long because each case is a story of events told to one fake engine; they are read beside its vocabulary.

package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
	"sluice/internal/testkit"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("DIAL_STDIO"); path != "" {
		dialStdio(path)
		return
	}
	testkit.Main(m)
}

// dialStdio connects input and output with a socket, as the docker command does at the far end of ssh.
func dialStdio(path string) {
	c, err := net.Dial("unix", path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() {
		_, _ = io.Copy(c, os.Stdin)
		c.Close()
	}()
	_, _ = io.Copy(os.Stdout, c)
}

// fake is an engine in memory. Its containers change by its methods, which tell events as a real one does.
type fake struct {
	mu          sync.Mutex
	containers  map[string]*container
	listeners   map[chan event]bool
	dialErr     error
	sessions    int
	lists       int
	inspections map[string]int
	// slow holds back inspections until it is closed.
	slow chan bool
	// beforeList runs between the beginning of events and the list.
	beforeList func()
	failures   map[string]int
	broken     chan error
	state      *swarmState
	polls      int
}

func newFake(list ...*container) *fake {
	f := &fake{containers: map[string]*container{}, listeners: map[chan event]bool{}, inspections: map[string]int{}, failures: map[string]int{},
		broken: make(chan error)}
	for _, c := range list {
		f.containers[c.id] = c
	}
	return f
}

func (f *fake) dial(ctx context.Context) (engine, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dialErr != nil {
		return nil, f.dialErr
	}
	f.sessions++
	return f, nil
}

func (f *fake) list(context.Context) (out []listed, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists++
	for id, c := range f.containers {
		out = append(out, listed{ID: id, Labels: c.labels, State: c.status})
	}
	if act := f.beforeList; act != nil {
		f.beforeList = nil
		f.mu.Unlock()
		act()
		synctestSettle()
		f.mu.Lock()
	}
	return out, nil
}

func (f *fake) inspect(ctx context.Context, id string) (*container, error) {
	f.mu.Lock()
	c, slow := f.containers[id], f.slow
	f.inspections[id]++
	fail := f.failures[id] > 0
	if fail {
		f.failures[id]--
	}
	f.mu.Unlock()
	if slow != nil {
		select {
		case <-slow:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	switch {
	case fail:
		return nil, errors.New("the engine is confused")
	case c == nil:
		return nil, errGone
	}
	return c, nil
}

func (f *fake) events(ctx context.Context, _ bool, begun func(), handle func(event)) error {
	own := make(chan event, 20_000)
	f.mu.Lock()
	f.listeners[own] = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.listeners, own)
		f.mu.Unlock()
	}()
	begun()
	for {
		select {
		case e := <-own:
			handle(e)
		case err := <-f.broken:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *fake) swarm(context.Context) (*swarmState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.polls++
	return f.state, nil
}

func (f *fake) ping(context.Context) error { return nil }
func (f *fake) end()                       {}

func (f *fake) tell(list ...event) {
	for l := range f.listeners {
		for _, e := range list {
			l <- e
		}
	}
}

// set replaces a container and tells events.
func (f *fake) set(c *container, actions ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.containers[c.id] = c
	for _, a := range actions {
		f.tell(event{id: c.id, action: a})
	}
}

// edit changes a copy of a container.
func (f *fake) edit(id string, change func(*container), actions ...string) {
	f.mu.Lock()
	c := *f.containers[id]
	f.mu.Unlock()
	change(&c)
	f.set(&c, actions...)
}

func (f *fake) kill(id string, signal int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tell(event{id: id, action: "kill", signal: signal})
}

func (f *fake) remove(id string, actions ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.containers, id)
	for _, a := range actions {
		f.tell(event{id: id, action: a})
	}
}

// asked returns how many inspections there were since the last call.
func (f *fake) asked() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, id := range slices.Sorted(maps.Keys(f.inspections)) {
		out = append(out, fmt.Sprintf("%s:%d", id, f.inspections[id]))
	}
	clear(f.inspections)
	return strings.Join(out, " ")
}

func synctestSettle() { time.Sleep(time.Millisecond) }

// scene is a provider that follows fakes under a fake clock.
type scene struct {
	t     *testing.T
	p     *Provider
	start time.Time

	mu     sync.Mutex
	last   dynamic.Snapshot
	urgent int
	spoke  int
	silent map[string]bool // addresses that do not answer
}

// play runs act beside a provider over engines, the first one being the unnamed.
func play(t *testing.T, edit func(*static.Docker), engines map[string]*fake, act func(s *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := static.Docker{}
		o.SetDefaults()
		for name := range engines {
			if name != "" {
				if o.Engines == nil {
					o.Engines = map[string]*static.DockerEngine{}
				}
				o.Engines[name] = &static.DockerEngine{Endpoint: "tcp://" + name}
			}
		}
		if edit != nil {
			edit(&o)
		}
		for _, e := range engines {
			e.broken = make(chan error) // of this bubble
		}
		p := New(o, Options{Getenv: func(string) string { return "" }})
		s := newScene(t, p)
		p.open = func(s *settings) dial { return engines[s.engine].dial }
		s.run(act)
	})
}

func newScene(t *testing.T, p *Provider) *scene {
	s := &scene{t: t, p: p, start: time.Now(), silent: map[string]bool{}}
	p.self, p.host = ownContainer{}, func() string { return "127.0.0.1" }
	p.probe = func(_ context.Context, address string) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.silent[address] {
			return errors.New("refused")
		}
		return nil
	}
	return s
}

func (s *scene) run(act func(*scene)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		done <- s.p.Run(ctx, func(snap dynamic.Snapshot) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.last = snap
			s.spoke++
			if snap.Urgent {
				s.urgent++
			}
		})
	}()
	s.sleep(time.Second)
	act(s)
	cancel()
	if err := <-done; err != nil {
		s.t.Errorf("ended with %v", err)
	}
}

func (s *scene) sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (s *scene) silence(address string, silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent[address] = silent
}

// servers shows the services with servers, with a mark for those that are held.
func (s *scene) servers() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, f := range s.last.Fragments {
		if f.Config.HTTP == nil {
			continue
		}
		for name, service := range f.Config.HTTP.Services {
			var urls []string
			for _, server := range service.LoadBalancer.Servers {
				urls = append(urls, strings.TrimPrefix(server.URL, "http://"))
			}
			mark := ""
			if f.Held {
				mark = " held"
			}
			if service.LoadBalancer.RetryAfter != dynamic.Seconds(retryAfter) {
				s.t.Errorf("the service %s has no time to come back after", name)
			}
			out = append(out, name+"="+strings.Join(urls, ",")+mark)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func (s *scene) want(want string) {
	s.t.Helper()
	s.sleep(gather + time.Millisecond)
	if got := s.servers(); got != want {
		s.t.Errorf("after %v: got %q, want %q", time.Since(s.start).Round(time.Second), got, want)
	}
}

// codes lists the findings of the last snapshot.
func (s *scene) codes() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, f := range s.last.Fragments {
		for _, finding := range f.Findings {
			out = append(out, finding.Severity.String()+" "+finding.Code)
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ", ")
}

func web(t *testing.T, id, address string, more ...string) *container {
	t.Helper()
	return makeContainer(t, append([]string{id, "net=" + address, "80/tcp", "exposed=80", "traefik.http.routers.r.rule=Host(`a`)", "traefik.http.services.s.loadbalancer.server.port=80"}, more...)...)
}

// TestLifeOfContainers goes through what happens to containers, with what each event costs.
func TestLifeOfContainers(t *testing.T) {
	e := newFake(web(t, "a", "10.0.0.1"))
	play(t, nil, map[string]*fake{"": e}, func(s *scene) {
		s.want("s=10.0.0.1:80")
		e.asked()
		step := func(want, asked string) {
			t.Helper()
			s.want(want)
			if got := e.asked(); got != asked {
				t.Errorf("%s: asked %q, want %q", want, got, asked)
			}
		}
		e.set(web(t, "b", "10.0.0.2", "age=1"), "create", "connect", "start")
		step("s=10.0.0.1:80,10.0.0.2:80", "b:1")
		e.edit("b", func(c *container) { c.status = statePaused }, "pause")
		step("s=10.0.0.1:80", "")
		e.edit("b", func(c *container) { c.status = stateRunning }, "unpause")
		step("s=10.0.0.1:80,10.0.0.2:80", "b:1")
		e.edit("b", func(c *container) { c.health = "unhealthy" }, "health_status")
		step("s=10.0.0.1:80", "b:1")
		e.edit("b", func(c *container) { c.health = "healthy" }, "health_status")
		step("s=10.0.0.1:80,10.0.0.2:80", "b:1")
		e.edit("b", func(c *container) { c.networks = nil }, "disconnect")
		step("s=10.0.0.1:80", "b:1")
		e.edit("b", func(c *container) { c.networks = makeContainer(t, "x", "net=10.0.0.7").networks }, "connect")
		step("s=10.0.0.1:80,10.0.0.7:80", "b:1")
		e.edit("b", func(c *container) { c.name = "renamed" }, "rename")
		step("s=10.0.0.1:80,10.0.0.7:80", "b:1")
		e.kill("b", 1) // SIGHUP reloads
		step("s=10.0.0.1:80,10.0.0.7:80", "")
		e.kill("b", sigTerm)
		step("s=10.0.0.1:80", "")
		e.edit("b", func(c *container) { c.status = stateExited }, "die", "disconnect", "stop")
		step("s=10.0.0.1:80", "")
		e.remove("b", "destroy")
		step("s=10.0.0.1:80", "")
		e.remove("a", "die", "destroy")
		step("s= held", "")
		if got := s.codes(); got != "info CONTAINER-AWAY" {
			t.Errorf("findings %q", got)
		}
		s.sleep(holdRemoved - 10*time.Second)
		step("s= held", "")
		s.sleep(10 * time.Second)
		step("", "")
		if e.lists != 1 {
			t.Errorf("everything was listed %d times", e.lists)
		}
	})
}

func TestStoppedIsHeld(t *testing.T) {
	stopped := web(t, "never", "10.0.0.9", "traefik.http.services.n.loadbalancer.server.port=80")
	stopped.status = stateExited
	e := newFake(web(t, "a", "10.0.0.1"), stopped)
	play(t, nil, map[string]*fake{"": e}, func(s *scene) {
		s.want("s=10.0.0.1:80") // a container that never ran here is invisible
		e.edit("a", func(c *container) { c.status, c.networks, c.ports = stateExited, nil, nil }, "die")
		s.want("s= held")
		s.sleep(time.Hour)
		s.want("s= held") // as long as it is there
		e.edit("a", func(c *container) {
			c.status, c.started = stateRunning, "2"
			c.networks = makeContainer(t, "x", "net=10.0.0.3").networks
		}, "start")
		s.want("s=10.0.0.3:80")
	})
}

// TestDrainEnds checks that a container that was told to stop and does not comes back, once its port answers.
func TestDrainEnds(t *testing.T) {
	e := newFake(web(t, "a", "10.0.0.1"))
	play(t, nil, map[string]*fake{"": e}, func(s *scene) {
		e.kill("a", sigTerm)
		s.want("s= held")
		s.sleep(drainFor - 2*time.Second)
		s.want("s= held")
		s.silence("10.0.0.1:80", true)
		s.sleep(10 * time.Second)
		s.want("s= held")
		s.silence("10.0.0.1:80", false)
		s.sleep(2 * time.Second)
		s.want("s=10.0.0.1:80")
	})
}

// TestJoinsWhenItAnswers checks that a container without health check joins when its port answers, and one with a check
// when it is healthy.
func TestJoinsWhenItAnswers(t *testing.T) {
	e := newFake(web(t, "a", "10.0.0.1"))
	play(t, nil, map[string]*fake{"": e}, func(s *scene) {
		s.silence("10.0.0.2:80", true)
		s.silence("10.0.0.3:80", true)
		e.set(web(t, "b", "10.0.0.2", "age=1"), "start")
		e.set(web(t, "c", "10.0.0.3", "age=2", "health=starting"), "start")
		s.want("s=10.0.0.1:80")
		e.edit("c", func(c *container) { c.health = healthHealthy }, "health_status")
		s.want("s=10.0.0.1:80,10.0.0.3:80") // its own check knows better
		s.sleep(lateAfter)
		s.want("s=10.0.0.1:80,10.0.0.3:80")
		if got := s.codes(); got != "warning CONTAINER-SILENT" {
			t.Errorf("findings %q", got)
		}
		s.silence("10.0.0.2:80", false)
		s.sleep(slowProbe)
		s.want("s=10.0.0.1:80,10.0.0.2:80,10.0.0.3:80")
		if got := s.codes(); got != "" {
			t.Errorf("findings %q", got)
		}
		e.remove("a", "die", "destroy")
		e.remove("b", "die", "destroy")
		e.edit("c", func(c *container) { c.health = "unhealthy" }, "health_status")
		s.want("s= held")
	})
}

// TestFirstPublication checks that what answers at once is there from the beginning, and what does not keeps nobody
// waiting for long.
func TestFirstPublication(t *testing.T) {
	e := newFake(web(t, "a", "10.0.0.1"), makeContainer(t, "slow", "net=10.0.0.2", "80/tcp"))
	synctest.Test(t, func(t *testing.T) {
		e.broken = make(chan error)
		o := static.Docker{}
		o.SetDefaults()
		p := New(o, Options{Getenv: func(string) string { return "" }})
		s := newScene(t, p)
		s.silent["10.0.0.2:80"] = true
		p.open = func(*settings) dial { return e.dial }
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan dynamic.Snapshot, 100)
		done := make(chan bool)
		go func() {
			_ = p.Run(ctx, func(snap dynamic.Snapshot) { first <- snap })
			close(done)
		}()
		s.last = <-first
		if took := time.Since(s.start); took < firstProbes || took > firstProbes+100*time.Millisecond {
			t.Errorf("published after %v", took)
		}
		if got := s.servers(); got != "s=10.0.0.1:80 slow= held" {
			t.Errorf("got %q", got)
		}
		cancel()
		<-done
	})
}

// TestFirstLookCost checks that a port that answers before the first publication costs the derivation of its container only.
func TestFirstLookCost(t *testing.T) {
	const n = 20
	var list []*container
	for i := range n {
		list = append(list, makeContainer(t, fmt.Sprintf("c%02d", i), "mode=host", fmt.Sprintf("%d/tcp", 1000+i)))
	}
	e := newFake(list...)
	synctest.Test(t, func(t *testing.T) {
		e.broken = make(chan error)
		o := static.Docker{}
		o.SetDefaults()
		p := New(o, Options{Getenv: func(string) string { return "" }})
		s := newScene(t, p)
		p.open = func(*settings) dial { return e.dial }
		derived := 0
		p.host = func() string { derived++; return "127.0.0.1" } // asked at each derivation of a container in that network
		p.probe = func(_ context.Context, address string) error {
			_, port, _ := net.SplitHostPort(address)
			k, _ := strconv.Atoi(port)
			time.Sleep(time.Duration(k-1000) * 10 * time.Millisecond) // one after the other
			return nil
		}
		s.run(func(s *scene) {
			if got := strings.Count(s.servers(), "127.0.0.1:"); got != n || s.spoke != 1 {
				t.Errorf("%d servers after %d publications", got, s.spoke)
			}
			if derived > 2*n {
				t.Errorf("%d derivations of %d containers", derived, n)
			}
		})
	})
}

// TestAddressReuse checks that a container whose end was not heard of leaves in the very change in which another one
// comes with its address.
func TestAddressReuse(t *testing.T) {
	first := makeContainer(t, "first", "net=10.0.0.1", "80/tcp", "exposed=80")
	e := newFake(first)
	play(t, nil, map[string]*fake{"": e}, func(s *scene) {
		s.want("first=10.0.0.1:80")
		e.remove("first") // and nobody says so
		e.set(makeContainer(t, "second", "age=1", "net=10.0.0.1", "80/tcp"), "start")
		s.want("first= held second=10.0.0.1:80")
	})
}

// TestSharedAddress checks that containers which use one network namespace, and are reported with its address, leave each
// other alone, in whatever order they come.
func TestSharedAddress(t *testing.T) {
	owner := makeContainer(t, "owner", "net=10.0.0.1", "80/tcp")
	joined := func(name string) *container {
		return makeContainer(t, name, "age=1", "mode=container:owner", "net=10.0.0.1", "81/tcp")
	}
	e := newFake(owner, joined("b"))
	play(t, nil, map[string]*fake{"": e}, func(s *scene) {
		s.want("b=10.0.0.1:81 owner=10.0.0.1:80")
		e.set(joined("c"), "start")
		s.want("b=10.0.0.1:81 c=10.0.0.1:81 owner=10.0.0.1:80")
		e.edit("owner", func(c *container) { c.started = "2" }, "start")
		s.want("b=10.0.0.1:81 c=10.0.0.1:81 owner=10.0.0.1:80")
	})
}

func TestPipelines(t *testing.T) {
	t.Run("an event between the beginning and the list is not lost", func(t *testing.T) {
		e := newFake(web(t, "a", "10.0.0.1"))
		e.beforeList = func() {
			e.set(web(t, "b", "10.0.0.2", "age=1"), "start")
			e.remove("a", "destroy")
		}
		play(t, nil, map[string]*fake{"": e}, func(s *scene) { s.want("s=10.0.0.2:80") })
	})
	t.Run("an answer that an event has overtaken is asked for again", func(t *testing.T) {
		e := newFake()
		play(t, nil, map[string]*fake{"": e}, func(s *scene) {
			slow := make(chan bool)
			e.mu.Lock()
			e.slow = slow
			e.mu.Unlock()
			e.set(web(t, "a", "10.0.0.1"), "start")
			s.sleep(time.Second)
			e.edit("a", func(c *container) { c.networks = makeContainer(t, "x", "net=10.0.0.5").networks }, "connect")
			s.sleep(time.Second)
			close(slow)
			s.want("s=10.0.0.5:80")
			if got := e.asked(); got != "a:2" {
				t.Errorf("asked %q", got)
			}
		})
	})
	t.Run("an inspection that fails is tried again", func(t *testing.T) {
		e := newFake()
		play(t, nil, map[string]*fake{"": e}, func(s *scene) {
			e.mu.Lock()
			e.failures["a"] = 2
			e.mu.Unlock()
			e.set(web(t, "a", "10.0.0.1"), "start")
			s.want("")
			s.sleep(3 * inspectRetry)
			s.want("s=10.0.0.1:80")
		})
	})
	t.Run("one that joins another's network follows it", func(t *testing.T) {
		e := newFake(makeContainer(t, "vpn", "net=10.0.0.1", "traefik.enable=false"),
			makeContainer(t, "app", "mode=container:vpn", "traefik.http.services.s.loadbalancer.server.port=80"))
		play(t, nil, map[string]*fake{"": e}, func(s *scene) {
			s.want("s=10.0.0.1:80")
			e.edit("vpn", func(c *container) { c.networks = makeContainer(t, "x", "net=10.0.0.2").networks }, "connect")
			s.want("s=10.0.0.2:80")
		})
	})
}

// TestLostEngine checks that routes stay while the engine is lost, that everything is looked at again afterwards, and that
// one dead engine does not hold up another one.
func TestLostEngine(t *testing.T) {
	e, other := newFake(web(t, "a", "10.0.0.1")), newFake()
	other.dialErr = errors.New("connection refused")
	play(t, nil, map[string]*fake{"": e, "nas": other}, func(s *scene) {
		s.want("s=10.0.0.1:80")
		if got := s.codes(); got != "error ENGINE-LOST" {
			t.Errorf("findings %q", got)
		}
		e.mu.Lock()
		e.dialErr = errors.New("gone")
		e.mu.Unlock()
		e.broken <- errors.New("the stream ended")
		s.want("s=10.0.0.1:80")
		if got := s.codes(); got != "error ENGINE-LOST, warning ENGINE-LOST" {
			t.Errorf("findings %q", got)
		}
		e.remove("a")
		e.set(web(t, "b", "10.0.0.2"))
		s.sleep(time.Hour)
		s.want("s=10.0.0.1:80")
		e.mu.Lock()
		e.dialErr = nil
		e.mu.Unlock()
		s.sleep(2 * time.Minute)
		s.want("s=10.0.0.2:80")
		other.mu.Lock()
		other.dialErr = nil
		other.mu.Unlock()
		other.set(makeContainer(t, "b", "net=10.1.0.1", "80/tcp"))
		s.sleep(2 * time.Minute)
		s.want("b=10.1.0.1:80 s=10.0.0.2:80")
		if got := s.codes(); got != "" {
			t.Errorf("findings %q", got)
		}
	})
}

func TestDropLostEngine(t *testing.T) {
	e := newFake(web(t, "a", "10.0.0.1"))
	play(t, func(o *static.Docker) { o.OnEngineLost = static.EngineLostDrop }, map[string]*fake{"": e}, func(s *scene) {
		e.mu.Lock()
		e.dialErr = errors.New("gone")
		e.mu.Unlock()
		e.broken <- errors.New("the stream ended")
		s.want("")
		e.mu.Lock()
		e.dialErr = nil
		e.mu.Unlock()
		s.sleep(10 * time.Second)
		s.want("s=10.0.0.1:80")
	})
}

// TestNothingThere checks that an engine without containers speaks too: somebody waits for its first word.
func TestNothingThere(t *testing.T) {
	play(t, nil, map[string]*fake{"": newFake()}, func(s *scene) {
		if s.spoke != 1 {
			t.Errorf("spoke %d times", s.spoke)
		}
	})
}

func TestWithoutWatching(t *testing.T) {
	e := newFake(web(t, "a", "10.0.0.1"))
	synctest.Test(t, func(t *testing.T) {
		o := static.Docker{}
		o.SetDefaults()
		o.Watch = false
		p := New(o, Options{Getenv: func(string) string { return "" }})
		s := newScene(t, p)
		p.open = func(*settings) dial { return e.dial }
		if err := p.Run(t.Context(), func(snap dynamic.Snapshot) { s.last = snap }); err != nil {
			t.Error(err)
		}
		if got := s.servers(); got != "s=10.0.0.1:80" {
			t.Errorf("got %q", got)
		}
	})
}

// TestCannotBeInspected checks that a container whose inspection fails is reported, with and without watching.
func TestCannotBeInspected(t *testing.T) {
	make := func() *fake {
		e := newFake(web(t, "a", "10.0.0.1"), web(t, "b", "10.0.0.2", "age=1"))
		e.failures["b"] = 3
		return e
	}
	e := make()
	play(t, nil, map[string]*fake{"": e}, func(s *scene) {
		s.want("s=10.0.0.1:80")
		if got := s.codes(); got != "error "+CodeUnread {
			t.Errorf("findings %q", got)
		}
		s.sleep(3 * time.Second)
		s.want("s=10.0.0.1:80,10.0.0.2:80")
		if got := s.codes(); got != "" {
			t.Errorf("findings %q", got)
		}
		e.mu.Lock()
		e.failures["b"] = 2
		e.mu.Unlock()
		e.edit("b", func(c *container) { c.name = "renamed" }, "rename")
		s.want("s=10.0.0.1:80,10.0.0.2:80") // as it was known
		if got := s.codes(); got != "error "+CodeUnread {
			t.Errorf("findings %q", got)
		}
		s.sleep(3 * time.Second)
		if got := s.codes(); got != "" {
			t.Errorf("findings %q", got)
		}
	})
	play(t, func(o *static.Docker) { o.Watch = false }, map[string]*fake{"": make()}, func(s *scene) {
		s.want("s=10.0.0.1:80")
		if got := s.codes(); got != "error "+CodeUnread {
			t.Errorf("findings %q", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		e := make()
		o := static.Docker{}
		o.SetDefaults()
		p := New(o, Options{Getenv: func(string) string { return "" }})
		newScene(t, p)
		p.open = func(*settings) dial { return e.dial }
		reports, snapshot := p.Survey(t.Context())
		if len(reports) != 2 || !reports[0].Served || reports[1].Container != "container b" || reports[1].Served ||
			reports[1].Why != "cannot be inspected: the engine is confused" {
			t.Errorf("reports %+v", reports)
		}
		if f := snapshot.Fragments; len(f) != 2 || !f[1].Findings.Has(diag.Error) {
			t.Errorf("fragments %v", f)
		}
	})
}

// TestOwnNetwork checks that Sluice in the network of another container sees what that one sees, also after that one has
// got other networks.
func TestOwnNetwork(t *testing.T) {
	e := newFake(makeContainer(t, "sluice", "mode=container:vpn"), makeContainer(t, "vpn", "mode=container:base", "traefik.enable=false"),
		makeContainer(t, "base", "near=10.1.0.9", "traefik.enable=false"),
		makeContainer(t, "c", "80/tcp", "far=10.0.0.1", "near=10.1.0.1"))
	synctest.Test(t, func(t *testing.T) {
		e.broken = make(chan error)
		o := static.Docker{}
		o.SetDefaults()
		p := New(o, Options{Getenv: func(string) string { return "" }})
		s := newScene(t, p)
		p.self = ownContainer{in: true, id: "sluice"}
		p.open = func(*settings) dial { return e.dial }
		s.run(func(s *scene) {
			s.want("c=10.1.0.1:80")
			e.edit("base", func(c *container) { c.networks = makeContainer(t, "x", "far=10.0.0.9").networks }, "connect")
			s.want("c=10.0.0.1:80")
			e.remove("base", "die", "destroy")
			s.want("c=10.0.0.1:80") // nothing better is known
		})
	})
}

// TestUrgency checks which changes wait for nobody.
func TestUrgency(t *testing.T) {
	e := newFake(web(t, "a", "10.0.0.1"))
	play(t, nil, map[string]*fake{"": e}, func(s *scene) {
		step := func(what string, want bool) {
			t.Helper()
			s.mu.Lock()
			before := s.urgent
			s.mu.Unlock()
			s.sleep(gather + time.Millisecond)
			if got := s.urgent > before; got != want {
				t.Errorf("%s: urgent %v", what, got)
			}
		}
		s.want("s=10.0.0.1:80")
		e.set(web(t, "b", "10.0.0.2", "age=1"), "start")
		step("a second server", false)
		e.kill("a", sigTerm)
		step("a server leaves", true)
		e.edit("a", func(c *container) { c.status = stateExited }, "die")
		step("what has left already stops", false)
		e.remove("b", "die", "destroy")
		step("the last one leaves", true)
		e.set(web(t, "c", "10.0.0.3", "age=3"), "start")
		step("the first one comes", true)
	})
}

// TestStorm checks that ten thousand events cost no more than the containers that they are about.
func TestStorm(t *testing.T) {
	var list []*container
	for i := range 20 {
		list = append(list, makeContainer(t, fmt.Sprintf("c%02d", i), fmt.Sprintf("net=10.0.0.%d", i+1), "80/tcp"))
	}
	e := newFake(list...)
	play(t, nil, map[string]*fake{"": e}, func(s *scene) {
		e.asked()
		spoke := s.spoke
		slow := make(chan bool)
		e.mu.Lock()
		e.slow = slow
		for i := range 10_000 {
			e.tell(event{id: list[i%len(list)].id, action: "connect"})
		}
		e.mu.Unlock()
		s.sleep(time.Second)
		close(slow)
		s.sleep(10 * time.Second)
		total := 0
		for _, part := range strings.Fields(e.asked()) {
			var n int
			fmt.Sscanf(part[strings.IndexByte(part, ':')+1:], "%d", &n)
			total += n
		}
		if total > 3*len(list) {
			t.Errorf("%d inspections of %d containers", total, len(list))
		}
		if s.spoke-spoke > 5 {
			t.Errorf("published %d times", s.spoke-spoke)
		}
	})
}

func TestSwarmFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake()
		task := func(id, address string) *container {
			c := web(t, id, address)
			c.service = "web"
			return c
		}
		none := makeContainer(t, "web", "id=svc", "state=without running tasks", "traefik.http.routers.r.rule=Host(`a`)", "traefik.http.services.s.loadbalancer.server.port=80")
		state := func(list ...*container) *swarmState {
			out := &swarmState{tasks: list, service: map[string]string{}}
			for _, c := range list {
				out.service[c.id] = "svc"
			}
			return out
		}
		set := func(s *swarmState, events bool) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.state = s
			if events {
				e.tell(event{action: "update"})
			}
		}
		e.state = state(none)
		o := static.Swarm{}
		o.SetDefaults()
		p := NewSwarm(o, Options{Getenv: func(string) string { return "" }})
		s := newScene(t, p)
		p.open = func(*settings) dial { return e.dial }
		s.run(func(s *scene) {
			s.want("") // a service that never had tasks here
			set(state(task("t1", "10.0.0.1"), task("t2", "10.0.0.2")), true)
			s.sleep(stir)
			s.want("s=10.0.0.1:80,10.0.0.2:80")
			polls := e.polls
			set(state(task("t2", "10.0.0.2"), task("t3", "10.0.0.3")), false)
			s.sleep(15 * time.Second)
			s.want("s=10.0.0.2:80,10.0.0.3:80")
			if e.polls != polls+1 {
				t.Errorf("%d polls", e.polls-polls)
			}
			set(state(none), true)
			s.sleep(stir)
			s.want("s= held")
			s.sleep(time.Hour)
			s.want("s= held") // as long as the service is there
			set(state(), true)
			s.sleep(stir)
			s.want("s= held")
			s.sleep(holdRemoved)
			s.want("")
		})
	})
}
