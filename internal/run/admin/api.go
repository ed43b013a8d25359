package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/explain"
	"sluice/internal/core/plan"
	"sluice/internal/traffic/acme"
	"sluice/internal/traffic/certs"
	"sluice/internal/wire/bridge"
	"sluice/internal/wire/httpmsg"
)

// State is what the API tells about. Its methods are safe for concurrent use.
type State interface {
	// InForce returns the plan that is served, never nil, and what could not be built of it.
	InForce() (*plan.Plan, diag.List)
	// ServerStatus tells for the URLs of a service, called NAME@PROVIDER, and of those below it, whether they are up. Servers that
	// it does not know count as up.
	ServerStatus(service string) map[string]bool
	// TCPServerStatus is the same for the addresses of a TCP load balancer.
	TCPServerStatus(service string) map[string]bool
	// Certificate describes the certificate that a handshake for a server name shows (explain.Facts).
	Certificate(name string, strict bool) (text string, ok bool)
}

// API is the read-only JSON API. It shows elements as they were written, with passwords, tokens and keys left out, and
// what became of them.
type API struct {
	State State
	// Certificates returns the certificates in force, and what resolvers say about theirs; nil where there are none.
	Certificates func() ([]*certs.Pair, []acme.Status)
	// BasePath is the path under which the API stands; empty or "/" for /api itself.
	BasePath string
	// Version, Codename and Started tell about the program and the process.
	Version, Codename string
	Started           time.Time
	// DisableDashboardAd and DashboardName are repeated for dashboards.
	DisableDashboardAd bool
	DashboardName      string
	// Debug adds the counters and profiles of the process under /debug, which has no base path.
	Debug bool
	// Live tells of traffic.
	Live Live
	// Dashboard serves /dashboard below the base path; nil for none.
	Dashboard http.Handler

	followers atomic.Int64 // streams of events
}

// Handler returns what serves the API.
func (a *API) Handler() httpmsg.Handler { return bridge.Wrap(a.mux()) }

// mux serves API and dashboard under the base path.
func (a *API) mux() http.Handler {
	h := a.Local()
	if a.Dashboard != nil {
		both := http.NewServeMux()
		both.Handle("/api/", h)
		both.Handle("/dashboard", a.Dashboard)
		both.Handle("/dashboard/", a.Dashboard)
		both.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "dashboard/")
			w.WriteHeader(http.StatusFound)
		})
		h = both
	}
	if base := strings.TrimSuffix(a.BasePath, "/"); base != "" {
		h = http.StripPrefix(base, h)
	}
	if a.Debug {
		both := http.NewServeMux()
		both.Handle("/debug/", debugMux())
		both.Handle("/", h)
		h = both
	}
	return sameOrigin(h)
}

// Local serves the API alone, under /api whatever the base path is, for those inside the process.
func (a *API) Local() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/version", a.version)
	mux.HandleFunc("GET /api/overview", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, a.view().overview(countCertificates(a.certificates())))
	})
	mux.HandleFunc("GET /api/rawdata", func(w http.ResponseWriter, _ *http.Request) { reply(w, a.view().raw()) })
	mux.HandleFunc("GET /api/support-dump", a.supportDump)
	mux.HandleFunc("GET /api/explain", a.explain)
	mux.HandleFunc("GET /api/live", a.liveNow)
	mux.HandleFunc("GET /api/failures", a.failures)
	mux.HandleFunc("GET /api/events", a.events)
	mux.HandleFunc("GET /api/entrypoints", func(w http.ResponseWriter, r *http.Request) {
		page(w, r.URL.Query(), a.view().entryPoints())
	})
	mux.HandleFunc("GET /api/entrypoints/{name}", func(w http.ResponseWriter, r *http.Request) {
		one(w, "entry point", r.PathValue("name"), a.view().entryPoints())
	})
	for _, kind := range []struct {
		path, word string
		elements   func(v *view) []element
	}{
		{"http/routers", "router", (*view).httpRouters}, {"http/services", "service", (*view).httpServices},
		{"http/middlewares", "middleware", (*view).httpMiddlewares},
		{"tcp/routers", "router", (*view).tcpRouters}, {"tcp/services", "service", (*view).tcpServices},
		{"tcp/middlewares", "middleware", (*view).tcpMiddlewares},
		{"udp/routers", "router", (*view).udpRouters}, {"udp/services", "service", (*view).udpServices},
	} {
		mux.HandleFunc("GET /api/"+kind.path, func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			page(w, q, arrange(choose(kind.elements(a.view()), q), q))
		})
		mux.HandleFunc("GET /api/"+kind.path+"/{name}", func(w http.ResponseWriter, r *http.Request) {
			one(w, kind.word, r.PathValue("name"), kind.elements(a.view()))
		})
	}
	a.serveCertificates(mux)
	return mux
}

func (a *API) view() *view {
	p, refused := a.State.InForce()
	return newView(p, refused, a.State)
}

// sameOrigin refuses requests that a page of another origin makes: what the API tells is not for it, and an address that
// only the browser can reach is no protection.
func sameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, origin := range r.Header.Values("Origin") {
			u, err := url.Parse(origin)
			if err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) {
				fail(w, http.StatusForbidden, "the Origin is not this host")
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func (a *API) version(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	reply(w, a.versionInfo())
}

// versionInfo keeps the spelling of keys that clients know.
func (a *API) versionInfo() any {
	return struct {
		Version, Codename  string
		StartDate          time.Time `json:"startDate"`
		DisableDashboardAd bool      `json:"disableDashboardAd,omitempty"`
		DashboardName      string    `json:"dashboardName,omitempty"`
	}{a.Version, a.Codename, a.Started, a.DisableDashboardAd, a.DashboardName}
}

// explain answers what would become of a request, by the parameters url, method, header ("Name: value", several),
// clientIP and entryPoint.
func (a *API) explain(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	question, err := explain.Parse(q.Get("url"))
	if err != nil {
		fail(w, http.StatusBadRequest, "invalid request: url: "+err.Error())
		return
	}
	if m := q.Get("method"); m != "" {
		question.Method = m
	}
	question.EntryPoint = q.Get("entryPoint")
	if client := q.Get("clientIP"); client != "" {
		if question.Client, err = netip.ParseAddr(client); err != nil {
			fail(w, http.StatusBadRequest, fmt.Sprintf("invalid request: clientIP: %s", client))
			return
		}
	}
	for _, h := range q["header"] {
		name, value, ok := strings.Cut(h, ":")
		if name = strings.TrimSpace(name); !ok || name == "" {
			fail(w, http.StatusBadRequest, fmt.Sprintf("invalid request: header: %s", h))
			return
		}
		question.SetHeader(name, strings.TrimSpace(value))
	}
	p, refused := a.State.InForce()
	reply(w, object(explain.Ask(p, question, explain.Facts{Refused: refused, Certificate: a.State.Certificate,
		ServerStatus: a.State.ServerStatus})))
}

// reply writes compact JSON.
func reply(w http.ResponseWriter, v any) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // nothing reads it as HTML, and rules are full of &&
	_ = e.Encode(v)        // only writing can fail, and then nobody is there to tell
}

// fail writes an error as clients know it: JSON that is called text.
func fail(w http.ResponseWriter, status int, message string) {
	out, err := json.Marshal(map[string]string{"message": message})
	if err != nil {
		out = []byte(`{}`) // a string always marshals
	}
	http.Error(w, string(out), status)
}
