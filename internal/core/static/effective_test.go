package static

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"sluice/internal/core/dynamic"
)

// at is an entry point on an address.
func at(address string) *EntryPoint { return newEntryPoint(address) }

func TestEffectiveEntryPoints(t *testing.T) {
	web := func(c *Config) { c.EntryPoints["web"] = at(":80") }
	rows := []struct {
		name  string
		setup func(c *Config)
		want  map[string]string
	}{
		{"none", func(*Config) {}, map[string]string{"http": ":80"}},
		{"one", web, map[string]string{"web": ":80"}},
		{"plain API", func(c *Config) { web(c); c.API = &API{} }, map[string]string{"web": ":80"}},
		{"insecure API", func(c *Config) { web(c); c.API = &API{Insecure: true} }, map[string]string{"web": ":80", "traefik": ":8080"}},
		{"insecure API, none", func(c *Config) { c.API = &API{Insecure: true} }, map[string]string{"http": ":80", "traefik": ":8080"}},
		{
			"insecure API, own address", func(c *Config) { c.EntryPoints["traefik"] = at(":9"); c.API = &API{Insecure: true} },
			map[string]string{"traefik": ":9"},
		},
		{"ping", func(c *Config) { web(c); c.Ping = &Ping{EntryPoint: "traefik"} }, map[string]string{"web": ":80", "traefik": ":8080"}},
		{"ping elsewhere", func(c *Config) { web(c); c.Ping = &Ping{EntryPoint: "web"} }, map[string]string{"web": ":80"}},
		{
			"ping by hand", func(c *Config) { web(c); c.Ping = &Ping{EntryPoint: "traefik", ManualRouting: true} },
			map[string]string{"web": ":80"},
		},
		{
			"prometheus", func(c *Config) { web(c); c.Metrics = &Metrics{Prometheus: &Prometheus{EntryPoint: "traefik"}} },
			map[string]string{"web": ":80", "traefik": ":8080"},
		},
		{"other metrics", func(c *Config) { web(c); c.Metrics = &Metrics{StatsD: &StatsD{}} }, map[string]string{"web": ":80"}},
		{"rest", func(c *Config) { web(c); c.Providers.Rest = &Rest{Insecure: true} }, map[string]string{"web": ":80", "traefik": ":8080"}},
		{"nil entry", func(c *Config) { c.EntryPoints["web"] = nil }, map[string]string{"http": ":80"}},
	}
	for _, row := range rows {
		c := New()
		row.setup(c)
		before := len(c.EntryPoints)
		got := map[string]string{}
		for name, ep := range EffectiveEntryPoints(c) {
			got[name] = ep.Address
			if row.name != "nil entry" && ep.HTTP.MaxHeaderBytes == 0 {
				t.Errorf("%s: entry point %s has no defaults", row.name, name)
			}
		}
		if !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s: got %v, want %v", row.name, got, row.want)
		}
		if len(c.EntryPoints) != before {
			t.Errorf("%s: the configuration was written to", row.name)
		}
	}
}

func TestDefaultEntryPoints(t *testing.T) {
	flagged := func(address string) *EntryPoint {
		ep := at(address)
		ep.AsDefault = true
		return ep
	}
	rows := []struct {
		name     string
		eps      map[string]*EntryPoint
		tcp, udp []string
	}{
		{"all", map[string]*EntryPoint{"web": at(":80"), "secure": at(":443")}, []string{"secure", "web"}, nil},
		{
			"not traefik, not UDP", map[string]*EntryPoint{"web": at(":80"), "traefik": at(":8080"), "dns": at(":53/udp")},
			[]string{"web"}, []string{"dns"},
		},
		{"flagged only", map[string]*EntryPoint{"web": at(":80"), "secure": flagged(":443")}, []string{"secure"}, nil},
		{"flagging traefik leaves none", map[string]*EntryPoint{"web": at(":80"), "traefik": flagged(":8080")}, nil, nil},
		{
			"flagging UDP leaves none", map[string]*EntryPoint{"web": at(":80"), "b": at(":5/udp"), "a": flagged(":53/UDP")},
			nil, []string{"a", "b"},
		},
		{"none", nil, nil, nil},
	}
	for _, row := range rows {
		if got := DefaultEntryPoints(row.eps); !slices.Equal(got, row.tcp) {
			t.Errorf("%s: TCP: got %v, want %v", row.name, got, row.tcp)
		}
		if got := UDPEntryPoints(row.eps); !slices.Equal(got, row.udp) {
			t.Errorf("%s: UDP: got %v, want %v", row.name, got, row.udp)
		}
	}
}

