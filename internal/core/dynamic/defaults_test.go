package dynamic

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"testing"
)

// TestDefaults holds the documented defaults of every struct that has some. What is not in the text is zero.
func TestDefaults(t *testing.T) {
	rows := []struct {
		value interface{ SetDefaults() }
		want  string
	}{
		{&LoadBalancer{}, `{"strategy":"wrr","passHostHeader":true,"responseForwarding":{"flushInterval":"100ms"}}`},
		{&ResponseForwarding{}, `{"flushInterval":"100ms"}`},
		{&Cookie{}, `{"path":"/"}`},
		{&HealthCheck{}, `{"mode":"http","interval":"30s","timeout":"5s","followRedirects":true}`},
		{&PassiveHealthCheck{}, `{"failureWindow":"10s","maxFailedAttempts":1}`},
		{&WeightedChild{}, `{"weight":1}`},
		{&Mirroring{}, `{"mirrorBody":true,"maxBodySize":-1}`},
		{&FailoverErrors{}, `{"maxRequestBodyBytes":-1}`},
		{&ForwardingTimeouts{}, `{"dialTimeout":"30s","idleConnTimeout":"1m30s","pingTimeout":"15s"}`},
		{&TCPHealthCheck{}, `{"interval":"30s","timeout":"5s"}`},
		{&ProxyProtocol{}, `{"version":2}`},
		{&TCPServersTransport{}, `{"dialKeepAlive":"15s","dialTimeout":"30s","terminationDelay":"100ms"}`},
		{&Certificate{}, `{"stores":["default"]}`},
		{&TLSOptions{}, `{"cipherSuites":["TLS_AES_128_GCM_SHA256","TLS_AES_256_GCM_SHA384","TLS_CHACHA20_POLY1305_SHA256",` +
			`"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA","TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",` +
			`"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256","TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",` +
			`"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",` +
			`"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA","TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",` +
			`"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256","TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",` +
			`"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"],"alpnProtocols":["h2","http/1.1","acme-tls/1"]}`},

		{&BasicAuth{}, `{"realm":"traefik"}`},
		{&DigestAuth{}, `{"realm":"traefik"}`},
		{&ForwardAuth{}, `{"maxBodySize":-1}`},
		{&IPAllowList{}, `{"rejectStatusCode":403}`},
		{&RateLimit{}, `{"period":"1s","burst":1}`},
		{&Redis{}, `{"endpoints":["localhost:6379"],"readTimeout":"3s","writeTimeout":"3s","dialTimeout":"5s"}`},
		{&DistributedRateLimit{}, `{"period":"1s","burst":1,"denyOnError":true}`},
		{&CircuitBreaker{}, `{"checkPeriod":"100ms","fallbackDuration":"10s","recoveryDuration":"10s","responseCode":503}`},
		{&Retry{}, `{"maxRequestBodyBytes":2097152}`},
		{&Buffering{}, `{"memRequestBodyBytes":1048576,"memResponseBodyBytes":1048576}`},
		{&Compress{}, `{"minResponseBodyBytes":1024,"encodings":["gzip","br","zstd"]}`},
		{&HTTPCache{}, `{"maxBytes":67108864,"maxEntryBytes":1048576,"maxDirectoryBytes":1073741824}`},
		{&IPBan{}, `{"status":["401","403","404"],"maxAttempts":20,"window":"1m0s","banDuration":"10m0s","rejectStatusCode":403}`},
		{&Maintenance{}, `{"enabled":true,"contentType":"text/html; charset=utf-8","statusCode":503}`},
		{&IdentityClient{}, `{"timeoutSeconds":5,"maxRetries":3}`},
		{&IntrospectionClient{}, `{"timeoutSeconds":5,"maxRetries":3}`},
		{&HMAC{}, `{"validateDigest":true,"enforcedHeaders":["(request-target)","(created)","(expires)"],"maxBodyBytes":67108864,"leeway":"10s"}`},
		{&Policy{}, `{"rejectStatusCode":403}`},
		{&JWT{}, `{"leeway":"10s"}`},
		{&LDAP{}, `{"attribute":"cn","forwardUsernameHeader":"Username"}`},
		{&LDAPPool{}, `{"size":10,"burst":5,"ttl":"1m0s"}`},
		{&OIDCStateCookie{}, `{"path":"/","maxAge":600,"sameSite":"lax","httpOnly":true}`},
		{&OIDCSession{}, `{"path":"/","expiry":86400,"sliding":true,"refresh":true,"sameSite":"lax","httpOnly":true}`},
		{&OIDCCSRF{}, `{"headerName":"Hub-Csrf-Token"}`},
		{&OIDC{}, `{"scopes":["openid"],"stateCookie":{"path":"/","maxAge":600,"sameSite":"lax","httpOnly":true},` +
			`"session":{"path":"/","expiry":86400,"sliding":true,"refresh":true,"sameSite":"lax","httpOnly":true}}`},
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
		if compact(t, string(got)) != compact(t, row.want) {
			t.Errorf("%s: defaults\n got %s\nwant %s", name, got, row.want)
		}
	}
	for _, name := range withDefaults(t) {
		if !tested[name] {
			t.Errorf("%s has SetDefaults and no row in this test", name)
		}
	}
}

// TestDefaultsAreFresh proves that no two values share memory of their defaults.
func TestDefaultsAreFresh(t *testing.T) {
	var a, b TLSOptions
	a.SetDefaults()
	b.SetDefaults()
	a.CipherSuites[0], a.ALPNProtocols[0] = "x", "x"
	if b.CipherSuites[0] == "x" || b.ALPNProtocols[0] == "x" {
		t.Error("two TLS options share their default lists")
	}
	var l, m LoadBalancer
	l.SetDefaults()
	m.SetDefaults()
	if l.PassHostHeader == m.PassHostHeader || l.ResponseForwarding == m.ResponseForwarding {
		t.Error("two load balancers share their defaults")
	}
}

// compact normalises key order.
func compact(t *testing.T, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
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
