package admin

import (
	"maps"
	"slices"

	"sluice/internal/core/plan"
	"sluice/internal/core/static"
)

// section counts the elements of one kind.
type section struct {
	Total    int `json:"total"`
	Warnings int `json:"warnings"`
	Errors   int `json:"errors"`
}

func count(list []element) (s section) {
	s.Total = len(list)
	for _, e := range list {
		switch e.status {
		case plan.Warning.String():
			s.Warnings++
		case plan.Disabled.String():
			s.Errors++
		}
	}
	return s
}

// features are what the static configuration switches on.
type features struct {
	Tracing   string `json:"tracing"`
	Metrics   string `json:"metrics"`
	AccessLog bool   `json:"accessLog"`
}

func (v *view) overview(certificates section) any {
	type layer struct {
		Routers     section  `json:"routers"`
		Services    section  `json:"services"`
		Middlewares *section `json:"middlewares,omitempty"`
	}
	http, tcp := count(v.httpMiddlewares()), count(v.tcpMiddlewares())
	out := struct {
		HTTP         layer    `json:"http"`
		TCP          layer    `json:"tcp"`
		UDP          layer    `json:"udp"`
		Certificates section  `json:"certificates"`
		Features     features `json:"features"`
		Providers    []string `json:"providers,omitempty"`
	}{
		HTTP:         layer{count(v.httpRouters()), count(v.httpServices()), &http},
		TCP:          layer{count(v.tcpRouters()), count(v.tcpServices()), &tcp},
		Certificates: certificates,
		UDP:          layer{Routers: count(v.udpRouters()), Services: count(v.udpServices())},
	}
	if c := v.p.Static; c != nil {
		out.Features = featuresOf(c)
		out.Providers = providersOf(c.Providers)
	}
	return out
}

func featuresOf(c *static.Config) (f features) {
	if c.Tracing != nil {
		f.Tracing = "OTLP"
	}
	f.AccessLog = c.AccessLog != nil
	if m := c.Metrics; m != nil {
		switch {
		case m.Prometheus != nil:
			f.Metrics = "Prometheus"
		case m.Datadog != nil:
			f.Metrics = "Datadog"
		case m.StatsD != nil:
			f.Metrics = "StatsD"
		case m.InfluxDB2 != nil:
			f.Metrics = "InfluxDB2"
		case m.OTLP != nil:
			f.Metrics = "OTLP"
		}
	}
	return f
}

func providersOf(p *static.Providers) (names []string) {
	if p == nil {
		return nil
	}
	for _, row := range []struct {
		name string
		on   bool
	}{
		{"Docker", p.Docker != nil}, {"Swarm", p.Swarm != nil}, {"File", p.File != nil}, {"KubernetesIngress", p.KubernetesIngress != nil},
		{"KubernetesIngressNGINX", p.KubernetesIngressNGINX != nil}, {"KubernetesCRD", p.KubernetesCRD != nil},
		{"KubernetesGateway", p.KubernetesGateway != nil}, {"Knative", p.Knative != nil}, {"Rest", p.Rest != nil},
		{"ConsulCatalog", p.ConsulCatalog != nil}, {"Nomad", p.Nomad != nil}, {"Ecs", p.ECS != nil}, {"Consul", p.Consul != nil},
		{"Etcd", p.Etcd != nil}, {"ZooKeeper", p.ZooKeeper != nil}, {"Redis", p.Redis != nil}, {"HTTP", p.HTTP != nil},
	} {
		if row.on {
			names = append(names, row.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Plugin)) {
		names = append(names, "plugin-"+name)
	}
	return names
}

// raw has all elements by kind and qualified name.
func (v *view) raw() any {
	byName := func(list []element) map[string]any {
		out := make(map[string]any, len(list))
		for _, e := range list {
			out[e.name] = e.show(false)
		}
		return out
	}
	return struct {
		Routers        map[string]any `json:"routers,omitempty"`
		Middlewares    map[string]any `json:"middlewares,omitempty"`
		Services       map[string]any `json:"services,omitempty"`
		TCPRouters     map[string]any `json:"tcpRouters,omitempty"`
		TCPMiddlewares map[string]any `json:"tcpMiddlewares,omitempty"`
		TCPServices    map[string]any `json:"tcpServices,omitempty"`
		UDPRouters     map[string]any `json:"udpRouters,omitempty"`
		UDPServices    map[string]any `json:"udpServices,omitempty"`
	}{
		byName(v.httpRouters()), byName(v.httpMiddlewares()), byName(v.httpServices()),
		byName(v.tcpRouters()), byName(v.tcpMiddlewares()), byName(v.tcpServices()),
		byName(v.udpRouters()), byName(v.udpServices()),
	}
}

// entryPoints are those of the static configuration, by name.
func (v *view) entryPoints() (list []element) {
	if v.p.Static == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(v.p.Static.EntryPoints)) {
		ep := v.p.Static.EntryPoints[name]
		list = append(list, element{name: name, show: func(bool) map[string]any {
			out := object(ep)
			out["name"] = name
			return out
		}})
	}
	return list
}
