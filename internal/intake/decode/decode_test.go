package decode

import (
	"fmt"
	"testing"
)

func TestSmoke(t *testing.T) {
	for name, src := range map[string]string{
		"a.toml": "[http.routers.api]\nrule = \"Host(`x`)\"\nentrypoints = \"a, b\"\nservce='x'\npriority='z'\n[http.routers.api.tls]\n[http.services.s.loadBalancer]\nservers={}\n[http.services.s.loadBalancer.responseForwarding]\nflushInterval='1 sec'\n",
		"b.yaml": "http:\n  routers:\n    api:\n      rule: Host(`x`)\n      tls: yes\n      priority: 017\n  middlewares:\n    m:\n      headers:\n        customRequestHeaders:\n          X-A: 1\n          B.C: x\n          D: {E: f}\n      plugin: {jwt: {signingSecret: x}, other: {a: [1, 2.5, true]}}\nentryPoints: {}\nhtp: 1\n",
	} {
		f, _ := FormatOf(name)
		d, err := File(name, []byte(src), f)
		if err != nil {
			t.Fatal(err)
		}
		fr := d.Dynamic(nil)
		for _, x := range fr.Findings {
			fmt.Println(x)
		}
		fmt.Printf("%+v %+v\n", fr.Config.HTTP.Routers["api"], fr.Broken)
		for k, m := range fr.Config.HTTP.Middlewares {
			fmt.Printf("%s %+v %+v %+v\n", k, m.Headers, m.JWT, m.Plugin)
		}
		fmt.Println(fr.Where.Locate("http", "routers", "API", "rule"), fr.Where.Locate("http", "routers", "api", "nope"))
	}
	fr := Labels(map[string]string{"traefik.http.routers.R.rule": "Host(`x`)", "traefik.http.routers.r.tls": "", "sluice.http.routers.r.rule": "y",
		"traefik.http.routers.r.tls.domains[10].main": "b", "traefik.http.routers.r.tls.domains[2].main": "a", "traefik.http.services.s.loadbalancer.server.port": "80", "traefik.http.services.s.loadbalancer.servers[0].url": "80", "traefik.httpx.y": "1", "Traefik.http.a": "", "traefik.http..x": "", "traefik.http.routers.r.a]": ""}, "container web")
	for _, x := range fr.Findings {
		fmt.Println(x)
	}
	for k, r := range fr.Config.HTTP.Routers {
		fmt.Printf("%s %+v %+v %+v\n", k, r, r.TLS.Domains[0], r.TLS.Domains[1])
	}
	fmt.Printf("%+v\n", fr.Config.HTTP.Services["s"].LoadBalancer.Servers[0])
	fmt.Println(fr.Where.Locate("http", "services", "s", "loadBalancer", "servers", "0", "port"))
}
