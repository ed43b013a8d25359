package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
	"sluice/internal/core/static"
	"sluice/internal/intake/decode"
)

// TestWants: what resolvers are asked for: names of rules, never those under a negation or of a passthrough machine.
func TestWants(t *testing.T) {
	const yaml = `
http:
  routers:
    a: {rule: "(Host('b.test') || Host('a.test')) && !Host('not.test')", service: s, tls: {certResolver: le}}
    domains: {rule: "Host('x.test')", service: s, tls: {certResolver: le, domains: [{main: "*.d.test", sans: [d.test]}, {main: e.test}]}}
    expression: {rule: "HostRegexp('^r.test$')", service: s, tls: {certResolver: le}}
    plain: {rule: "Host('p.test')", service: s}
    none: {rule: "Host('n.test')", service: s, tls: {}}
    lost: {rule: "Host('l.test')", service: s, entryPoints: [nowhere], tls: {certResolver: le}}
  services: {s: {loadBalancer: {servers: [{url: "http://127.0.0.1:1"}]}}}
tcp:
  routers:
    vm: {rule: "HostSNI('vm.test')", service: t, tls: {passthrough: true, certResolver: le}}
    db: {rule: "HostSNI('db.test')", service: t, tls: {certResolver: le}}
  services: {t: {loadBalancer: {servers: [{address: "127.0.0.1:1"}]}}}
tls: {stores: {default: {defaultGeneratedCert: {resolver: le, domain: {main: default.test}}}}}
`
	doc, err := decode.File("dynamic.yml", []byte(strings.ReplaceAll(yaml, "'", "`")), decode.YAML)
	if err != nil {
		t.Fatal(err)
	}
	st, _ := decode.File("static.yml", []byte("entryPoints: {secure: {address: ':443'}}\ncertificatesResolvers: {le: {acme: {storage: x, httpChallenge: {entryPoint: secure}}}}"), decode.YAML)
	config, _ := st.Static(nil)
	p := plan.Build(nil, static.Effective(config), []dynamic.Snapshot{{Provider: "file", Fragments: []*dynamic.Fragment{doc.Dynamic(&decode.Files{})}}})
	var got []string
	for _, w := range wants(p) {
		got = append(got, fmt.Sprint(w.Users[0], " ", w.Names))
	}
	want := []string{"a@file [b.test a.test]", "db@file [db.test]", "domains@file [*.d.test d.test]", "domains@file [e.test]", "expression@file []",
		"tls.stores.default [default.test]"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	var codes []string
	for _, f := range checkWants(p) {
		codes = append(codes, f.Code+" "+f.Key)
	}
	for _, key := range []string{"http.routers.a.tls.certResolver", "http.routers.expression.tls.certResolver", "http.routers.domains.tls.certResolver"} {
		if !slices.Contains(codes, "NO-CERTIFICATE "+key) {
			t.Errorf("no finding for %s among %q", key, codes)
		}
	}
}
