package static

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"testing"

	"sluice/internal/core/dynamic"
)

const (
	entryPointParts = `"transport":{"lifeCycle":{"graceTimeOut":"10s"},` +
		`"respondingTimeouts":{"readTimeout":"1m0s","idleTimeout":"3m0s"}},"forwardedHeaders":{},` +
		`"http":{"sanitizePath":true,"maxHeaderBytes":1048576,"underscoreHeadersStrategy":"keep"},` +
		`"http2":{"maxConcurrentStreams":250,"maxDecoderHeaderTableSize":4096,"maxEncoderHeaderTableSize":4096},` +
		`"udp":{"timeout":"3s"}`
	otlpHTTP  = `"http":{"endpoint":"https://localhost:4318"}`
	logFields = `{"defaultMode":"keep","headers":{"defaultMode":"drop"},"queryParameters":{"defaultMode":"keep"}}`
	rule      = "Host(`{{ normalize .Name }}`)"
)

// TestDefaults holds the documented defaults of every struct that has some. What is not in the text is zero.
func TestDefaults(t *testing.T) {
	rows := []struct {
		value interface{ SetDefaults() }
		want  string
	}{
		{&Config{}, `{"global":{"checkNewVersion":true},"serversTransport":{"maxIdleConnsPerHost":200},` +
			`"tcpServersTransport":{"dialKeepAlive":"15s","dialTimeout":"30s"},"providers":{"providersThrottleDuration":"2s"}}`},
		{&Global{}, `{"checkNewVersion":true}`},
		{&Core{}, `{"defaultRuleSyntax":"v3"}`},
		{&API{}, `{"dashboard":true,"basePath":"/"}`},
		{&Ping{}, `{"entryPoint":"traefik","terminatingStatusCode":503}`},
		{&HostResolver{}, `{"resolvConfig":"/etc/resolv.conf","resolvDepth":5}`},
		{&ServersTransport{}, `{"maxIdleConnsPerHost":200}`},
		{&ForwardingTimeouts{}, `{"dialTimeout":"30s","idleConnTimeout":"1m30s"}`},
		{&TCPServersTransport{}, `{"dialKeepAlive":"15s","dialTimeout":"30s"}`},

		{&EntryPoint{}, `{` + entryPointParts + `}`},
		{&EntryPointTransport{}, `{"lifeCycle":{"graceTimeOut":"10s"},"respondingTimeouts":{"readTimeout":"1m0s","idleTimeout":"3m0s"}}`},
		{&LifeCycle{}, `{"graceTimeOut":"10s"}`},
		{&RespondingTimeouts{}, `{"readTimeout":"1m0s","idleTimeout":"3m0s"}`},
		{&EntryPointHTTP{}, `{"sanitizePath":true,"maxHeaderBytes":1048576,"underscoreHeadersStrategy":"keep"}`},
		{&Redirection{}, `{"scheme":"https","permanent":true,"priority":9223372036854775806}`},
		{&EncodedCharacters{}, `{"allowEncodedSlash":true,"allowEncodedBackSlash":true,"allowEncodedNullCharacter":true,` +
			`"allowEncodedSemicolon":true,"allowEncodedPercent":true,"allowEncodedQuestionMark":true,"allowEncodedHash":true}`},
		{&HTTP2{}, `{"maxConcurrentStreams":250,"maxDecoderHeaderTableSize":4096,"maxEncoderHeaderTableSize":4096}`},
		{&EntryPointUDP{}, `{"timeout":"3s"}`},
		{&Observability{}, `{"accessLogs":true,"metrics":true,"tracing":true,"traceVerbosity":"minimal"}`},

		{&Providers{}, `{"providersThrottleDuration":"2s"}`},
		{&File{}, `{"watch":true}`},
		{&HTTP{}, `{"pollInterval":"5s","pollTimeout":"5s","maxResponseBodySize":-1}`},
		{&Docker{}, `{"endpoint":"unix:///var/run/docker.sock","exposedByDefault":true,"defaultRule":"` + rule +
			`","watch":true,"swarmModeRefreshSeconds":"15s","onEngineLost":"keep"}`},
		{&Swarm{}, `{"endpoint":"unix:///var/run/docker.sock","exposedByDefault":true,"defaultRule":"` + rule +
			`","watch":true,"refreshSeconds":"15s"}`},
		{&Consul{}, `{"rootKey":"traefik","endpoints":["127.0.0.1:8500"]}`},
		{&Etcd{}, `{"rootKey":"traefik","endpoints":["127.0.0.1:2379"]}`},
		{&Redis{}, `{"rootKey":"traefik","endpoints":["127.0.0.1:6379"]}`},
		{&ZooKeeper{}, `{"rootKey":"traefik","endpoints":["127.0.0.1:2181"]}`},
		{&ConsulCatalog{}, `{"endpoint":{},"prefix":"traefik","refreshInterval":"15s","exposedByDefault":true,"defaultRule":"` + rule +
			`","serviceName":"traefik","strictChecks":["passing","warning"]}`},
		{&Nomad{}, `{"endpoint":{"address":"http://127.0.0.1:4646"},"prefix":"traefik","refreshInterval":"15s",` +
			`"exposedByDefault":true,"defaultRule":"` + rule + `"}`},
		{&NomadEndpoint{}, `{"address":"http://127.0.0.1:4646"}`},
		{&ECS{}, `{"exposedByDefault":true,"refreshSeconds":15,"defaultRule":"` + rule + `","clusters":["default"]}`},
		{&KubernetesGateway{}, `{"qps":50,"burst":100}`},
		{&KubernetesIngressNGINX{}, `{"ingressClass":"nginx","controllerClass":"k8s.io/ingress-nginx",` +
			`"clientBodyBufferSize":16384,"proxyBodySize":1048576,"proxyBufferSize":8192,"proxyBuffersNumber":4,` +
			`"proxyConnectTimeout":60,"proxyReadTimeout":60,"proxySendTimeout":60,"proxyNextUpstream":"error timeout",` +
			`"proxyNextUpstreamTries":3,"upstreamKeepaliveTimeout":60,"strictValidatePathType":true}`},

		{&ACME{}, `{"caServer":"https://acme-v02.api.letsencrypt.org/directory","storage":"acme.json","keyType":"RSA4096",` +
			`"certificatesDuration":2160,"clientTimeout":"2m0s","clientResponseHeaderTimeout":"30s","certificateTimeout":"30s"}`},

		{&Log{}, `{"level":"ERROR","format":"common"}`},
		{&AccessLog{}, `{"format":"common","fields":` + logFields + `}`},
		{&AccessLogFields{}, logFields},
		{&FieldModes{}, `{"defaultMode":"drop"}`},
		{&QueryMode{}, `{"defaultMode":"keep"}`},
		{&OTLPGRPC{}, `{"endpoint":"localhost:4317"}`},
		{&OTLPHTTP{}, `{"endpoint":"https://localhost:4318"}`},
		{&OTLPLog{}, `{"serviceName":"traefik",` + otlpHTTP + `}`},
		{&OTLPMetrics{}, `{` + otlpHTTP + `,"addEntryPointsLabels":true,"addServicesLabels":true,` +
			`"explicitBoundaries":[0.005,0.01,0.025,0.05,0.075,0.1,0.25,0.5,0.75,1,2.5,5,7.5,10],` +
			`"pushInterval":"10s","serviceName":"traefik"}`},
		{&OTLPTracing{}, `{` + otlpHTTP + `}`},
		{&Tracing{}, `{"serviceName":"traefik","sampleRate":1,"otlp":{` + otlpHTTP + `}}`},
		{&Prometheus{}, `{"buckets":[0.1,0.3,1.2,5],"addEntryPointsLabels":true,"addServicesLabels":true,"entryPoint":"traefik"}`},
		{&Datadog{}, `{"pushInterval":"10s","addEntryPointsLabels":true,"addServicesLabels":true,"prefix":"traefik"}`},
		{&StatsD{}, `{"address":"localhost:8125","pushInterval":"10s","addEntryPointsLabels":true,"addServicesLabels":true,` +
			`"prefix":"traefik"}`},
		{&InfluxDB2{}, `{"address":"http://localhost:8086","pushInterval":"10s","addEntryPointsLabels":true,"addServicesLabels":true}`},
	}
	tested := map[string]bool{}
	for _, row := range rows {
		name := reflect.TypeOf(row.value).Elem().Name()
		tested[name] = true
		row.value.SetDefaults()
		got, err := json.Marshal(row.value)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !sameJSON(t, string(got), row.want) {
			t.Errorf("%s: defaults\n got %s\nwant %s", name, got, row.want)
		}
	}
	for _, name := range withDefaults(t) {
		if !tested[name] {
			t.Errorf("%s has SetDefaults and no row in this test", name)
		}
	}
}

// TestEncodedCharactersDiffer pins that the entry point allows what the middleware of the same name refuses.
func TestEncodedCharactersDiffer(t *testing.T) {
	var here EncodedCharacters
	here.SetDefaults()
	if !here.AllowEncodedSlash || (dynamic.EncodedCharacters{}).AllowEncodedSlash {
		t.Error("want %2F allowed at entry points and refused by the middleware")
	}
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var va, vb any
	for _, pair := range []struct {
		text string
		into *any
	}{{a, &va}, {b, &vb}} {
		if err := json.Unmarshal([]byte(pair.text), pair.into); err != nil {
			t.Fatalf("%s: %v", pair.text, err)
		}
	}
	return reflect.DeepEqual(va, vb)
}

// withDefaults returns the names of the types of this package that have SetDefaults.
func withDefaults(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if ok && f.Recv != nil && f.Name.Name == "SetDefaults" {
				names = append(names, f.Recv.List[0].Type.(*ast.StarExpr).X.(*ast.Ident).Name)
			}
		}
	}
	if len(names) == 0 {
		t.Fatal("found no SetDefaults at all")
	}
	return names
}
