package static

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// checkProviders looks at the providers. A provider that cannot work is left out at start, which is a warning here.
func (v *validation) checkProviders() {
	pr := v.config.Providers
	if pr == nil {
		return
	}
	root := keyPath{"providers"}
	for i, name := range pr.Precedence {
		if !slices.Contains(ProviderNames(), strings.ToLower(name)) {
			v.err(root.at("precedence", strconv.Itoa(i)), CodeUnknownProvider, fmt.Sprintf("%q is no provider", name),
				diag.DidYouMean(name, ProviderNames()))
		}
	}
	if f := pr.File; f != nil && f.Filename == "" && f.Directory == "" {
		v.warn(root.at("file"), CodeMissing, "neither filename nor directory is set: nothing is read", "set one of them")
	}
	v.checkDocker(root.at("docker"), pr.Docker)
	if s := pr.Swarm; s != nil {
		v.checkClientTLS(root.at("swarm", "tls"), s.TLS)
	}
	if h := pr.HTTP; h != nil {
		p := root.at("http")
		if h.Endpoint == "" {
			v.warn(p, CodeMissing, "no endpoint: nothing is fetched", "set endpoint to a URL")
		}
		if h.PollInterval <= 0 {
			v.warn(p.at("pollInterval"), CodeBadValue, "the poll interval must be more than zero: nothing is fetched", "")
		}
		v.checkClientTLS(p.at("tls"), h.TLS)
	}
	v.checkStores(root, pr)
	if k := pr.KubernetesIngressNGINX; k != nil && k.WatchNamespace != "" && k.WatchNamespaceSelector != "" {
		v.err(root.at("kubernetesIngressNGINX"), CodeConflict, "watchNamespace and watchNamespaceSelector exclude each other", "")
	}
	if pr.Knative != nil && (v.config.Experimental == nil || !v.config.Experimental.Knative) {
		v.err(root.at("knative"), CodeMissing, "this provider needs experimental.knative", "")
	}
}

func (v *validation) checkDocker(p keyPath, d *Docker) {
	if d == nil {
		return
	}
	v.checkClientTLS(p.at("tls"), d.TLS)
	switch d.OnEngineLost {
	case "", EngineLostKeep, EngineLostDrop:
	default:
		v.err(p.at("onEngineLost"), CodeBadValue, fmt.Sprintf("unknown value %q", d.OnEngineLost), "want keep or drop")
	}
	for _, name := range sorted(d.Engines) {
		e := d.Engines[name]
		if e == nil || e.Endpoint == "" {
			v.warn(p.at("engines", name), CodeMissing, "no endpoint: the engine is not read", "")
			continue
		}
		v.checkClientTLS(p.at("engines", name, "tls"), e.TLS)
	}
}

// checkStores looks at key-value stores and catalogs.
func (v *validation) checkStores(root keyPath, pr *Providers) {
	if c := pr.Consul; c != nil {
		v.checkClientTLS(root.at("consul", "tls"), c.TLS)
	}
	if e := pr.Etcd; e != nil {
		v.checkClientTLS(root.at("etcd", "tls"), e.TLS)
	}
	if r := pr.Redis; r != nil {
		v.checkClientTLS(root.at("redis", "tls"), r.TLS)
		if s := r.Sentinel; s != nil {
			n := 0
			for _, on := range []bool{s.LatencyStrategy, s.RandomStrategy, s.ReplicaStrategy} {
				if on {
					n++
				}
			}
			if n > 1 {
				v.warn(root.at("redis", "sentinel"), CodeConflict, "more than one strategy is set: nothing is read", "")
			}
		}
	}
	if c := pr.ConsulCatalog; c != nil && c.Endpoint != nil {
		v.checkClientTLS(root.at("consulCatalog", "endpoint", "tls"), c.Endpoint.TLS)
	}
	if n := pr.Nomad; n != nil {
		if n.Endpoint != nil {
			v.checkClientTLS(root.at("nomad", "endpoint", "tls"), n.Endpoint.TLS)
		}
		if slices.Contains(n.Namespaces, "*") || n.Namespace == "*" {
			v.warn(root.at("nomad", "namespaces"), CodeBadValue, `the namespace "*" is not accepted: nothing is read`, "list them")
		}
	}
}

