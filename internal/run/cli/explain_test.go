package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"sluice/internal/core/explain"
)

const explained = `
http:
  routers:
    app: {rule: "Host(` + "`a.test`" + `) && Header(` + "`X-A`, `b`" + `) && Method(` + "`PUT`" + `)", service: app, middlewares: [old]}
  services:
    app: {loadBalancer: {servers: [{url: "http://10.0.0.1"}]}}
  middlewares:
    old: {stripPrefix: {prefixes: ["/x"]}}
`

func TestExplain(t *testing.T) {
	file := write(t, "dynamic.yml", explained)
	for _, c := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string
	}{
		{"answer", []string{"--method=PUT", "--header", "X-A: b", "http://a.test/x/y", file}, 0, `the router "app@file" takes the request, and the service "app@file" sends it to http://10.0.0.1 as /y` + "\n", ""},
		{"miss", []string{"http://a.test/", file}, 0, "wants Header(`X-A`, `b`), saw \"\"", ""},
		{"assumed", []string{"http://a.test/", file}, 0, "assumed: entry point default, the only one", ""},
		{"with a static side", []string{"--entryPoints.web.address=:80", "--entrypoint=web", "http://a.test:8/", file}, 0, "entry point web\n", ""},
		{"no file", []string{"http://a.test/", "--providers.file.filename=/nowhere/x.yml"}, 0, "404: ", ""},
		{"no URL", []string{file}, 2, "", "no URL is given"},
		{"bad URL", []string{"ftp://a.test/", file}, 2, "", "use http, https, tcp or udp"},
		{"bad client", []string{"--client-ip=ten", "http://a.test/", file}, 2, "", `"ten" is not an IP address`},
		{"bad header", []string{"--header=X", "http://a.test/", file}, 2, "", "--header"},
		{"no value", []string{"http://a.test/", file, "--method"}, 2, "", "--method needs a value"},
		{"missing file", []string{"http://a.test/", "/nowhere.yml"}, 2, "", "/nowhere.yml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := run(t, nil, append([]string{"explain"}, c.args...)...)
			if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
				t.Errorf("exit code %d, stdout %q, stderr %q; want %d, %q, %q", code, stdout, stderr, c.code, c.stdout, c.stderr)
			}
		})
	}
	code, stdout, _ := run(t, nil, "explain", "--json", "http://a.test/", file)
	var a explain.Answer
	if err := json.Unmarshal([]byte(stdout), &a); err != nil || code != 0 || a.Ways[0].Candidates[0].Router != "app@file" || a.Ways[0].Status != 404 {
		t.Errorf("exit code %d, %v: %s", code, err, stdout)
	}
}

// TestCheckShowsTheLine: below the finding stands its line, and a caret under the column, whatever stands before it.
func TestCheckShowsTheLine(t *testing.T) {
	for _, c := range []struct{ name, file, text, want string }{
		{"spaces", "a.yml", "http:\n  routers:\n    r: {rule: \"Host(`a.test`)\", servce: s}\n", "    r: {rule: \"Host(`a.test`)\", servce: s}\n                                ^\n"},
		{"tabs and accents", "a.toml", "[http.routers.r]\n\t\"é\" = 1\n", "    \"é\" = 1\n    ^\n"},
		{"control characters stay out", "a.yml", "http:\n  routers:\n    \"\\e[31m\": {rule: x, service: \"\x1b\"}\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, stdout, _ := run(t, nil, "check", write(t, c.file, c.text))
			if !strings.Contains(stdout, c.want) || strings.Contains(stdout, "\x1b") {
				t.Errorf("got\n%q\nwant in it\n%q", stdout, c.want)
			}
		})
	}
}

// Services made of services are shown as a tree, with what becomes of the request at each.
func TestExplainShowsTheTree(t *testing.T) {
	file := write(t, "dynamic.yml", `
http:
  routers:
    app: {rule: "Host(`+"`a.test`"+`)", service: top}
  services:
    a: {loadBalancer: {healthCheck: {path: /}, servers: [{url: "http://10.0.0.1"}, {url: "http://10.0.0.2", weight: 0}]}}
    b: {loadBalancer: {servers: [{url: "http://10.0.0.3"}]}}
    copied: {mirroring: {healthCheck: {}, service: a, mirrors: [{name: b, percent: 5}]}}
    top: {failover: {service: copied, fallback: b}}
`)
	_, stdout, stderr := run(t, nil, "explain", "http://a.test/", file)
	const want = `    service top@file (failover)
      main: service copied@file (mirroring) takes the request
        main: service a@file (loadBalancer) takes the request
          server http://10.0.0.1
          server http://10.0.0.2: gets nothing, its weight is 0
        mirror, 5%: service b@file (loadBalancer) gets a copy
          server http://10.0.0.3
      fallback: service b@file (loadBalancer) takes what the main service does not deliver
        server http://10.0.0.3
`
	if !strings.Contains(stdout, want) || !strings.Contains(stdout, `the service "top@file" sends it to http://10.0.0.1`+"\n") {
		t.Errorf("%s%s", stdout, stderr)
	}
}
