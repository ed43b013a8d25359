package docker

import (
	"strings"
	"testing"

	"sluice/internal/core/static"
	"sluice/internal/intake/decode"
)

// project reads a compose file of the project p.
func project(t *testing.T, text string) *Project {
	t.Helper()
	doc, err := decode.File("compose.yml", []byte("name: p\n"+text), decode.YAML)
	if err != nil {
		t.Fatal(err)
	}
	return ReadCompose(doc, "compose.yml", func(string) (string, bool) { return "", false })
}

func TestComposeRouter(t *testing.T) {
	for name, c := range map[string]struct {
		text   string
		router string
	}{
		"by its image":        {"services: {proxy: {image: 'ghcr.io/x/sluice:1@sha256:00'}}", "proxy"},
		"built from a folder": {"services: {sluice: {build: .}}", "sluice"},
		"built with options":  {"services: {sluice: {build: {context: ., dockerfile: D}}}", "sluice"},
		"neither":             {"services: {sluice: {}}", ""},
		"another image":       {"services: {sluice: {image: nginx, build: {context: .}}}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if r := project(t, c.text).Router; r != nil {
				got = r.Name
			}
			if got != c.router {
				t.Errorf("got %q, want %q", got, c.router)
			}
		})
	}
}

// TestComposeVantage checks which network of a container is taken, by where the router is.
func TestComposeVantage(t *testing.T) {
	const web = "  web: {image: x, networks: [far, near], labels: ['traefik.enable=true']}\nnetworks: {near: {}, far: {}}\n"
	for name, c := range map[string]struct{ router, want string }{
		"of its own":               {"  sluice: {image: sluice, networks: [near]}\n", "p_near"},
		"of another service":       {"  sluice: {image: sluice, network_mode: 'service:vpn'}\n  vpn: {image: v, networks: [near]}\n", "p_near"},
		"of another's other":       {"  sluice: {image: sluice, network_mode: 'service:a'}\n  a: {image: v, network_mode: 'service:b'}\n  b: {image: v, networks: [near]}\n", "p_near"},
		"of a named container":     {"  sluice: {image: sluice, network_mode: 'container:box'}\n  vpn: {image: v, container_name: box, networks: [near]}\n", "p_near"},
		"of the machine":           {"  sluice: {image: sluice, network_mode: host}\n", "p_far"},
		"of one that is elsewhere": {"  sluice: {image: sluice, network_mode: 'container:box'}\n", "nothing tells which of them Sluice reaches"},
		"in a circle":              {"  sluice: {image: sluice, network_mode: 'service:a'}\n  a: {image: v, network_mode: 'service:sluice'}\n", "nothing tells which of them Sluice reaches"},
	} {
		t.Run(name, func(t *testing.T) {
			o := static.Docker{}
			o.SetDefaults()
			p := project(t, "services:\n"+c.router+web)
			if p.Router == nil {
				t.Fatal("no router")
			}
			reports, snapshot := p.Survey(o)
			got := ""
			for _, r := range reports {
				if r.Container == "container p-web-1" {
					got = r.Why
				}
			}
			for _, f := range snapshot.Fragments {
				if f.Name == "container p-web-1" && f.Config.HTTP != nil {
					for _, s := range f.Config.HTTP.Services {
						for _, server := range s.LoadBalancer.Servers {
							got += server.Origin
						}
					}
				}
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
