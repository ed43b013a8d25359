package static

import "sluice/internal/core/diag"

// CodeNotSupported is the code of findings about options that are read and do nothing yet.
const CodeNotSupported = "NOT-SUPPORTED"

// gap is an option that is read and does nothing yet. Whoever makes it work removes its row.
type gap struct {
	severity diag.Severity
	path     []string
	used     func(c *Config) bool
}

// gaps lists them. An error decides what is reached, by whom, or under which certificate; a warning is everything else.
var gaps = []gap{
	providerGap("kubernetesIngress", func(p *Providers) bool { return p.KubernetesIngress != nil }),
	providerGap("kubernetesIngressNGINX", func(p *Providers) bool { return p.KubernetesIngressNGINX != nil }),
	providerGap("kubernetesCRD", func(p *Providers) bool { return p.KubernetesCRD != nil }),
	providerGap("kubernetesGateway", func(p *Providers) bool { return p.KubernetesGateway != nil }),
	providerGap("knative", func(p *Providers) bool { return p.Knative != nil }),
	providerGap("consulCatalog", func(p *Providers) bool { return p.ConsulCatalog != nil }),
	providerGap("nomad", func(p *Providers) bool { return p.Nomad != nil }),
	providerGap("ecs", func(p *Providers) bool { return p.ECS != nil }),
	providerGap("consul", func(p *Providers) bool { return p.Consul != nil }),
	providerGap("etcd", func(p *Providers) bool { return p.Etcd != nil }),
	providerGap("zooKeeper", func(p *Providers) bool { return p.ZooKeeper != nil }),
	providerGap("redis", func(p *Providers) bool { return p.Redis != nil }),
	providerGap("plugin", func(p *Providers) bool { return len(p.Plugin) > 0 }),

	{diag.Error, []string{"serversTransport", "spiffe"}, func(c *Config) bool {
		return c.ServersTransport != nil && c.ServersTransport.Spiffe != nil
	}},
	{diag.Error, []string{"tcpServersTransport", "tls", "spiffe"}, func(c *Config) bool {
		return c.TCPServersTransport != nil && c.TCPServersTransport.TLS != nil && c.TCPServersTransport.TLS.Spiffe != nil
	}},
	{diag.Error, []string{"spiffe"}, func(c *Config) bool { return c.Spiffe != nil && c.Spiffe.WorkloadAPIAddr != "" }},
	{diag.Error, []string{"hostResolver", "cnameFlattening"}, func(c *Config) bool {
		return c.HostResolver != nil && c.HostResolver.CNAMEFlattening
	}},

	{diag.Warning, []string{"accessLog", "otlp"}, func(c *Config) bool { return c.AccessLog != nil && c.AccessLog.OTLP != nil }},
	{diag.Warning, []string{"log", "otlp"}, func(c *Config) bool { return c.Log != nil && c.Log.OTLP != nil }},
	{diag.Warning, []string{"experimental", "plugins"}, func(c *Config) bool {
		return c.Experimental != nil && len(c.Experimental.Plugins) > 0
	}},
	{diag.Warning, []string{"experimental", "localPlugins"}, func(c *Config) bool {
		return c.Experimental != nil && len(c.Experimental.LocalPlugins) > 0
	}},
}

// entryPointGaps are the same for options below a named entry point, resolverGaps below a named certificate resolver.
var (
	entryPointGaps = []struct {
		severity diag.Severity
		path     []string
		used     func(e *EntryPoint) bool
	}{
		{diag.Warning, []string{"http3"}, func(e *EntryPoint) bool { return e.HTTP3 != nil }},
	}
	resolverGaps = []struct {
		severity diag.Severity
		path     []string
		used     func(r *CertificatesResolver) bool
	}{
		{diag.Error, []string{"tailscale"}, func(r *CertificatesResolver) bool { return r.Tailscale != nil }},
	}
)

// providerGap is the row of a provider. Its elements are missing, so it is an error.
func providerGap(key string, used func(p *Providers) bool) gap {
	return gap{diag.Error, []string{"providers", key}, func(c *Config) bool { return c.Providers != nil && used(c.Providers) }}
}

// checkSupported reports each gap that the configuration falls into.
func (v *validation) checkSupported() {
	report := func(s diag.Severity, p keyPath, what string) {
		v.add(s, p, CodeNotSupported, what+" is not supported yet", "")
	}
	for _, g := range gaps {
		if g.used(v.config) {
			report(g.severity, g.path, g.path[len(g.path)-1])
		}
	}
	for _, name := range sorted(v.config.EntryPoints) {
		for _, g := range entryPointGaps {
			if ep := v.config.EntryPoints[name]; ep != nil && g.used(ep) {
				report(g.severity, keyPath{"entryPoints", name}.at(g.path...), g.path[len(g.path)-1])
			}
		}
	}
	for _, name := range sorted(v.config.CertificatesResolvers) {
		for _, g := range resolverGaps {
			if r := v.config.CertificatesResolvers[name]; r != nil && g.used(r) {
				report(g.severity, keyPath{"certificatesResolvers", name}.at(g.path...), g.path[len(g.path)-1])
			}
		}
	}
}