func TestRedirectPort(t *testing.T) {
	eps := map[string]*EntryPoint{"secure": at("10.0.0.1:8443"), "dns": at(":53/udp"), "bad": at("x")}
	rows := []struct {
		to   string
		want uint16
		ok   bool
	}{
		{"secure", 8443, true}, {":443", 443, true}, {"Secure", 0, false}, {"dns", 0, false}, {"bad", 0, false},
		{":x", 0, false}, {"", 0, false},
	}
	for _, row := range rows {
		got, err := RedirectPort(eps, row.to)
		if got != row.want || (err == nil) != row.ok {
			t.Errorf("%q: got %d, %v, want %d", row.to, got, err, row.want)
		}
	}
}

func TestEffective(t *testing.T) {
	c := New()
	c.Providers.Precedence = []string{"File", "DOCKER"}
	c.Providers.Docker = &Docker{HTTPClientTimeout: -1}
	c.Providers.Swarm = &Swarm{HTTPClientTimeout: dynamic.Seconds(3), RefreshSeconds: -1}
	c.Tracing = &Tracing{GlobalAttributes: map[string]string{"a": "b"}}
	c.CertificatesResolvers = map[string]*CertificatesResolver{
		"empty":   {ACME: &ACME{}},
		"old":     {ACME: &ACME{CAServer: "https://acme-v01.api.letsencrypt.org/directory"}},
		"staging": {ACME: &ACME{CAServer: "https://acme-staging.api.letsencrypt.org/directory"}},
		"other": {ACME: &ACME{CAServer: "https://ca.example/dir", DNSChallenge: &DNSChallenge{
			DelayBeforeCheck: dynamic.Seconds(7), DisablePropagationCheck: true, Propagation: &Propagation{RequireAllRNS: true},
		}}},
		"tail": {Tailscale: &Tailscale{}},
	}
	before := text(t, c)
	e := Effective(c)
	if after := text(t, c); after != before {
		t.Errorf("the configuration was written to:\n%s\n%s", before, after)
	}

	if got := e.Providers.Precedence; !slices.Equal(got, []string{"file", "docker"}) {
		t.Errorf("precedence: got %v", got)
	}
	if d := e.Providers.Docker; d.HTTPClientTimeout != 0 || d.SwarmModeRefreshSeconds != dynamic.Seconds(15) {
		t.Errorf("docker: got %v, %v", d.HTTPClientTimeout, d.SwarmModeRefreshSeconds)
	}
	if s := e.Providers.Swarm; s.HTTPClientTimeout != dynamic.Seconds(3) || s.RefreshSeconds != dynamic.Seconds(15) {
		t.Errorf("swarm: got %v, %v", s.HTTPClientTimeout, s.RefreshSeconds)
	}
	if e.Tracing.ResourceAttributes["a"] != "b" {
		t.Errorf("tracing: got %v", e.Tracing.ResourceAttributes)
	}
	for name, want := range map[string]string{
		"empty": LetsEncrypt, "old": LetsEncrypt, "staging": LetsEncryptStaging, "other": "https://ca.example/dir",
	} {
		if got := e.CertificatesResolvers[name].ACME.CAServer; got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	want := Propagation{DisableChecks: true, RequireAllRNS: true, DelayBeforeChecks: dynamic.Seconds(7)}
	if got := *e.CertificatesResolvers["other"].ACME.DNSChallenge.Propagation; got != want {
		t.Errorf("propagation: got %+v, want %+v", got, want)
	}
	if e.CertificatesResolvers["tail"] != c.CertificatesResolvers["tail"] {
		t.Error("what stays the same is not shared")
	}
	if again := Effective(e); text(t, again) != text(t, e) {
		t.Error("a second pass changes something")
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
