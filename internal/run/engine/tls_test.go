package engine

import (
	"fmt"
	"strings"
	"testing"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
	"sluice/internal/core/secret"
	"sluice/internal/testkit"
)

// A certificate of ours that is valid for a host of a machine is remarked on where both are served on one entry point.
func TestCertificateCoversPassthrough(t *testing.T) {
	ca := testkit.NewCA(t)
	for _, c := range []struct {
		name, certificate, router string
		want                      bool
	}{
		{"a wildcard over the machine", "*.a.test", "secure.a.test", true},
		{"the very name", "vm.a.test", "secure.a.test", true},
		{"other names", "secure.a.test", "secure.a.test", false},
		{"a deeper name", "*.b.a.test", "secure.a.test", false},
		{"nothing is served beside", "*.a.test", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaf := ca.Leaf(t, c.certificate)
			material := func(pem []byte) dynamic.Material {
				return dynamic.Material{Written: string(pem), Content: secret.New(string(pem))}
			}
			config := &dynamic.Config{
				TCP: &dynamic.TCP{
					Routers: map[string]*dynamic.TCPRouter{"vm": {Rule: "HostSNI(`vm.a.test`)", Service: "vm", EntryPoints: []string{"websecure"}, TLS: &dynamic.TCPRouterTLS{Passthrough: true}}},
					Services: map[string]*dynamic.TCPService{"vm": {LoadBalancer: &dynamic.TCPLoadBalancer{
						Servers: []*dynamic.TCPServer{{Address: "10.0.0.1:443"}}}}},
				},
				TLS: &dynamic.TLS{Certificates: []*dynamic.Certificate{{CertFile: material(leaf.CertPEM), KeyFile: material(leaf.KeyPEM)}}},
			}
			if c.router != "" {
				lb := &dynamic.LoadBalancer{Servers: []*dynamic.Server{{URL: "http://10.0.0.2"}}}
				lb.SetDefaults()
				config.HTTP = &dynamic.HTTP{
					Routers:  map[string]*dynamic.Router{"r": {Rule: "Host(`" + c.router + "`)", Service: "s", EntryPoints: []string{"websecure"}, TLS: &dynamic.RouterTLS{}}},
					Services: map[string]*dynamic.Service{"s": {LoadBalancer: lb}},
				}
			}
			b := newBed()
			defer b.Close()
			p := plan.Build(nil, b.static, snapshot(&dynamic.Fragment{Name: "f", Config: config}))
			for way, findings := range map[string]string{"validated": fmt.Sprint(Validate(p)), "applied": fmt.Sprint(b.Apply(p))} {
				if got := strings.Contains(findings, "CERTIFICATE-COVERS-PASSTHROUGH"); got != c.want {
					t.Errorf("%s: got %v, want %v: %s", way, got, c.want, findings)
				}
			}
		})
	}
}
