package compress

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/trial"
)

// TestRealServers sends through real connections, events among it: each must be there before the server sends the next.
func TestRealServers(t *testing.T) {
	text := strings.Repeat("sluice ", 10_000)
	next := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/events" {
			w.Header().Set("ETag", `"a"`)
			w.Header().Set("Content-Type", "text/plain")
			io.WriteString(w, text)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for range 3 {
			io.WriteString(w, "data: tick\n\n")
			w.(http.Flusher).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	}))
	defer server.Close()
	c := &dynamic.Compress{}
	c.SetDefaults()
	h, err := Kind().Build(&dynamic.Middleware{Compress: c}, middleware.Env{}, trial.Service(t, server.URL))
	if err != nil {
		t.Fatal(err)
	}
	trial.Each(t, h, func(t *testing.T, f *trial.Front) {
		for _, encoding := range []string{"gzip", "br", "zstd"} {
			get := func(method, path string) *http.Response {
				r, _ := http.NewRequest(method, f.URL+path, nil)
				r.Header.Set("Accept-Encoding", encoding)
				res, err := f.Client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				return res
			}
			res := get("GET", "/")
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || res.Header.Get("Content-Encoding") != encoding || decode(t, encoding, body) != text || len(body) > 2000 || value(res.Header, "ETag") != `W/"a"` {
				t.Errorf("%s: %v, %d bytes, %v", encoding, err, len(body), res.Header)
			}
			res = get("HEAD", "/")
			res.Body.Close()
			if res.Header.Get("Content-Encoding") != "" {
				t.Errorf("%s: HEAD got %v", encoding, res.Header)
			}
			res = get("GET", "/events")
			var all []byte
			for i := 1; i <= 3; i++ {
				buf := make([]byte, 4096)
				n, err := res.Body.Read(buf) // returns only because the event has left
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, buf[:n]...)
				next <- struct{}{}
			}
			rest, err := io.ReadAll(res.Body)
			res.Body.Close()
			if got := decode(t, encoding, append(all, rest...)); err != nil || got != strings.Repeat("data: tick\n\n", 3) {
				t.Errorf("%s: got %q, %v", encoding, got, err)
			}
		}
	})
}
