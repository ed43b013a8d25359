package static

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// lines prints findings without those that only say what is not supported yet.
func lines(findings diag.List) []string {
	var out []string
	for _, f := range findings {
		if f.Code != CodeNotSupported {
			out = append(out, fmt.Sprintf("%v %s %s", f.Severity, f.Key, f.Code))
		}
	}
	return out
}

func TestValidate(t *testing.T) {
	web := func(change func(e *EntryPoint)) func(c *Config) {
		return func(c *Config) {
			c.EntryPoints["web"] = newEntryPoint(":80")
			change(c.EntryPoints["web"])
		}
	}
	le := func(change func(a *ACME)) func(c *Config) {
		return func(c *Config) {
			a := &ACME{TLSChallenge: &TLSChallenge{}}
			a.SetDefaults()
			change(a)
			c.CertificatesResolvers = map[string]*CertificatesResolver{"le": {ACME: a}}
		}
	}
	half := &dynamic.ClientTLS{Cert: dynamic.Material{Written: "cert.pem"}}
	grpc := &OTLPGRPC{Insecure: true, TLS: &dynamic.ClientTLS{}}

	rows := []struct {
		name  string
		setup func(c *Config)
		want  []string
	}{
		{"nothing", func(*Config) {}, nil},
		{"plain entry point", web(func(*EntryPoint) {}), nil},

		// Entry points.
		{"bad protocol", web(func(e *EntryPoint) { e.Address = ":80/quic" }), []string{"error entryPoints.web.address BAD-ADDRESS"}},
		{"no port", web(func(e *EntryPoint) { e.Address = "80" }), []string{"error entryPoints.web.address BAD-ADDRESS"}},
		{"empty entry point", web(func(e *EntryPoint) { e.Address = "" }), []string{"warning entryPoints.web MISSING-OPTION"}},
		{
			"proxy protocol trusts nobody", web(func(e *EntryPoint) { e.ProxyProtocol = &ProxyProtocol{} }),
			[]string{"error entryPoints.web.proxyProtocol MISSING-OPTION"},
		},
		{"proxy protocol", web(func(e *EntryPoint) {
			e.ProxyProtocol = &ProxyProtocol{TrustedIPs: []string{"10.0.0.0/8", "::1", "10.0.0.7/8"}}
		}), nil},
		{
			"bad CIDR", web(func(e *EntryPoint) {
				e.ProxyProtocol = &ProxyProtocol{Insecure: true, TrustedIPs: []string{"10.0.0.1", "10.0.0.0/33"}}
				e.ForwardedHeaders.TrustedIPs = []string{""}
			}),
			[]string{
				"error entryPoints.web.forwardedHeaders.trustedIPs.0 BAD-VALUE",
				"error entryPoints.web.proxyProtocol.trustedIPs.1 BAD-VALUE",
			},
		},
		{
			"negative numbers", web(func(e *EntryPoint) {
				e.HTTP2 = HTTP2{-1, -1, 1 << 31}
				e.HTTP3 = &HTTP3{AdvertisedPort: -1}
			}),
			[]string{
				"error entryPoints.web.http2.maxConcurrentStreams BAD-VALUE",
				"error entryPoints.web.http2.maxDecoderHeaderTableSize BAD-VALUE",
				"error entryPoints.web.http2.maxEncoderHeaderTableSize BAD-VALUE",
				"error entryPoints.web.http3.advertisedPort BAD-VALUE",
			},
		},
		{
			"underscores", web(func(e *EntryPoint) { e.HTTP.UnderscoreHeadersStrategy = "drop" }),
			[]string{"error entryPoints.web.http.underscoreHeadersStrategy BAD-VALUE"},
		},
		{
			"UDP timeout", web(func(e *EntryPoint) { e.Address, e.UDP.Timeout = ":53/udp", 0 }),
			[]string{"error entryPoints.web.udp.timeout BAD-VALUE"},
		},
		{"UDP timeout of a TCP entry point", web(func(e *EntryPoint) { e.UDP.Timeout = 0 }), nil},
		{
			"redirection nowhere", web(func(e *EntryPoint) { e.HTTP.Redirections = &Redirections{&Redirection{}} }),
			[]string{"warning entryPoints.web.http.redirections.entryPoint MISSING-OPTION"},
		},
		{
			"redirection to nobody", web(func(e *EntryPoint) { e.HTTP.Redirections = &Redirections{&Redirection{To: "secure"}} }),
			[]string{"warning entryPoints.web.http.redirections.entryPoint.to UNKNOWN-ENTRYPOINT"},
		},
		{"redirection", web(func(e *EntryPoint) { e.HTTP.Redirections = &Redirections{&Redirection{To: ":443"}} }), nil},
		{
			"unknown resolver", web(func(e *EntryPoint) { e.HTTP.TLS = &dynamic.RouterTLS{CertResolver: "le"} }),
			[]string{"warning entryPoints.web.http.tls.certResolver UNKNOWN-RESOLVER"},
		},
		{
			"verbosity", web(func(e *EntryPoint) { e.Observability = &Observability{TraceVerbosity: "loud"} }),
			[]string{"warning entryPoints.web.observability.traceVerbosity BAD-VALUE"},
		},
		{"same port", func(c *Config) {
			c.EntryPoints["a"], c.EntryPoints["b"] = newEntryPoint(":80"), newEntryPoint("127.0.0.1:80")
			c.EntryPoints["c"] = newEntryPoint(":80/udp")
		}, []string{"error entryPoints.b.address ADDRESS-IN-USE"}},
		{"same port, other host", func(c *Config) {
			c.EntryPoints["a"], c.EntryPoints["b"] = newEntryPoint("10.0.0.1:80"), newEntryPoint("127.0.0.1:80")
		}, nil},
		{"shared port", func(c *Config) {
			c.EntryPoints["a"], c.EntryPoints["b"] = newEntryPoint(":80"), newEntryPoint(":80")
			c.EntryPoints["a"].ReusePort, c.EntryPoints["b"].ReusePort = true, true
		}, nil},
		{"ports of the system's choice", func(c *Config) {
			c.EntryPoints["a"], c.EntryPoints["b"] = newEntryPoint(":0"), newEntryPoint(":0")
		}, nil},
		{"HTTP/3 and UDP", func(c *Config) {
			c.EntryPoints["a"], c.EntryPoints["b"] = newEntryPoint(":443"), newEntryPoint(":443/udp")
			c.EntryPoints["a"].HTTP3 = &HTTP3{}
		}, []string{"error entryPoints.b.address ADDRESS-IN-USE"}},

		// What we serve ourselves.
		{
			"rule syntax", func(c *Config) { c.Core = &Core{DefaultRuleSyntax: "V2"} },
			[]string{"error core.defaultRuleSyntax BAD-VALUE"},
		},
		{
			"rule syntax v2", func(c *Config) { c.Core = &Core{DefaultRuleSyntax: "v2"} },
			[]string{"info core.defaultRuleSyntax DEPRECATED"},
		},
		{"base path", func(c *Config) { c.API = &API{BasePath: "/a b"} }, []string{"error api.basePath BAD-VALUE"}},
		{
			"base path with insecure", func(c *Config) {
				c.API = &API{BasePath: "/x", Insecure: true}
				c.EntryPoints["traefik"] = newEntryPoint("127.0.0.1:8080")
			},
			[]string{"warning api.basePath OPTION-CONFLICT"},
		},
		{"insecure API", func(c *Config) { c.API = &API{Insecure: true} }, []string{"warning api.insecure EXPOSED-API"}},
		{"insecure API on loopback", func(c *Config) {
			c.API = &API{Insecure: true, BasePath: "/"}
			c.EntryPoints["traefik"] = newEntryPoint("[::1]:8080")
		}, nil},
		{
			"insecure rest", func(c *Config) { c.Providers.Rest = &Rest{Insecure: true} },
			[]string{"warning providers.rest.insecure EXPOSED-API"},
		},
		{
			"ping nowhere", func(c *Config) { c.Ping = &Ping{EntryPoint: "nowhere"} },
			[]string{"warning ping.entryPoint UNKNOWN-ENTRYPOINT"},
		},
		{"ping on the default", func(c *Config) { c.Ping = &Ping{}; c.Ping.SetDefaults() }, nil},
		{
			"prometheus on UDP", func(c *Config) {
				c.EntryPoints["dns"] = newEntryPoint(":53/udp")
				c.Metrics = &Metrics{Prometheus: &Prometheus{EntryPoint: "dns"}}
			},
			[]string{"warning metrics.prometheus.entryPoint UNKNOWN-ENTRYPOINT"},
		},
		{
			"empty OCSP override", func(c *Config) { c.OCSP = &OCSP{map[string]string{"http://a": ""}} },
			[]string{"error ocsp.responderOverrides.http://a MISSING-OPTION"},
		},
		{"plugins of one name", func(c *Config) {
			c.Experimental = &Experimental{
				Plugins:      map[string]*Plugin{"x": {}},
				LocalPlugins: map[string]*LocalPlugin{"x": {}, "y": {}},
			}
		}, []string{"warning experimental.localPlugins.x OPTION-CONFLICT"}},

		// Providers.
		{
			"precedence", func(c *Config) { c.Providers.Precedence = []string{"Docker", "dokcer"} },
			[]string{"error providers.precedence.1 UNKNOWN-PROVIDER"},
		},
		{"file without a path", func(c *Config) { c.Providers.File = &File{} }, []string{"warning providers.file MISSING-OPTION"}},
		{"file", func(c *Config) { c.Providers.File = &File{Directory: "d"} }, nil},
		{
			"HTTP without endpoint", func(c *Config) { c.Providers.HTTP = &HTTP{} },
			[]string{"warning providers.http MISSING-OPTION", "warning providers.http.pollInterval BAD-VALUE"},
		},
		{
			"docker", func(c *Config) {
				c.Providers.Docker = &Docker{
					OnEngineLost: "forget",
					TLS:          half,
					SwarmMode:    true,
					Engines:      map[string]*DockerEngine{"a": {}, "b": {Endpoint: "tcp://b", TLS: half}},
				}
			},
			[]string{
				"warning providers.docker.engines.a MISSING-OPTION", "warning providers.docker.engines.b.tls MISSING-OPTION",
				"error providers.docker.onEngineLost BAD-VALUE", "info providers.docker.swarmMode DEPRECATED",
				"warning providers.docker.tls MISSING-OPTION",
			},
		},
		{
			"stores", func(c *Config) {
				p := c.Providers
				p.Consul = &Consul{TLS: half, Namespace: "x"}
				p.Etcd = &Etcd{TLS: half}
				p.Redis = &Redis{TLS: half, Sentinel: &RedisSentinel{RandomStrategy: true, ReplicaStrategy: true}}
				p.ConsulCatalog = &ConsulCatalog{Endpoint: &ConsulEndpoint{TLS: half}}
				p.Nomad = &Nomad{Endpoint: &NomadEndpoint{TLS: half}, Namespaces: []string{"*"}}
				p.Swarm = &Swarm{TLS: half}
			},
			[]string{
				"info providers.consul.namespace DEPRECATED", "warning providers.consul.tls MISSING-OPTION",
				"warning providers.consulCatalog.endpoint.tls MISSING-OPTION", "warning providers.etcd.tls MISSING-OPTION",
				"warning providers.nomad.endpoint.tls MISSING-OPTION", "warning providers.nomad.namespaces BAD-VALUE",
				"warning providers.redis.sentinel OPTION-CONFLICT", "warning providers.redis.tls MISSING-OPTION",
				"warning providers.swarm.tls MISSING-OPTION",
			},
		},
		{
			"nginx", func(c *Config) {
				c.Providers.KubernetesIngressNGINX = &KubernetesIngressNGINX{WatchNamespace: "a", WatchNamespaceSelector: "b"}
			},
			[]string{"error providers.kubernetesIngressNGINX OPTION-CONFLICT"},
		},
		{"knative", func(c *Config) { c.Providers.Knative = &Knative{} }, []string{"error providers.knative MISSING-OPTION"}},
		{"knative permitted", func(c *Config) {
			c.Providers.Knative = &Knative{}
			c.Experimental = &Experimental{Knative: true}
		}, nil},

		// Resolvers.
		{"resolver", le(func(*ACME) {}), nil},
		{
			"empty resolver", func(c *Config) { c.CertificatesResolvers = map[string]*CertificatesResolver{"le": {}} },
			[]string{"warning certificatesResolvers.le MISSING-OPTION"},
		},
		{
			"two kinds", func(c *Config) {
				c.CertificatesResolvers = map[string]*CertificatesResolver{"le": {ACME: &ACME{}, Tailscale: &Tailscale{}}}
			},
			[]string{"error certificatesResolvers.le OPTION-CONFLICT"},
		},
		{"no storage", le(func(a *ACME) { a.Storage = "" }), []string{"error certificatesResolvers.le.acme.storage MISSING-OPTION"}},
		{"key type", le(func(a *ACME) { a.KeyType = "RSA1024" }), []string{"warning certificatesResolvers.le.acme.keyType BAD-VALUE"}},
		{
			"client timeout", le(func(a *ACME) { a.ClientTimeout = dynamic.Seconds(1) }),
			[]string{"warning certificatesResolvers.le.acme.clientTimeout OPTION-CONFLICT"},
		},
		{"no challenge", le(func(a *ACME) { a.TLSChallenge = nil }), []string{"warning certificatesResolvers.le.acme MISSING-OPTION"}},
		{
			"half challenges", le(func(a *ACME) {
				a.HTTPChallenge = &HTTPChallenge{}
				a.DNSChallenge = &DNSChallenge{DelayBeforeCheck: 1, DisablePropagationCheck: true}
			}),
			[]string{
				"warning certificatesResolvers.le.acme.dnsChallenge MISSING-OPTION",
				"info certificatesResolvers.le.acme.dnsChallenge.delayBeforeCheck DEPRECATED",
				"info certificatesResolvers.le.acme.dnsChallenge.disablePropagationCheck DEPRECATED",
				"warning certificatesResolvers.le.acme.httpChallenge MISSING-OPTION",
			},
		},
		{
			"challenge nowhere", le(func(a *ACME) { a.HTTPChallenge = &HTTPChallenge{EntryPoint: "web"} }),
			[]string{"warning certificatesResolvers.le.acme.httpChallenge.entryPoint UNKNOWN-ENTRYPOINT"},
		},
		{
			"our own options", le(func(a *ACME) { a.OnDemand, a.Export = &OnDemand{}, &Export{} }),
			[]string{
				"warning certificatesResolvers.le.acme.export MISSING-OPTION",
				"error certificatesResolvers.le.acme.onDemand MISSING-OPTION",
			},
		},
		{
			"old server", le(func(a *ACME) { a.CAServer = "https://acme-v01.api.letsencrypt.org/directory" }),
			[]string{"info certificatesResolvers.le.acme.caServer DEPRECATED"},
		},

		// Logs, metrics, traces.
		{"log level", func(c *Config) { c.Log = &Log{Level: "WARNING"} }, []string{"warning log.level BAD-VALUE"}},
		{"log level, any case", func(c *Config) { c.Log = &Log{Level: "debug", Format: "JSON"} }, nil},
		{"log level, disabled", func(c *Config) { c.Log = &Log{Level: "disabled"} }, nil},
		{"log level, number", func(c *Config) { c.Log = &Log{Level: "-1"} }, nil},
		{"log format", func(c *Config) { c.Log = &Log{Format: "xml"} }, []string{"warning log.format BAD-VALUE"}},
		{
			"access log", func(c *Config) {
				c.AccessLog = &AccessLog{Format: "clf", Fields: &AccessLogFields{
					DefaultMode:     "redact",
					Names:           map[string]string{"ClientAddr": "keep", "RequestPath": "redact"},
					Headers:         &FieldModes{DefaultMode: "redact", Names: map[string]string{"Cookie": "hide"}},
					QueryParameters: &QueryMode{DefaultMode: "x"},
				}}
			},
			[]string{
				"warning accessLog.fields.defaultMode BAD-VALUE", "warning accessLog.fields.headers.names.Cookie BAD-VALUE",
				"warning accessLog.fields.names.RequestPath BAD-VALUE",
				"warning accessLog.fields.queryParameters.defaultMode BAD-VALUE", "warning accessLog.format BAD-VALUE",
			},
		},
		{
			"OTLP logs not permitted", func(c *Config) { c.Log, c.AccessLog = &Log{OTLP: &OTLPLog{}}, &AccessLog{OTLP: &OTLPLog{}} },
			[]string{"error accessLog.otlp MISSING-OPTION", "error log.otlp MISSING-OPTION"},
		},
		{
			"OTLP in clear text and TLS", func(c *Config) {
				c.Experimental = &Experimental{OTLPLogs: true}
				c.Log, c.AccessLog = &Log{OTLP: &OTLPLog{GRPC: grpc}}, &AccessLog{OTLP: &OTLPLog{GRPC: grpc}}
				c.Metrics = &Metrics{OTLP: &OTLPMetrics{GRPC: grpc, PushInterval: dynamic.Seconds(10)}}
				c.Tracing = &Tracing{OTLP: &OTLPTracing{GRPC: grpc, HTTP: &OTLPHTTP{TLS: half}}}
			},
			[]string{
				"error accessLog.otlp.grpc OPTION-CONFLICT", "error log.otlp.grpc OPTION-CONFLICT",
				"error metrics.otlp.grpc OPTION-CONFLICT", "error tracing.otlp.grpc OPTION-CONFLICT",
				"warning tracing.otlp.http.tls MISSING-OPTION",
			},
		},
		{"sample rate", func(c *Config) { c.Tracing = &Tracing{SampleRate: 1.5} }, []string{"warning tracing.sampleRate BAD-VALUE"}},
		{
			"global attributes", func(c *Config) { c.Tracing = &Tracing{GlobalAttributes: map[string]string{"a": "b"}} },
			[]string{"info tracing.globalAttributes DEPRECATED"},
		},
		{
			"ingress classes", func(c *Config) {
				c.Providers.KubernetesIngress = &KubernetesIngress{DisableIngressClassLookup: true}
			},
			[]string{"info providers.kubernetesIngress.disableIngressClassLookup DEPRECATED"},
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c := New()
			row.setup(c)
			findings := Validate(c, nil)
			if got := lines(findings); !slices.Equal(got, row.want) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(row.want, "\n  "))
			}
			wantFatal := slices.ContainsFunc(row.want, func(s string) bool { return strings.HasPrefix(s, "error ") })
			if Fatal(findings) != wantFatal {
				t.Errorf("fatal: got %v, want %v", !wantFatal, wantFatal)
			}
		})
	}
}

