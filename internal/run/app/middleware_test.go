package app

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Middlewares of all sorts stand in one chain, on the router and on the service, over HTTP/1 and HTTP/2.
func TestMiddlewaresInAChain(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Seen-Path", r.URL.Path)
		w.Header().Set("Seen-User", r.Header.Get("X-User"))
		w.Header().Set("Seen-Added", r.Header.Get("X-Added"))
		io.WriteString(w, strings.Repeat("compressible ", 500))
	}))
	defer server.Close()
	r := start(t, `
entryPoints:
  web: {address: "127.0.0.1:0"}
  secure: {address: "127.0.0.1:0", http: {tls: {}}}
`, `
http:
  routers:
    r:
      rule: "Host(`+"`a.test`"+`) && PathPrefix(`+"`/app/`"+`)"
      service: s
      middlewares: [all]
  middlewares:
    all: {chain: {middlewares: [who, users, strip, add, small]}}
    who: {ipAllowList: {sourceRange: ["127.0.0.0/8"]}}
    users: {basicAuth: {users: ["ann:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/"], headerField: X-User, removeHeader: true}}
    strip: {stripPrefix: {prefixes: [/app]}}
    add: {headers: {customRequestHeaders: {X-Added: "yes"}, customResponseHeaders: {X-Out: "outer"}, frameDeny: true}}
    small: {compress: {}}
    inner: {headers: {customResponseHeaders: {X-Out: "inner"}}}
  services:
    s: {middlewares: [inner], loadBalancer: {servers: [{url: "`+server.URL+`"}]}}
`)
	for entryPoint, scheme := range map[string]string{"web": "http", "secure": "https"} {
		if resp, _ := r.get(entryPoint, scheme+"://a.test/app/x"); resp.StatusCode != 401 || resp.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: without a password %d", entryPoint, resp.StatusCode)
		}
		resp, body := r.get(entryPoint, scheme+"://ann:test@a.test/app/x")
		h := resp.Header
		if resp.StatusCode != 200 || h.Get("Seen-Path") != "/x" || h.Get("Seen-User") != "ann" || h.Get("Seen-Added") != "yes" ||
			h.Get("X-Out") != "outer" || h.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: got %d %v", entryPoint, resp.StatusCode, h)
		}
		if !strings.HasPrefix(body, "compressible") {
			t.Errorf("%s: body %q", entryPoint, body[:min(len(body), 20)])
		}
	}
	req := request(t, "http://a.test/app/x")
	req.SetBasicAuth("ann", "test")
	req.Header.Set("Accept-Encoding", "gzip")
	req.URL.Host = r.addr("web")
	req.Host = "a.test"
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	z, err := gzip.NewReader(resp.Body)
	if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("not compressed: %d, %v, %v", resp.StatusCode, err, resp.Header)
	}
	if text, err := io.ReadAll(z); err != nil || len(text) != 6500 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}
