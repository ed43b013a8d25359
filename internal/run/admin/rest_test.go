package admin

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/secret"
	"sluice/internal/wire/bridge"
)

func TestRest(t *testing.T) {
	var got string
	put := func(document []byte) (*dynamic.Config, error) {
		if got = string(document); got == "bad" {
			return nil, errors.New("it is bad")
		}
		return &dynamic.Config{HTTP: &dynamic.HTTP{Middlewares: map[string]*dynamic.Middleware{
			"m": {BasicAuth: &dynamic.BasicAuth{Users: []secret.String{secret.New("me:verysecret")}}}}}}, nil
	}
	h := bridge.NewServer((&Rest{Put: put, Max: 100}).Handler(), bridge.Options{})
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		code                     int
		want                     string
	}{
		{"taken", "PUT", "/api/providers/rest", "{}", nil, 200, `"basicAuth"`},
		{"bad", "PUT", "/api/providers/rest", "bad", nil, 400, "it is bad"},
		{"another provider", "PUT", "/api/providers/file", "{}", nil, 400, "Only 'rest' provider"},
		{"too large", "PUT", "/api/providers/rest", strings.Repeat("x", 101), nil, 413, "too large"},
		{"read", "GET", "/api/providers/rest", "", nil, 405, ""},
		{"elsewhere", "PUT", "/api/providers", "{}", nil, 404, ""},
		{"a page of another origin", "PUT", "/api/providers/rest", "{}", []string{"Origin", "http://evil.test"}, 403, "Origin"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got = ""
			r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
			for i := 0; i+1 < len(c.header); i += 2 {
				r.Header.Set(c.header[i], c.header[i+1])
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != c.code || !strings.Contains(w.Body.String(), c.want) || strings.Contains(w.Body.String(), "verysecret") {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if asked := c.code == 200 || c.name == "bad"; asked != (got != "") {
				t.Errorf("put %q", got)
			}
		})
	}
}

// The dump holds what is needed to answer a question, and nothing of whose it is.
func TestSupportDump(t *testing.T) {
	h := example(t)
	w := ask(h, "GET", "/api/support-dump")
	if w.Code != http.StatusOK || !strings.Contains(w.Header().Get("Content-Disposition"), "support-dump.tar.gz") {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	zip, err := gzip.NewReader(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for archive := tar.NewReader(zip); ; {
		f, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, f.Name)
		text, err := io.ReadAll(archive)
		if err != nil || !json.Valid(text) {
			t.Errorf("%s: %v", f.Name, err)
		}
		if strings.Contains(string(text), "verysecret") {
			t.Errorf("%s shows a secret", f.Name)
		}
	}
	if strings.Join(names, " ") != "version.json static-config.json runtime-config.json" {
		t.Errorf("files: %v", names)
	}
	hidden, _ := json.Marshal(mask(map[string]any{"otlp": map[string]any{"headers": map[string]any{"api-key": "tok3n"}}}))
	if strings.Contains(string(hidden), "tok3n") || !strings.Contains(string(hidden), "api-key") {
		t.Errorf("headers: %s", hidden)
	}
	masked := mask([]any{"me@example.com", "https://ca.example.com:14000/dir?x", "unix:///var/run/docker.sock", ":80", "tcp://me:pw@10.0.0.1:2375"})
	text, _ := json.Marshal(masked)
	if s := string(text); strings.Contains(s, "example") || strings.Contains(s, "10.0.0.1") || strings.Contains(s, "pw") || !strings.Contains(s, "/dir?x") || !strings.Contains(s, ":80") || !strings.Contains(s, "/var/run/docker.sock") {
		t.Errorf("masked: %s", s)
	}
}

// Counters and profiles are there with debug only, below /debug whatever the base path is.
func TestDebug(t *testing.T) {
	for _, debug := range []bool{false, true} {
		api := &API{State: state(t, staticText, dynamicText), Debug: debug, BasePath: "/base"}
		h := api.mux()
		for path, want := range map[string]int{"/debug/vars": 200, "/debug/pprof/": 200, "/debug/pprof/cmdline": 200, "/debug/pprof/goroutine?debug=1": 200, "/debug/nothing": 404} {
			if !debug {
				want = 404
			}
			if w := ask(h, "GET", path); w.Code != want {
				t.Errorf("debug %v: %s: %d", debug, path, w.Code)
			}
		}
		if w := ask(h, "GET", "/base/api/version"); w.Code != 200 {
			t.Errorf("the API beside it: %d", w.Code)
		}
	}
}