// checkClientTLS warns where only half of a key pair is given.
func (v *validation) checkClientTLS(p keyPath, t *dynamic.ClientTLS) {
	if t == nil || t.Cert.IsZero() == t.Key.IsZero() {
		return
	}
	v.warn(p, CodeMissing, "cert and key go together: the connection cannot be made", "")
}

// checkResolvers looks at certificate resolvers.
func (v *validation) checkResolvers() {
	for _, name := range sorted(v.config.CertificatesResolvers) {
		p := keyPath{"certificatesResolvers", name}
		r := v.config.CertificatesResolvers[name]
		switch {
		case r == nil || (r.ACME == nil && r.Tailscale == nil):
			v.warn(p, CodeMissing, "neither acme nor tailscale is set: no certificate is got", "")
		case r.ACME != nil && r.Tailscale != nil:
			v.err(p, CodeConflict, "acme and tailscale exclude each other", "")
		case r.ACME != nil:
			v.checkACME(p.at("acme"), r.ACME)
		}
	}
}

func (v *validation) checkACME(p keyPath, a *ACME) {
	if a.Storage == "" {
		v.err(p.at("storage"), CodeMissing, "the storage is empty", `leave it out for "acme.json"`)
	}
	v.oneOf(p.at("keyType"), a.KeyType, KeyTypes(), "RSA4096 is used")
	if a.ClientTimeout < a.ClientResponseHeaderTimeout {
		v.warn(p.at("clientTimeout"), CodeConflict,
			"it is shorter than clientResponseHeaderTimeout: the resolver is not used", "")
	}
	if a.DNSChallenge == nil && a.HTTPChallenge == nil && a.TLSChallenge == nil {
		v.warn(p, CodeMissing, "no challenge is set: no certificate is got", "set httpChallenge, tlsChallenge or dnsChallenge")
	}
	if d := a.DNSChallenge; d != nil && d.Provider == "" {
		v.warn(p.at("dnsChallenge"), CodeMissing, "no provider is set: the challenge cannot be used", "")
	}
	if h := a.HTTPChallenge; h != nil {
		if h.EntryPoint == "" {
			v.warn(p.at("httpChallenge"), CodeMissing, "no entryPoint is set: the challenge cannot be used",
				"name the entry point that is reached on port 80")
		} else {
			v.knownEntryPoint(p.at("httpChallenge", "entryPoint"), h.EntryPoint, "the challenge cannot be used")
		}
	}
	v.checkACMEDetails(p, a)
	if o := a.OnDemand; o != nil && o.Ask == "" && len(o.Allow) == 0 {
		v.err(p.at("onDemand"), CodeMissing, "certificates on demand need a limit to who may get one", "set ask or allow")
	}
	if x := a.Export; x != nil && x.Directory == "" {
		v.warn(p.at("export"), CodeMissing, "no directory is set: nothing is exported", "")
	}
}

