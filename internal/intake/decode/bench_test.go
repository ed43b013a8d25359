package decode

import (
	"fmt"
	"strings"
	"testing"
)

// wideFile writes n routers and n services.
func wideFile(f Format, n int) []byte {
	var b strings.Builder
	if f == YAML {
		b.WriteString("http:\n  routers:\n")
		for i := range n {
			fmt.Fprintf(&b, "    router-%d:\n      rule: Host(`host-%d.example.com`) && PathPrefix(`/api`)\n      service: service-%d\n      entryPoints:\n        - websecure\n      tls: {}\n", i, i, i)
		}
		b.WriteString("  services:\n")
		for i := range n {
			fmt.Fprintf(&b, "    service-%d:\n      loadBalancer:\n        servers:\n          - url: http://10.0.0.1:8080\n", i)
		}
		return []byte(b.String())
	}
	for i := range n {
		fmt.Fprintf(&b, "[http.routers.router-%d]\n  rule = \"Host(`host-%d.example.com`) && PathPrefix(`/api`)\"\n  service = \"service-%d\"\n  entryPoints = [\"websecure\"]\n  [http.routers.router-%d.tls]\n", i, i, i, i)
	}
	for i := range n {
		fmt.Fprintf(&b, "[http.services.service-%d.loadBalancer]\n [[http.services.service-%d.loadBalancer.servers]]\n url = \"http://10.0.0.1:8080\"\n", i, i)
	}
	return []byte(b.String())
}

func BenchmarkFile(b *testing.B) {
	for _, f := range []Format{TOML, YAML} {
		for _, n := range []int{1, 10_000} {
			data := wideFile(f, n)
			b.Run(fmt.Sprintf("%s/%d", map[Format]string{TOML: "toml", YAML: "yaml"}[f], n), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(data)))
				for b.Loop() {
					d, err := File("f", data, f)
					if err != nil {
						b.Fatal(err)
					}
					fr := d.Dynamic(nil)
					if len(fr.Config.HTTP.Routers) != n || len(fr.Findings) > 0 {
						b.Fatal(len(fr.Config.HTTP.Routers), fr.Findings)
					}
				}
			})
		}
	}
}
