package httppoll

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
	"sluice/internal/intake/provider"
	"sluice/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// options are the defaults with an endpoint and a period that tests can wait for.
func options(endpoint string) static.HTTP {
	var o static.HTTP
	o.SetDefaults()
	o.Endpoint, o.PollInterval = endpoint, dynamic.Milliseconds(5)
	return o
}

// follow runs p and returns what it publishes, and how it ends.
func follow(t *testing.T, p *Provider) (snapshots <-chan dynamic.Snapshot, ended <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, end := make(chan dynamic.Snapshot, 1000), make(chan error, 1)
	go func() { end <- p.Run(ctx, func(s dynamic.Snapshot) { out <- s }) }()
	t.Cleanup(cancel)
	return out, end
}

// say shows a snapshot: the rules of its routers and the codes of its findings.
func say(s dynamic.Snapshot) string {
	var out []string
	for _, f := range s.Fragments {
		if f.Config.HTTP != nil {
			for name, r := range f.Config.HTTP.Routers {
				out = append(out, name+" "+r.Rule)
			}
		}
		for _, finding := range f.Findings {
			out = append(out, finding.Severity.String()+" "+finding.Code)
		}
	}
	return strings.Join(out, ", ")
}

// await takes snapshots until one says want.
func await(t *testing.T, snapshots <-chan dynamic.Snapshot, want string) dynamic.Snapshot {
	t.Helper()
	last := ""
	for limit := time.After(10 * time.Second); ; {
		select {
		case s := <-snapshots:
			if last = say(s); last == want {
				return s
			}
		case <-limit:
			t.Fatalf("never said %q, last %q", want, last)
		}
	}
}

func document(rule string) string {
	return fmt.Sprintf("http: {routers: {r: {rule: %q, service: s}}}\n", rule)
}

func TestFollows(t *testing.T) {
	var body atomic.Value
	body.Store(document("Host(`a`)"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "config.test" || r.Header.Get("X-Token") != "secret" || r.Method != "GET" || !strings.HasPrefix(r.UserAgent(), "Sluice") {
			w.WriteHeader(http.StatusForbidden)
		}
		fmt.Fprint(w, body.Load())
	}))
	defer server.Close()
	o := options(server.URL + "/c?key=hidden")
	o.Headers = map[string]string{"host": "config.test", "X-Token": "secret"}
	p := New(o, Options{})
	snapshots, ended := follow(t, p)
	first := await(t, snapshots, "r Host(`a`)")
	if next := <-snapshots; next.Fragments[0] != first.Fragments[0] {
		t.Error("an unchanged document is another fragment")
	}
	if name := first.Fragments[0].Name; strings.Contains(name, "hidden") {
		t.Errorf("the query stands in the name: %s", name)
	}
	body.Store(document("Host(`b`)"))
	await(t, snapshots, "r Host(`b`)")
	body.Store("http: {routers: [")
	await(t, snapshots, "r Host(`b`), error SYNTAX")
	body.Store("http: {routers: {r: {rule: Host(`c`), service: s, servce: x}}}")
	await(t, snapshots, "r Host(`c`), error UNKNOWN-KEY")
	body.Store(`{"http":{"routers":{"r":{"rule":"Host(` + "`d`" + `)","service":"s"}}}}`)
	await(t, snapshots, "r Host(`d`)")
	select {
	case err := <-ended:
		t.Errorf("ended: %v", err)
	default:
	}
}

func TestFailures(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, document("Host(`elsewhere`)")) }))
	defer target.Close()
	hang := make(chan bool)
	defer close(hang)
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		edit    func(*static.HTTP)
		want    string
	}{
		{"status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, nil, "status 500, want 200"},
		{"another success", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, nil, "status 204, want 200"},
		{"too large", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("#", 100)) },
			func(o *static.HTTP) { o.MaxResponseBodySize = 99 }, "larger than 99 bytes"},
		{"nothing is allowed", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "#") },
			func(o *static.HTTP) { o.MaxResponseBodySize = 0 }, "larger than 0 bytes"},
		{"silence", func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		},
			func(o *static.HTTP) { o.PollTimeout = dynamic.Milliseconds(20) }, "deadline exceeded"},
		{"redirection elsewhere", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, target.URL, http.StatusFound) }, nil, "status 302, want 200"},
		{"cut", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "x")
		}, nil, "unexpected EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(c.handler)
			defer server.Close()
			o := options(server.URL)
			if c.edit != nil {
				c.edit(&o)
			}
			snapshots, ended := follow(t, New(o, Options{}))
			if err := <-ended; err == nil || !strings.Contains(err.Error(), c.want) || provider.IsPermanent(err) || strings.Contains(err.Error(), server.URL) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			await(t, snapshots, "error FETCH")
		})
	}
}

// TestKeepsTheLast checks that what was fetched stays in force over a failure, and over the restart that follows.
func TestKeepsTheLast(t *testing.T) {
	var broken atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			w.WriteHeader(502)
		}
		fmt.Fprint(w, document("Host(`a`)"))
	}))
	defer server.Close()
	p := New(options(server.URL), Options{})
	snapshots, ended := follow(t, p)
	await(t, snapshots, "r Host(`a`)")
	broken.Store(true)
	await(t, snapshots, "r Host(`a`), error FETCH")
	<-ended
	broken.Store(false)
	again, _ := follow(t, p)
	await(t, again, "r Host(`a`)")
}

func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, document("Host(`a`)")) }))
	defer server.Close()
	o := options(server.URL)
	o.TLS = &dynamic.ClientTLS{InsecureSkipVerify: true}
	snapshots, _ := follow(t, New(o, Options{ClientTLS: func(c *dynamic.ClientTLS) (*tls.Config, error) {
		return &tls.Config{InsecureSkipVerify: c.InsecureSkipVerify}, nil
	}}))
	await(t, snapshots, "r Host(`a`)")
}

func TestNeverWorks(t *testing.T) {
	no := func(*dynamic.ClientTLS) (*tls.Config, error) { return nil, errors.New("no") }
	for name, edit := range map[string]func(*static.HTTP){
		"no endpoint":  func(o *static.HTTP) { o.Endpoint = "" },
		"no URL":       func(o *static.HTTP) { o.Endpoint = "a.test/x" },
		"other scheme": func(o *static.HTTP) { o.Endpoint = "file:///etc/passwd" },
		"no interval":  func(o *static.HTTP) { o.PollInterval = 0 },
		"TLS":          func(o *static.HTTP) { o.TLS = &dynamic.ClientTLS{} },
	} {
		o := options("http://127.0.0.1:1/")
		edit(&o)
		if err := New(o, Options{ClientTLS: no}).Run(t.Context(), func(dynamic.Snapshot) { t.Error("published") }); !provider.IsPermanent(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