// checkTelemetry looks at logs, metrics and traces.
func (v *validation) checkTelemetry() {
	c := v.config
	permitted := c.Experimental != nil && c.Experimental.OTLPLogs
	if l := c.Log; l != nil {
		p := keyPath{"log"}
		if !isLevelNumber(l.Level) {
			v.oneOf(p.at("level"), l.Level, append(LogLevels(), "disabled"), "ERROR is used")
		}
		v.oneOf(p.at("format"), l.Format, []string{FormatCommon, FormatJSON}, "common is used")
		v.checkOTLPLog(p.at("otlp"), l.OTLP, permitted)
	}
	if l := c.AccessLog; l != nil {
		p := keyPath{"accessLog"}
		v.oneOf(p.at("format"), l.Format, AccessLogFormats(), "common is used")
		v.checkOTLPLog(p.at("otlp"), l.OTLP, permitted)
		v.checkAccessLogFields(p.at("fields"), l.Fields)
		if l.Filters != nil {
			v.checkStatusCodes(p.at("filters", "statusCodes"), l.Filters.StatusCodes)
		}
	}
	if m := c.Metrics; m != nil {
		v.checkMetrics(m)
		if m.OTLP != nil {
			v.checkOTLPGRPC(keyPath{"metrics", "otlp", "grpc"}, m.OTLP.GRPC)
			v.checkOTLPHTTP(keyPath{"metrics", "otlp", "http"}, m.OTLP.HTTP)
		}
	}
	if t := c.Tracing; t != nil {
		if t.OTLP != nil {
			v.checkOTLPGRPC(keyPath{"tracing", "otlp", "grpc"}, t.OTLP.GRPC)
			v.checkOTLPHTTP(keyPath{"tracing", "otlp", "http"}, t.OTLP.HTTP)
		}
		if t.SampleRate < 0 || t.SampleRate > 1 {
			v.warn(keyPath{"tracing", "sampleRate"}, CodeBadValue, fmt.Sprintf("%v is no share", t.SampleRate), "want 0 to 1")
		}
	}
}

// checkStatusCodes reports what is neither a code (200) nor a range of codes (300-399).
func (v *validation) checkStatusCodes(p keyPath, codes []string) {
	for _, text := range codes {
		if !isCodeRange(text) {
			v.warn(p, CodeBadValue, fmt.Sprintf("%q is no status code, nothing passes by it", text), "want 404, or 500-599")
		}
	}
}

func isCodeRange(text string) bool {
	low, high, isRange := strings.Cut(text, "-")
	if !isRange {
		high = low
	}
	from, err1 := strconv.Atoi(strings.TrimSpace(low))
	to, err2 := strconv.Atoi(strings.TrimSpace(high))
	return err1 == nil && err2 == nil && from <= to
}

// ourLabels are the labels that request counters have anyway.
var ourLabels = []string{"code", "method", "protocol", "entrypoint", "router", "service"}

var labelSyntax = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// checkMetrics looks at what would stop metrics from being counted or sent.
func (v *validation) checkMetrics(m *Metrics) {
	if p := m.Prometheus; p != nil {
		for _, label := range sorted(p.HeaderLabels) {
			if !labelSyntax.MatchString(label) || strings.HasPrefix(label, "__") || slices.Contains(ourLabels, label) {
				v.err(keyPath{"metrics", "prometheus", "headerLabels", label}, CodeBadValue, fmt.Sprintf("%q cannot be a label of our counters", label),
					"letters, digits and underscores, and none of "+strings.Join(ourLabels, ", "))
			}
		}
	}
	interval := func(kind string, used bool, d func() dynamic.Duration) {
		if used && d() <= 0 {
			v.err(keyPath{"metrics", kind, "pushInterval"}, CodeBadValue, "the interval must be more than zero", "10s is usual")
		}
	}
	interval("datadog", m.Datadog != nil, func() dynamic.Duration { return m.Datadog.PushInterval })
	interval("statsD", m.StatsD != nil, func() dynamic.Duration { return m.StatsD.PushInterval })
	interval("influxDB2", m.InfluxDB2 != nil, func() dynamic.Duration { return m.InfluxDB2.PushInterval })
	interval("otlp", m.OTLP != nil, func() dynamic.Duration { return m.OTLP.PushInterval })
}

// isLevelNumber reports whether a log level is written as a number, from -1 (trace) to 5 (panic).
func isLevelNumber(text string) bool {
	n, err := strconv.Atoi(text)
	return err == nil && -1 <= n && n <= 5
}

