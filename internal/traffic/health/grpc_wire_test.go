package health

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/upstream"
	"sluice/internal/wire/watch"
)

// Servers are asked for grpc.health.v1 over HTTP/2, in the clear and over TLS.
func TestProbeGRPC(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(w http.ResponseWriter)
		edit   func(*dynamic.HealthCheck)
		want   string // part of the error; empty: well
	}{
		{"serving", serving("\x08\x01", "0"), nil, ""},
		{"not serving", serving("\x08\x02", "0"), nil, "the server is NOT_SERVING"},
		{"unknown", serving("", "0"), nil, "the server is UNKNOWN"},
		{"a status of tomorrow", serving("\x08\x09", "0"), nil, "unknown health 9"},
		{"no such service", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Grpc-Status", "12")
		}, nil, "does not have the gRPC health service"},
		{"a failure", serving("", "14"), nil, `grpc-status "14"`},
		{"no status", serving("\x08\x01", ""), nil, "without a grpc-status"},
		{"no gRPC", func(w http.ResponseWriter) { _, _ = io.WriteString(w, "hello") }, nil, "not application/grpc"},
		{"404", func(w http.ResponseWriter) { w.WriteHeader(404) }, nil, "status 404 is no answer"},
		{"too long", serving(strings.Repeat("x", maxGRPC), "0"), nil, "too long"},
		{"hostname and headers", serving("\x08\x01", "0"), func(h *dynamic.HealthCheck) {
			h.Hostname, h.Headers = "b.test", map[string]string{"X-A": "1"}
		}, ""},
	} {
		for _, scheme := range []string{"http", "https", "h2c"} {
			t.Run(c.name+" "+scheme, func(t *testing.T) {
				h := check()
				h.Mode = dynamic.HealthGRPC
				if c.edit != nil {
					c.edit(h)
				}
				s := grpcServer(t, scheme == "https", func(w http.ResponseWriter, r *http.Request) {
					body, err := io.ReadAll(r.Body)
					if r.Method != "POST" || r.URL.Path != grpcCheck || r.ProtoMajor != 2 || r.Header.Get("TE") != "trailers" ||
						string(body) != "\x00\x00\x00\x00\x00" || err != nil {
						t.Errorf("asked %s %s %s, %v, body %q, %v", r.Method, r.URL, r.Proto, r.Header, body, err)
					}
					if h.Hostname != "" && (r.Host != h.Hostname || r.Header.Get("X-A") != "1") {
						t.Errorf("asked as %s with %v", r.Host, r.Header)
					}
					c.answer(w)
				})
				w := watch.New()
				w.Start()
				defer w.Stop()
				o := upstream.Defaults()
				o.TLS = &tls.Config{InsecureSkipVerify: true}
				tr := upstream.New(o, w)
				defer tr.CloseIdle()
				k, err := New(h, nil, tr, nil)
				if err != nil {
					t.Fatal(err)
				}
				_, address, _ := strings.Cut(s.URL, "://")
				err = k.Probe(t.Context(), scheme+"://"+address)
				if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("error %v, want %q", err, c.want)
				}
			})
		}
	}
}

// serving answers with one message and a trailer.
func serving(message, status string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/grpc+proto")
		if status != "" {
			w.Header().Set("Trailer", "Grpc-Status")
		}
		size := len(message)
		_, _ = io.WriteString(w, string([]byte{0, 0, byte(size >> 16), byte(size >> 8), byte(size)})+message)
		if status != "" {
			w.Header().Set("Grpc-Status", status)
		}
	}
}

func grpcServer(t *testing.T, secure bool, h http.HandlerFunc) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	if secure {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}