// TestValidateNothing gives a configuration without any section, as nobody should, and expects no panic.
func TestValidateNothing(t *testing.T) {
	if got := Validate(&Config{}, nil); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	Effective(&Config{})
}

type fixedPlaces struct{}

func (fixedPlaces) Locate(path ...string) diag.Place {
	return diag.Place{Source: "s.yml", Line: len(path), Col: 1}
}

func TestValidatePlaces(t *testing.T) {
	c := New()
	c.Core = &Core{DefaultRuleSyntax: "v4"}
	got := Validate(c, fixedPlaces{})
	const want = `s.yml:2:1: error: core.defaultRuleSyntax: unknown rule syntax "v4" (want v2 or v3) [BAD-VALUE]`
	if len(got) != 1 || got[0].String() != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// TestGaps proves for every row of the gaps that an empty configuration does not fall into it, that the row's path
// exists in the schema, and that using the option brings exactly the row's finding without forbidding the start.
func TestGaps(t *testing.T) {
	for _, g := range gaps {
		if g.used(New()) {
			t.Errorf("%v is found in an empty configuration", g.path)
		}
		c := New()
		use(t, reflect.ValueOf(c).Elem(), g.path)
		checkGap(t, c, g.severity, g.path)
	}
	for _, g := range entryPointGaps {
		c := New()
		ep := newEntryPoint(":80")
		if g.used(ep) {
			t.Errorf("%v is found in a plain entry point", g.path)
		}
		use(t, reflect.ValueOf(ep).Elem(), g.path)
		c.EntryPoints["e"] = ep
		checkGap(t, c, g.severity, append([]string{"entryPoints", "e"}, g.path...))
	}
	for _, g := range resolverGaps {
		c := New()
		r := &CertificatesResolver{}
		if g.used(r) {
			t.Errorf("%v is found in an empty resolver", g.path)
		}
		use(t, reflect.ValueOf(r).Elem(), g.path)
		c.CertificatesResolvers = map[string]*CertificatesResolver{"r": r}
		checkGap(t, c, g.severity, append([]string{"certificatesResolvers", "r"}, g.path...))
	}
}

func checkGap(t *testing.T, c *Config, severity diag.Severity, path []string) {
	t.Helper()
	var found diag.List
	for _, f := range Validate(c, nil) {
		if f.Code == CodeNotSupported {
			found.Add(f)
		}
	}
	if key := strings.Join(path, "."); len(found) != 1 || found[0].Key != key || found[0].Severity != severity {
		t.Errorf("%s: got %v", key, found)
	}
	if Fatal(found) {
		t.Errorf("%v: what is not supported yet forbids the start", path)
	}
}

// use sets the option at path to something, making the sections around it.
func use(t *testing.T, v reflect.Value, path []string) {
	t.Helper()
	for i := range v.NumField() {
		key, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if key != path[0] {
			continue
		}
		f := v.Field(i)
		if f.Kind() == reflect.Pointer && f.IsNil() {
			f.Set(reflect.New(f.Type().Elem()))
		}
		switch {
		case len(path) > 1:
			use(t, f.Elem(), path[1:])
		case f.Kind() == reflect.Bool:
			f.SetBool(true)
		case f.Kind() == reflect.Int:
			f.SetInt(1)
		case f.Kind() == reflect.Map:
			f.Set(reflect.MakeMap(f.Type()))
			f.SetMapIndex(reflect.ValueOf("x"), reflect.Zero(f.Type().Elem()))
		case f.Type() == reflect.TypeFor[*SpiffeSource]():
			f.Elem().Field(0).SetString("unix:///spiffe")
		}
		return
	}
	t.Fatalf("%v has no %s", v.Type(), path[0])
}

func TestLegacy(t *testing.T) {
	rows := []struct {
		path string
		key  string // empty: not a removed option
		sev  diag.Severity
	}{
		{"pilot", "pilot", diag.Warning},
		{"Pilot.token", "pilot", diag.Warning},
		{"providers.marathon.endpoint", "providers.marathon", diag.Error},
		{"providers.RANCHER", "providers.rancher", diag.Error},
		{"tracing.jaeger.samplingServerURL", "tracing.jaeger", diag.Warning},
		{"metrics.influxDB", "metrics.influxDB", diag.Warning},
		{"metrics.influxDB2", "", 0},
		{"providers", "", 0},
		{"providers.docker", "", 0},
		{"entryPoints.pilot", "", 0},
		{"", "", 0},
	}
	for _, row := range rows {
		f, ok := Legacy(strings.Split(row.path, ".")...)
		if ok != (row.key != "") || f.Key != row.key || (ok && (f.Severity != row.sev || f.Code != CodeRemoved || f.Hint == "")) {
			t.Errorf("%q: got %+v, %v", row.path, f, ok)
		}
	}
	for _, row := range legacyRows {
		if hasField(reflect.TypeFor[Config](), row.path) {
			t.Errorf("%v is an option and a removed one at once", row.path)
		}
	}
}

func hasField(t reflect.Type, path []string) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if len(path) == 0 {
		return true
	}
	if t.Kind() != reflect.Struct {
		return false
	}
	for i := range t.NumField() {
		if strings.EqualFold(t.Field(i).Name, path[0]) {
			return hasField(t.Field(i).Type, path[1:])
		}
	}
	return false
}
