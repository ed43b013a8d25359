package app

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// The access log tells of every request as it was asked, over every version of HTTP, with the fields of all three messages;
// of our own answers with their reason; and not of routers that are kept out of it.
func TestAccessLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs", "access.json")
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Origin", r.URL.Path)
		_, _ = w.Write([]byte("0123456789"))
	}))
	defer origin.Close()
	r := start(t, `
entryPoints: {web: {address: "127.0.0.1:0"}, secure: {address: "127.0.0.1:0"}}
accessLog:
  filePath: "`+path+`"
  format: json
  fields: {headers: {defaultMode: keep}}
`, `
http:
  routers:
    app: {rule: "Host(`+"`a.test`"+`)", service: app, middlewares: [strip, mark], entryPoints: [web]}
    tls: {rule: "Host(`+"`a.test`"+`)", service: app, middlewares: [strip, mark], entryPoints: [secure], tls: {}}
    quiet: {rule: "Host(`+"`quiet.test`"+`)", service: app, entryPoints: [web], observability: {accessLogs: false}}
    empty: {rule: "Host(`+"`empty.test`"+`)", service: empty, entryPoints: [web]}
    own: {rule: "Host(`+"`own.test`"+`)", service: noop@internal, entryPoints: [web]}
  services: {app: {loadBalancer: {servers: [{url: "`+origin.URL+`"}]}}, empty: {loadBalancer: {}}}
  middlewares:
    strip: {stripPrefix: {prefixes: ["/p"]}}
    mark: {headers: {customResponseHeaders: {X-Edge: "yes", X-Origin: ""}}}
`)
	for _, transport := range transports {
		if o := r.tell(transport, ask{target: "/p/x?q=1", host: "a.test", fields: []string{"X-Asked", "me"}}, false); o.status != 200 {
			t.Fatalf("%s: %+v", transport, o)
		}
	}
	for _, host := range []string{"quiet.test", "empty.test", "own.test", "nobody.test"} {
		r.get("web", "http://"+host+"/")
	}
	r.stop()

	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var protocols []string
	errors := map[string]any{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var got map[string]any
		if err := json.Unmarshal(lines.Bytes(), &got); err != nil {
			t.Fatal(err, lines.Text())
		}
		if got["RequestHost"] != "a.test" {
			errors[got["RequestHost"].(string)] = got["Error"]
			continue
		}
		protocols = append(protocols, got["RequestProtocol"].(string))
		for name, want := range map[string]any{
			"RequestPath": "/p/x?q=1", "DownstreamStatus": 200.0, "OriginStatus": 200.0, "DownstreamContentSize": 10.0, "OriginContentSize": 10.0,
			"ServiceName": "app@file", "ServiceURL": origin.URL, "request_X-Asked": "me", "origin_X-Origin": "/x", "downstream_X-Edge": "yes",
			"downstream_X-Origin": nil, "Error": nil,
		} {
			if got[name] != want {
				t.Errorf("%s: %s is %v, want %v", got["RequestProtocol"], name, got[name], want)
			}
		}
		if secure := got["RequestScheme"] == "https"; secure != (got["TLSVersion"] == "1.3") || secure != (got["RouterName"] == "tls@file") {
			t.Errorf("scheme %v, TLS %v, router %v", got["RequestScheme"], got["TLSVersion"], got["RouterName"])
		}
	}
	if len(protocols) != len(transports) || protocols[0] != "HTTP/1.1" || protocols[3] != "HTTP/2.0" {
		t.Errorf("requests logged: %v", protocols)
	}
	if _, logged := errors["quiet.test"]; logged {
		t.Error("a quiet router is in the log")
	}
	if _, logged := errors["own.test"]; logged {
		t.Error("an internal service is in the log")
	}
	if errors["empty.test"] != "NO-SERVER" || errors["nobody.test"] != "NO-ROUTER" {
		t.Errorf("reasons: %v", errors)
	}
}
