package docker

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
)

// birth is when test containers were created; each next one is a second younger.
var birth = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// makeContainer makes a running container from words: a name, then ports (80/tcp, 1.2.3.4:8888->80/tcp), networks (net=ADDRESS), labels (a.b=c), and
// state=, health=, mode=, id=, exposed=.
func makeContainer(t testing.TB, words ...string) *container {
	t.Helper()
	c := &container{name: words[0], id: words[0], labels: map[string]string{}, created: birth, started: "1", status: stateRunning, stopSignal: sigTerm}
	for _, word := range words[1:] {
		key, value, assigned := strings.Cut(word, "=")
		switch {
		case key == "state":
			c.status = value
		case key == "health":
			c.health = value
		case key == "mode":
			c.mode = value
		case key == "id":
			c.id = value
		case key == "age":
			var n int
			fmt.Sscan(value, &n)
			c.created = birth.Add(time.Duration(n) * time.Second)
		case key == "exposed":
			n, _, _ := parsePort(value)
			c.exposed = append(c.exposed, n)
		case assigned && !strings.Contains(key, "."):
			n := network{name: key}
			if a, err := netip.ParseAddr(value); err == nil && a.Is4() {
				n.v4 = a
			} else if err == nil {
				n.v6 = a
			}
			c.networks = append(c.networks, n)
		case assigned:
			c.labels[key] = value
		default:
			p := port{}
			spec := word
			if host, inner, ok := strings.Cut(word, "->"); ok {
				i := strings.LastIndexByte(host, ':')
				p.bindings = []binding{{host[:max(i, 0)], host[i+1:]}}
				spec = inner
			}
			var ok bool
			if p.number, p.protocol, ok = parsePort(spec); !ok {
				t.Fatalf("%q is no port", word)
			}
			c.ports = append(c.ports, p)
		}
	}
	sortPorts(c.ports)
	return c
}

// testWorld is a world in which every port answers.
func testWorld(edit func(*static.Docker), others ...*container) *world {
	o := static.Docker{}
	o.SetDefaults()
	if edit != nil {
		edit(&o)
	}
	return &world{
		settings: dockerSettings(&o)[0], vantage: vantage{host: true}, host: func() string { return "127.0.0.1" },
		find: func(id string) *container {
			for _, c := range others {
				if c.id == id || c.name == id {
					return c
				}
			}
			return nil
		},
		ready: func(*container, string) bool { return true },
		late:  func(*container) bool { return false },
	}
}

// deriveAll derives containers with the presence that their state gives, and joins them.
func deriveAll(w *world, list ...*container) []*dynamic.Fragment {
	m := newMerger()
	for _, c := range list {
		o, _, _ := readOptions(c, "", w.settings.swarm)
		p, why := presenceOf(c, isTrue(o.Docker.AllowNonRunning), w.settings.allowEmpty, false, false, false)
		m.put(c.id, w.derive(c.id, "container "+c.name, c, p, why))
	}
	out, _ := m.snapshot()
	return out
}

