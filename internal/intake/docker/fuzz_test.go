package docker

import (
	"strings"
	"testing"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
)

// FuzzLabels: whatever labels a container has, another one beside it is served, nothing panics, and every element of the
// container has its finding if it is broken.
func FuzzLabels(f *testing.F) {
	for _, seed := range []string{
		"traefik.enable=true\ntraefik.http.routers.r.rule=Host(`a`)\ntraefik.http.services.s.loadbalancer.server.port=80",
		"traefik.http.routers.r.tls.domains0].main=x", "traefik.http..x=1", "Traefik.enable=true", "traefik.enabled=x", "sluice.enable=false\ntraefik.enable=true",
		"traefik.tcp.routers.t.rule=HostSNI(`*`)\ntraefik.udp.services.u.loadbalancer.server.port=x", "traefik.docker.network=\ntraefik.docker.allownonrunning=true",
		"traefik.http.services.s.weighted.services[0].name=a", "traefik.http.routers=x\ntraefik.http.services.s.loadbalancer=true",
		"com.docker.compose.service=other\ncom.docker.compose.project=p", "traefik.http.services.other.loadbalancer.server.url=http://x",
		"traefik.http.routers.r.rule={{", "traefik.tls.stores.default.defaultgeneratedcert.resolver=x",
	} {
		f.Add(seed)
	}
	w := testWorld(nil)
	f.Fuzz(func(t *testing.T, text string) {
		c := makeContainer(t, "fuzzed", "net=10.0.0.1", "80/tcp", "age=5")
		for line := range strings.SplitSeq(text, "\n") {
			key, value, _ := strings.Cut(line, "=")
			c.labels[key] = value
		}
		good := makeContainer(t, "good", "net=10.0.0.2", "80/tcp", "traefik.http.routers.good.rule=Host(`good`)")
		fragments := deriveAll(w, c, good)
		served := false
		for _, fragment := range fragments {
			if fragment.Name == "container good" {
				served = fragment.Config.HTTP.Routers["good"] != nil && !fragment.Held
			}
			for element, list := range fragment.Broken {
				if !list.Has(diag.Error) {
					t.Errorf("%s is broken without an error", element)
				}
			}
			checkServers(t, fragment.Config)
		}
		if !served {
			t.Error("the container beside it is not served")
		}
	})
}

// checkServers checks that no server is half made.
func checkServers(t *testing.T, c *dynamic.Config) {
	if c.HTTP == nil {
		return
	}
	for name, s := range c.HTTP.Services {
		if s.LoadBalancer == nil {
			continue
		}
		for _, server := range s.LoadBalancer.Servers {
			if server.URL == "" || server.Port != "" || server.Scheme != "" {
				t.Errorf("the service %s has a server %+v", name, server)
			}
		}
	}
}

// FuzzDefaultRule: whatever a template and labels are, making the rule ends, in bounds.
func FuzzDefaultRule(f *testing.F) {
	for _, seed := range [][3]string{
		{static.DefaultRule, "web", "x"}, {"Host(`{{ index .Labels \"a.b\" }}`)", "n", "v"}, {"{{ .Nope }}", "n", "v"}, {"{{ range until 10 }}x{{ end }}", "n", "v"},
		{"{{ repeat 100000 .Name }}", "n", "v"}, {"{{ .Labels.a | b64dec | trunc 3 }}", "n", "v"}, {"{{ fail .Name }}", "n", "v"}, {"{{", "n", "v"}, {"{{ split .Name \"-\" | first }}", "a-b", "v"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, template, name, value string) {
		// Templates are the operator's own: one that counts to a billion does so. What labels hold is foreign.
		if len(template) > 200 || strings.ContainsAny(template, "0123456789") || strings.Contains(template, "gen") || strings.Contains(template, "bcrypt") ||
			strings.Contains(template, "htpasswd") || strings.Contains(template, "derive") || strings.Contains(template, "crypt") {
			t.Skip("a template of the operator's own that may work for long")
		}
		s := &settings{section: "s"}
		s.compile("", template)
		rule, err := s.defaultRule(ruleData{Name: name, ContainerName: name, Labels: map[string]string{"a": value, "a.b": value}})
		if len(rule) > maxRule || err != nil && rule != "" {
			t.Errorf("%d bytes, %v", len(rule), err)
		}
	})
}

// FuzzConstraint: every text is an expression or has an error, and expressions can be evaluated.
func FuzzConstraint(f *testing.F) {
	for _, seed := range []string{"", "Label(`a`,`b`)", "!(LabelRegex(\"a\",`.*`) || Label(`c`,`d`)) && Label(`e`,``)", "Label(`a`", "((((", "!!!!x", "Label(`a`,`b`) and"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseConstraint(text)
		if (c == nil) == (err == nil) {
			t.Fatalf("%v without %v", c != nil, err)
		}
		if c != nil {
			c(map[string]string{"a": "b"})
		}
	})
}

// FuzzContainer: whatever an engine answers about a container, reading and deriving it do not panic.
func FuzzContainer(f *testing.F) {
	for _, name := range []string{"inspect-1.24.json", "inspect-stopped-1.41.json", "inspect-1.52.json", "inspect-podman.json"} {
		f.Add([]byte(recorded(f, name)))
	}
	f.Add([]byte(`{"Id":"x","NetworkSettings":{"Networks":{"a":null,"b":{"IPAddress":"::"}},"Ports":{"0/tcp":null,"99999/tcp":[],"80":[{"HostIP":"1.2.3.4"}]}}}`))
	w := testWorld(func(o *static.Docker) { o.UseBindPortIP = true })
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := readContainer(data)
		if err != nil {
			return
		}
		for _, n := range c.networks {
			if a := n.address(); a.IsValid() && a.IsUnspecified() {
				t.Errorf("the address %s is used", a)
			}
		}
		checkServers(t, w.derive("x", "container x", c, live, "").config)
	})
}