func (v *validation) checkAccessLogFields(p keyPath, f *AccessLogFields) {
	if f == nil {
		return
	}
	modes := []string{FieldKeep, FieldDrop}
	v.oneOf(p.at("defaultMode"), f.DefaultMode, modes, "keep is used")
	for _, name := range sorted(f.Names) {
		v.oneOf(p.at("names", name), f.Names[name], modes, "the default mode is used")
	}
	if h := f.Headers; h != nil {
		modes := append(modes, FieldRedact)
		v.oneOf(p.at("headers", "defaultMode"), h.DefaultMode, modes, "drop is used")
		for _, name := range sorted(h.Names) {
			v.oneOf(p.at("headers", "names", name), h.Names[name], modes, "the default mode is used")
		}
	}
	if q := f.QueryParameters; q != nil {
		v.oneOf(p.at("queryParameters", "defaultMode"), q.DefaultMode, modes, "keep is used")
	}
}

func (v *validation) checkOTLPLog(p keyPath, o *OTLPLog, permitted bool) {
	if o == nil {
		return
	}
	if !permitted {
		v.err(p, CodeMissing, "sending logs by OTLP needs experimental.otlplogs", "")
	}
	v.checkOTLPGRPC(p.at("grpc"), o.GRPC)
	v.checkOTLPHTTP(p.at("http"), o.HTTP)
}

func (v *validation) checkOTLPGRPC(p keyPath, g *OTLPGRPC) {
	if g == nil {
		return
	}
	if g.Insecure && g.TLS != nil {
		v.err(p, CodeConflict, "insecure and tls exclude each other", "")
	}
	v.checkClientTLS(p.at("tls"), g.TLS)
}

func (v *validation) checkOTLPHTTP(p keyPath, h *OTLPHTTP) {
	if h != nil {
		v.checkClientTLS(p.at("tls"), h.TLS)
	}
}

// checkDeprecated points at options that still work and have a better form.
func (v *validation) checkDeprecated() {
	c := v.config
	note := func(used bool, hint string, p ...string) {
		if used {
			v.add(diag.Info, p, CodeDeprecated, "this form is deprecated", hint)
		}
	}
	note(c.Core != nil && c.Core.DefaultRuleSyntax == RuleSyntaxV2, "write rules in v3 syntax", "core", "defaultRuleSyntax")
	note(c.Tracing != nil && len(c.Tracing.GlobalAttributes) > 0, "use tracing.resourceAttributes", "tracing", "globalAttributes")
	if pr := c.Providers; pr != nil {
		d := pr.Docker
		note(d != nil && d.SwarmMode, "use providers.swarm; its elements are called name@swarm", "providers", "docker", "swarmMode")
		note(pr.Consul != nil && pr.Consul.Namespace != "", "use namespaces", "providers", "consul", "namespace")
		note(pr.ConsulCatalog != nil && pr.ConsulCatalog.Namespace != "", "use namespaces", "providers", "consulCatalog", "namespace")
		note(pr.Nomad != nil && pr.Nomad.Namespace != "", "use namespaces", "providers", "nomad", "namespace")
		k := pr.KubernetesIngress
		note(k != nil && k.DisableIngressClassLookup, "use disableClusterScopeResources",
			"providers", "kubernetesIngress", "disableIngressClassLookup")
	}
	for _, name := range sorted(c.CertificatesResolvers) {
		r := c.CertificatesResolvers[name]
		if r == nil || r.ACME == nil {
			continue
		}
		p := []string{"certificatesResolvers", name, "acme"}
		if d := r.ACME.DNSChallenge; d != nil {
			note(d.DelayBeforeCheck > 0, "use propagation.delayBeforeChecks", append(p, "dnsChallenge", "delayBeforeCheck")...)
			note(d.DisablePropagationCheck, "use propagation.disableChecks", append(p, "dnsChallenge", "disablePropagationCheck")...)
		}
		note(r.ACME.CAServer == letsEncryptV1 || r.ACME.CAServer == letsEncryptStagingV1,
			"use "+effectiveACME(r.ACME).CAServer, append(p, "caServer")...)
	}
}