// show writes fragments as sorted lines.
func show(fragments []*dynamic.Fragment) string {
	var out []string
	line := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, f := range fragments {
		broken := func(kind, name string) string {
			if f.Broken[kind+"."+name].Has(diag.Error) {
				return " BROKEN"
			}
			return ""
		}
		if h := f.Config.HTTP; h != nil {
			for name, r := range h.Routers {
				mark := ""
				if r.DefaultRule {
					mark = " (default)"
				}
				if r.TLS != nil {
					mark += " TLS"
				}
				line("router %s %s -> %s%s%s", name, r.Rule, r.Service, mark, broken("http.routers", name))
			}
			for name, s := range h.Services {
				var servers []string
				if s.LoadBalancer != nil {
					for _, server := range s.LoadBalancer.Servers {
						servers = append(servers, server.URL)
					}
				} else {
					servers = s.Kinds()
				}
				line("service %s %v%s", name, servers, broken("http.services", name))
			}
			for name := range h.Middlewares {
				line("middleware %s%s", name, broken("http.middlewares", name))
			}
			for name := range h.ServersTransports {
				line("transport %s", name)
			}
		}
		if c := f.Config.TCP; c != nil {
			for name, r := range c.Routers {
				line("tcp router %s %s -> %s%s", name, r.Rule, r.Service, broken("tcp.routers", name))
			}
			for name, s := range c.Services {
				var servers []string
				for _, server := range s.LoadBalancer.Servers {
					servers = append(servers, server.Address)
				}
				line("tcp service %s %v%s", name, servers, broken("tcp.services", name))
			}
		}
		if c := f.Config.UDP; c != nil {
			for name, r := range c.Routers {
				line("udp router %s -> %s", name, r.Service)
			}
			for name, s := range c.Services {
				var servers []string
				for _, server := range s.LoadBalancer.Servers {
					servers = append(servers, server.Address)
				}
				line("udp service %s %v", name, servers)
			}
		}
		for _, finding := range f.Findings {
			if finding.Severity >= diag.Warning || finding.Code == CodeLink {
				line("%s %s", finding.Severity, finding.Code)
			}
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

const at80 = "net=10.0.0.1"

func TestDerive(t *testing.T) {
	all := func(o *static.Docker) {}
	for _, c := range []struct {
		name string
		edit func(*static.Docker)
		list [][]string
		want string
	}{
		{"no labels, the lowest port", all, [][]string{{"plain", at80, "8080/tcp", "80/tcp"}},
			"router plain Host(`plain`) -> plain (default)\nservice plain [http://10.0.0.1:80]"},
		{"compose replicas", all, [][]string{
			{"my_proj-web-2", "id=b", "age=2", "net=10.0.0.2", "80/tcp", "com.docker.compose.service=web", "com.docker.compose.project=my_proj"},
			{"my_proj-web-1", "id=c", "age=1", "net=10.0.0.1", "80/tcp", "com.docker.compose.service=web", "com.docker.compose.project=my_proj"}},
			"router web-my-proj Host(`web-my-proj`) -> web-my-proj (default)\nservice web-my-proj [http://10.0.0.1:80 http://10.0.0.2:80]"},
		{"names are normalised", all, [][]string{{"foo.bar", at80, "80/tcp"}},
			"router foo-bar Host(`foo-bar`) -> foo-bar (default)\nservice foo-bar [http://10.0.0.1:80]"},
		{"two services, no router", all, [][]string{{"c", at80, "80/tcp", "traefik.http.services.a.loadbalancer.server.port=80", "traefik.http.services.b.loadbalancer.server.port=81"}},
			"info SEVERAL-SERVICES\nservice a [http://10.0.0.1:80]\nservice b [http://10.0.0.1:81]"},
		{"two services and a router of neither", all, [][]string{{"c", at80, "80/tcp", "traefik.http.services.a.loadbalancer.server.port=80", "traefik.http.services.b.loadbalancer.server.port=81", "traefik.http.routers.r.rule=Host(`a`)"}},
			"error SEVERAL-SERVICES\nrouter r Host(`a`) ->  BROKEN\nservice a [http://10.0.0.1:80]\nservice b [http://10.0.0.1:81]"},
		{"one service, routers without", all, [][]string{{"c", at80, "80/tcp", "traefik.http.services.a.loadbalancer.server.port=8080", "traefik.http.routers.r.rule=Host(`a`)", "traefik.http.routers.s.rule=Host(`b`)"}},
			"router r Host(`a`) -> a\nrouter s Host(`b`) -> a\nservice a [http://10.0.0.1:8080]"},
		{"one service, no router", all, [][]string{{"c", at80, "80/tcp", "traefik.http.services.a.loadbalancer.server.port=8080"}},
			"router c Host(`c`) -> a (default)\nservice a [http://10.0.0.1:8080]"},
		{"a router names another service", all, [][]string{{"c", at80, "80/tcp", "traefik.http.routers.r.rule=Host(`a`)", "traefik.http.routers.r.service=other@file"}},
			"router r Host(`a`) -> other@file\nservice c [http://10.0.0.1:80]"},
		{"a bare router", all, [][]string{{"c", at80, "80/tcp", "traefik.http.routers.r=anything"}},
			"router r Host(`c`) -> c (default)\nservice c [http://10.0.0.1:80]"},
		{"middlewares only", all, [][]string{{"c", at80, "80/tcp", "traefik.http.middlewares.m.addprefix.prefix=/x"}},
			"middleware m\nrouter c Host(`c`) -> c (default)\nservice c [http://10.0.0.1:80]"},
		{"middlewares only, no port", all, [][]string{{"c", at80, "traefik.http.middlewares.m.addprefix.prefix=/x"}}, "middleware m"},
		{"tcp only", all, [][]string{{"c", at80, "80/tcp", "traefik.tcp.routers.t.rule=HostSNI(`*`)"}},
			"tcp router t HostSNI(`*`) -> c\ntcp service c [10.0.0.1:80]"},
		{"tcp and a middleware", all, [][]string{{"c", at80, "80/tcp", "traefik.tcp.routers.t.rule=HostSNI(`*`)", "traefik.http.middlewares.m.addprefix.prefix=/x"}},
			"middleware m\nrouter c Host(`c`) -> c (default)\nservice c [http://10.0.0.1:80]\ntcp router t HostSNI(`*`) -> c\ntcp service c [10.0.0.1:80]"},
		{"udp takes the udp port", all, [][]string{{"c", at80, "53/udp", "8053/tcp", "traefik.udp.routers.u.entrypoints=udp"}},
			"udp router u -> c\nudp service c [10.0.0.1:53]"},
		{"http takes the tcp port", all, [][]string{{"c", at80, "53/udp", "8053/tcp"}},
			"router c Host(`c`) -> c (default)\nservice c [http://10.0.0.1:8053]"},
		{"host network", all, [][]string{{"c", "mode=host", "traefik.http.services.s.loadbalancer.server.port=9000"}},
			"router c Host(`c`) -> s (default)\nservice s [http://127.0.0.1:9000]"},
		{"network of another container", all, [][]string{{"c", "mode=container:web1", "traefik.http.services.s.loadbalancer.server.port=9001"}},
			"router c Host(`c`) -> s (default)\nservice s [http://10.0.0.9:9001]"},
		{"network of a container that is not there", all, [][]string{{"c", "mode=container:nope", "traefik.http.services.s.loadbalancer.server.port=9001"}},
			"error CONTAINER-UNREACHABLE\nrouter c Host(`c`) -> s (default)\nservice s []"},
		{"IPv6 only", all, [][]string{{"c", "net=fd00::5", "80/tcp"}},
			"router c Host(`c`) -> c (default)\nservice c [http://[fd00::5]:80]"},
		{"no port and none needed", all, [][]string{{"c", at80, "traefik.http.routers.x.rule=Host(`a`)", "traefik.http.routers.x.service=api@internal"}},
			"router x Host(`a`) -> api@internal"},
		{"no port", all, [][]string{{"c", at80, "traefik.http.routers.x.rule=Host(`a`)"}},
			"error CONTAINER-WITHOUT-PORT\nrouter x Host(`a`) -> c\nservice c []"},
		{"no port, nobody asked", all, [][]string{{"db", at80}}, ""},
		{"no port, enabled by label", all, [][]string{{"db", at80, "traefik.enable=true"}}, "error CONTAINER-WITHOUT-PORT"},
		{"published", func(o *static.Docker) { o.UseBindPortIP = true }, [][]string{{"c", at80, "1.2.3.4:8888->80/tcp"}},
			"router c Host(`c`) -> c (default)\nservice c [http://1.2.3.4:8888]"},
		{"published everywhere", func(o *static.Docker) { o.UseBindPortIP = true }, [][]string{{"c", at80, "0.0.0.0:8888->80/tcp"}},
			"router c Host(`c`) -> c (default)\nservice c [http://10.0.0.1:80]"},
		{"published, another port wanted", func(o *static.Docker) { o.UseBindPortIP = true },
			[][]string{{"c", at80, "1.2.3.4:8888->80/tcp", "traefik.http.services.s.loadbalancer.server.port=81"}},
			"router c Host(`c`) -> s (default)\nservice s [http://10.0.0.1:81]"},
		{"published, this port wanted", func(o *static.Docker) { o.UseBindPortIP = true },
			[][]string{{"c", at80, "1.2.3.4:8080->81/tcp", "1.2.3.4:8888->80/tcp", "traefik.http.services.s.loadbalancer.server.port=81"}},
			"router c Host(`c`) -> s (default)\nservice s [http://1.2.3.4:8080]"},
		{"unknown network", all, [][]string{{"c", "one=10.0.0.1", "two=10.0.1.1", "80/tcp", "traefik.docker.network=nope"}},
			"router c Host(`c`) -> c (default)\nservice c [http://10.0.0.1:80]\nwarning CONTAINER-NETWORK"},
		{"wanted network", all, [][]string{{"c", "one=10.0.0.1", "two=10.0.1.1", "80/tcp", "traefik.docker.network=two"}},
			"router c Host(`c`) -> c (default)\nservice c [http://10.0.1.1:80]"},
		{"wanted network of the provider", func(o *static.Docker) { o.Network = "two" }, [][]string{{"c", "one=10.0.0.1", "two=10.0.1.1", "80/tcp"}},
			"router c Host(`c`) -> c (default)\nservice c [http://10.0.1.1:80]"},
		{"an empty label cancels it", func(o *static.Docker) { o.Network = "two" }, [][]string{{"c", "one=10.0.0.1", "two=10.0.1.1", "80/tcp", "traefik.docker.network="}},
			"router c Host(`c`) -> c (default)\nservice c [http://10.0.0.1:80]"},
		{"wanted network without an address", all, [][]string{{"c", "one=10.0.0.1", "two=", "80/tcp", "traefik.docker.network=two"}},
			"error CONTAINER-UNREACHABLE\nrouter c Host(`c`) -> c (default)\nservice c []"},
		{"exited and allowed", all, [][]string{{"c", "state=exited", "traefik.docker.allownonrunning=true"}},
			"router c Host(`c`) -> c (default)\nservice c []"},
		{"exited", all, [][]string{{"c", "state=exited", at80, "80/tcp"}}, ""},
		{"unhealthy", all, [][]string{{"c", "health=unhealthy", at80, "80/tcp"}}, ""},
		{"unhealthy, empty services allowed", func(o *static.Docker) { o.AllowEmptyServices = true },
			[][]string{{"c", "health=starting", at80, "80/tcp", "traefik.http.services.s.loadbalancer.server.port=80"}},
			"router c Host(`c`) -> s (default)\nservice s []"},
		{"not exposed", func(o *static.Docker) { o.ExposedByDefault = false }, [][]string{{"c", at80, "80/tcp"}}, ""},
		{"switched off", all, [][]string{{"c", at80, "80/tcp", "traefik.enable=false"}}, ""},
		{"switched off by the native label", all, [][]string{{"c", at80, "80/tcp", "sluice.enable=false", "traefik.enable=true"}}, ""},
		{"a slip in enable never opens", all, [][]string{{"c", at80, "80/tcp", "traefik.enabled=false"}}, "error UNKNOWN-KEY"},
		{"a bad word in enable never opens", all, [][]string{{"c", at80, "80/tcp", "traefik.enable=yes"}}, "error WRONG-TYPE"},
		{"constraints", func(o *static.Docker) { o.Constraints = "Label(`a.b`,`c`)" }, [][]string{{"c", at80, "80/tcp"}, {"d", "net=10.0.0.2", "80/tcp", "a.b=c"}},
			"router d Host(`d`) -> d (default)\nservice d [http://10.0.0.2:80]"},
		{"url", all, [][]string{{"c", "traefik.http.services.s.loadbalancer.server.url=http://elsewhere:1/"}},
			"router c Host(`c`) -> s (default)\nservice s [http://elsewhere:1/]"},
		{"url and port", all, [][]string{{"c", at80, "80/tcp", "traefik.http.services.s.loadbalancer.server.url=http://elsewhere:1/", "traefik.http.services.s.loadbalancer.server.port=1",
			"traefik.http.routers.r.rule=Host(`a`)"}},
			"error BAD-VALUE\nrouter r Host(`a`) -> s\nservice s [] BROKEN"},
		{"scheme", all, [][]string{{"c", at80, "80/tcp", "traefik.http.services.s.loadbalancer.server.scheme=h2c"}},
			"router c Host(`c`) -> s (default)\nservice s [h2c://10.0.0.1:80]"},
		{"a port that is none", all, [][]string{{"c", at80, "80/tcp", "traefik.http.services.s.loadbalancer.server.port=http"}},
			"error CONTAINER-WITHOUT-PORT\nrouter c Host(`c`) -> s (default)\nservice s []"},
		{"one bad label costs its element", all, [][]string{{"c", at80, "80/tcp", "traefik.http.routers.r.rule=Host(`a`)", "traefik.http.routers.r.priority=x", "traefik.http.routers.s.rule=Host(`b`)"}},
			"error WRONG-TYPE\nrouter r Host(`a`) -> c BROKEN\nrouter s Host(`b`) -> c\nservice c [http://10.0.0.1:80]"},
		{"a stray bracket costs its element", all, [][]string{{"c", at80, "80/tcp", "traefik.http.routers.r.tls.domains0].main=x", "traefik.http.routers.s.rule=Host(`b`)"}, {"d", "net=10.0.0.2", "80/tcp"}},
			"error SYNTAX\nrouter d Host(`d`) -> d (default)\nrouter s Host(`b`) -> c\nservice c [http://10.0.0.1:80]\nservice d [http://10.0.0.2:80]"},
		{"v1 labels are nobody's", all, [][]string{{"c", at80, "80/tcp", "traefik.port=90", "traefik.frontend.rule=x"}},
			"router c Host(`c`) -> c (default)\nservice c [http://10.0.0.1:80]"},
		{"weighted", all, [][]string{{"c", at80, "80/tcp", "traefik.http.services.w.weighted.services[0].name=a", "traefik.http.services.a.loadbalancer.server.port=80",
			"traefik.http.routers.r.rule=Host(`a`)", "traefik.http.routers.r.service=w"}},
			"router r Host(`a`) -> w\nservice a [http://10.0.0.1:80]\nservice w [weighted]"},
		{"mirroring and failover", all, [][]string{{"c", at80, "80/tcp", "traefik.http.services.m.mirroring.service=a", "traefik.http.services.f.failover.service=a",
			"traefik.http.services.f.failover.fallback=b@file", "traefik.http.services.a.loadbalancer.server.port=80", "traefik.http.routers.r.service=m"}},
			"router r Host(`c`) -> m (default)\nservice a [http://10.0.0.1:80]\nservice f [failover]\nservice m [mirroring]"},
		{"serversTransport", all, [][]string{{"c", at80, "80/tcp", "traefik.http.serverstransports.t.insecureskipverify=true", "traefik.http.services.a.loadbalancer.serverstransport=t"}},
			"router c Host(`c`) -> a (default)\nservice a [http://10.0.0.1:80]\ntransport t"},
		{"a service with middlewares only", all, [][]string{{"c", at80, "80/tcp", "traefik.http.services.s.middlewares=m"}},
			"router c Host(`c`) -> s (default)\nservice s [http://10.0.0.1:80]"},
		{"the older definition holds", all, [][]string{
			{"new", "age=2", "net=10.0.0.2", "80/tcp", "traefik.http.routers.r.rule=Host(`new`)"},
			{"old", "age=1", "net=10.0.0.1", "80/tcp", "traefik.http.routers.r.rule=Host(`old`)"}},
			"error DUPLICATE-ELEMENT\nrouter r Host(`old`) -> old\nservice new [http://10.0.0.2:80]\nservice old [http://10.0.0.1:80]"},
		{"services that differ are not joined", all, [][]string{
			{"new", "age=2", "net=10.0.0.2", "80/tcp", "traefik.http.services.s.loadbalancer.passhostheader=false"},
			{"mid", "age=1", "net=10.0.0.3", "80/tcp", "traefik.http.services.s.loadbalancer.server.port=80"},
			{"old", "age=0", "net=10.0.0.1", "80/tcp", "traefik.http.services.s.loadbalancer.server.port=80"}},
			"error DUPLICATE-ELEMENT\nrouter mid Host(`mid`) -> s (default)\nrouter new Host(`new`) -> s (default)\nrouter old Host(`old`) -> s (default)\n" +
				"service s [http://10.0.0.1:80 http://10.0.0.3:80]"},
		{"a template of labels", func(o *static.Docker) {
			o.DefaultRule = "Host(`{{ index .Labels \"my.host\" }}`) && PathPrefix(`/{{ .ContainerName }}`)"
		}, [][]string{{"c_1", at80, "80/tcp", "my.host=x.test"}},
			"router c-1 Host(`x.test`) && PathPrefix(`/c_1`) -> c-1 (default)\nservice c-1 [http://10.0.0.1:80]"},
		{"a template that fails", func(o *static.Docker) { o.DefaultRule = "{{ fail \"no\" }}" }, [][]string{{"c", at80, "80/tcp"}, {"d", "net=10.0.0.2", "80/tcp", "traefik.http.routers.d.rule=Host(`d`)"}},
			"error TEMPLATE\nrouter c  -> c (default) BROKEN\nrouter d Host(`d`) -> d\nservice c [http://10.0.0.1:80]\nservice d [http://10.0.0.2:80]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			web1 := makeContainer(t, "web1", "net=10.0.0.9")
			w := testWorld(c.edit, web1)
			var list []*container
			for _, words := range c.list {
				list = append(list, makeContainer(t, words...))
			}
			if got := show(deriveAll(w, list...)); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestNetworks(t *testing.T) {
	for _, c := range []struct {
		name    string
		vantage vantage
		words   []string
		want    string // host, or the beginning of the problem
		warned  bool
	}{
		{"the one that is shared", vantage{inside: true, networks: []string{"b", "x"}}, []string{"c", "a=10.0.0.1", "b=10.0.1.1"}, "10.0.1.1", false},
		{"none is shared", vantage{inside: true, networks: []string{"x", "y"}}, []string{"c", "a=10.0.0.1", "b=10.0.1.1"},
			"none of its networks is one of Sluice's: it is on a, b, and Sluice is on x, y", false},
		{"the only one is not shared", vantage{inside: true, networks: []string{"x"}}, []string{"c", "a=10.0.0.1"}, "10.0.0.1", true},
		{"from the machine itself", vantage{host: true}, []string{"c", "b=10.0.1.1", "a=10.0.0.1"}, "10.0.1.1", false},
		{"from elsewhere", vantage{}, []string{"c", "a=10.0.0.1", "b=10.0.1.1"}, "it is on a, b, and nothing tells", false},
		{"from elsewhere, only one", vantage{}, []string{"c", "a=10.0.0.1"}, "10.0.0.1", false},
		{"one has an address", vantage{}, []string{"c", "a=", "b=10.0.1.1"}, "10.0.1.1", false},
		{"not the network of published services", vantage{}, []string{"c", "ingress=10.0.0.1", "mine=10.0.1.1"}, "10.0.1.1", false},
		{"no address", vantage{host: true}, []string{"c", "a="}, "it has no address in any network (its networks: a)", false},
		{"the project is missing in the name", vantage{host: true}, []string{"c", "p_web=10.0.0.1", "traefik.docker.network=web"}, "10.0.0.1", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := testWorld(nil)
			w.vantage = c.vantage
			k := makeContainer(t, c.words...)
			o, _, _ := readOptions(k, "", false)
			p := w.reach(k, &o, "container c")
			got := p.host
			if got == "" {
				got = p.problem
			}
			if !strings.HasPrefix(got, c.want) || (len(p.warnings) > 0) != c.warned {
				t.Errorf("got %q, warnings %v", got, p.warnings)
			}
		})
	}
}

func TestConstraints(t *testing.T) {
	labels := map[string]string{"a": "1", "b": "xyz"}
	for text, want := range map[string]string{
		"": "true", " ": "true", "Label(`a`,`1`)": "true", `Label("a", "1")`: "true", "Label(`a`,`2`)": "false", "!Label(`a`,`2`)": "true",
		"Label(`none`, ``)": "true", "LabelRegex(`none`, `.*`)": "true", "LabelRegex(`b`,`y`)": "true", "LabelRegex(`b`,`^y`)": "false",
		"Label(`a`,`2`) || Label(`a`,`1`) && Label(`b`,`xyz`)": "true", "(Label(`a`,`2`) || Label(`a`,`1`)) && Label(`b`,`no`)": "false",
		"!(Label(`a`,`1`) && !Label(`b`,`xyz`))": "true", "LabelRegex(`a`, `(`)": "at character 17: the expression of LabelRegex cannot be read",
		"Label(`a`,`1`) && !LabelRegex(`a`,`(`)": "at character 35: the expression of LabelRegex cannot be read",
		"label(`a`,`1`)":                         "at character 1: unknown function", "Label(`a`)": "at character 10: Label needs two", "Label('a','1')": "at character 7: an argument stands in",
		"Label(`a`,`1`) and Label(`b`,`1`)": "at character 16: unexpected", "Label(`a`,`1`": "at character 14: a parenthesis", "x": "at character 1: unknown function",
		"Label(`a`,`1`) &&": "at character 18: Label or LabelRegex is missing", "(Label(`a`,`1`)": "at character 16: a parenthesis is not closed", "Label(`a": "at character 7: a quote",
		strings.Repeat("(", 1000): "at character 102: nested deeper", strings.Repeat("!", 1000): "at character 102: nested deeper",
	} {
		t.Run(text, func(t *testing.T) {
			c, err := parseConstraint(text)
			got := ""
			if err != nil {
				got = err.Error()
			} else {
				got = fmt.Sprint(c(labels))
			}
			if !strings.HasPrefix(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// TestBadConstraint checks that a constraint that cannot be read lets nothing in, and says so once.
func TestBadConstraint(t *testing.T) {
	for _, text := range []string{"Label(`a`,`b`) || Foo(`c`,`d`)", "Label(`a`,`b`) || LabelRegex(`c`,`(`)", "!LabelRegex(`c`,`(`)"} {
		t.Run(text, func(t *testing.T) {
			w := testWorld(func(o *static.Docker) { o.Constraints = text })
			if got := show(deriveAll(w, makeContainer(t, "c", at80, "80/tcp", "a.b=b"), makeContainer(t, "d", at80, "80/tcp"))); got != "" {
				t.Errorf("served: %s", got)
			}
			if l := w.settings.findings; len(l) != 1 || l[0].Severity != diag.Error || l[0].Key != "providers.docker.constraints" {
				t.Errorf("findings %v", l)
			}
		})
	}
}

func TestEngines(t *testing.T) {
	o := static.Docker{}
	o.SetDefaults()
	o.Network, o.Constraints = "outer", "Label(`a`,`b`)"
	o.Engines = map[string]*static.DockerEngine{
		"nas": {Endpoint: "tcp://nas:2375", Network: new("inner"), ExposedByDefault: new(false), HTTPClientTimeout: new(dynamic.Seconds(3))},
		"nul": {},
	}
	all := dockerSettings(&o)
	if len(all) != 2 {
		t.Fatalf("%d engines", len(all))
	}
	if s := all[1]; s.engine != "nas" || s.section != "providers.docker.engines.nas" || s.network != "inner" || s.exposedByDefault || s.timeout != 3*time.Second ||
		s.fromEnvironment || !s.constraint(map[string]string{"a": "b"}) || s.constraint(nil) {
		t.Errorf("%+v", s)
	}
	if s := all[0]; s.network != "outer" || !s.exposedByDefault || s.timeout != requestTimeout {
		t.Errorf("%+v", s)
	}
}

// TestSameFragment checks that a container which is derived again and says the same keeps its fragment, so that nobody after
// the merger compares it at each change of another one.
func TestSameFragment(t *testing.T) {
	w, m := testWorld(nil), newMerger()
	put := func(words ...string) *dynamic.Fragment {
		c := makeContainer(t, words...)
		m.put(c.id, w.derive(c.id, "container "+c.name, c, live, ""))
		out, _ := m.snapshot()
		return out[0]
	}
	words := []string{"c", at80, "80/tcp", "traefik.http.routers.r.rule=Host(`a`)", "traefik.http.routers.r.priority=high"}
	first := put(words...)
	if put(words...) != first {
		t.Error("a fragment that says the same is another one")
	}
	if put(append(words, "traefik.http.routers.r.middlewares=m")...) == first {
		t.Error("a fragment that says something else is the same")
	}
}
