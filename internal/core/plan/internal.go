package plan

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
)

// Names of the services that Sluice answers itself. They exist in the plan when the static configuration has them on.
const (
	ServicePing = "ping"
	ServiceNoop = "noop"
	ServiceAPI  = "api"
	ServiceREST = "rest"
	// ServiceDashboard serves the dashboard alone; ServiceAPI has it too.
	ServiceDashboard = "dashboard"
	// ServicePrometheus serves metrics.
	ServicePrometheus = "prometheus"
)

// isInternalService reports whether a service is answered by Sluice itself.
func isInternalService(n Name) bool { return n.Provider == Internal }

// internalFragment makes the elements that follow from the static configuration: redirections of entry points and our
// own endpoints. They are ordinary elements, so that priorities, explain and the API treat them like any other.
func internalFragment(s *static.Config) (f *dynamic.Fragment, redirections map[string]bool) {
	http := &dynamic.HTTP{Routers: map[string]*dynamic.Router{}, Services: map[string]*dynamic.Service{},
		Middlewares: map[string]*dynamic.Middleware{}}
	redirections = map[string]bool{}
	http.Services[ServiceNoop] = &dynamic.Service{}
	if p := s.Ping; p != nil {
		http.Services[ServicePing] = &dynamic.Service{}
		if !p.ManualRouting {
			http.Routers["ping"] = &dynamic.Router{EntryPoints: []string{p.EntryPoint}, Rule: "PathPrefix(`/ping`)",
				Service: ServicePing, Priority: math.MaxInt}
		}
	}
	if a := s.API; a != nil {
		http.Services[ServiceAPI] = &dynamic.Service{}
		if a.Insecure {
			http.Routers["api"] = &dynamic.Router{EntryPoints: []string{static.InternalEntryPoint}, Rule: "PathPrefix(`/api`)",
				Service: ServiceAPI, Priority: math.MaxInt - 1}
			if a.Debug {
				http.Routers["debug"] = &dynamic.Router{EntryPoints: []string{static.InternalEntryPoint}, Rule: "PathPrefix(`/debug`)",
					Service: ServiceAPI, Priority: math.MaxInt - 1}
			}
		}
	}
	if a := s.API; a != nil && a.Dashboard {
		http.Services[ServiceDashboard] = &dynamic.Service{}
		if a.Insecure {
			http.Middlewares["dashboard_redirect"] = &dynamic.Middleware{RedirectRegex: &dynamic.RedirectRegex{
				Regex: `^(https?://[^/]+)/$`, Replacement: "${1}/dashboard/", Permanent: true}}
			http.Middlewares["dashboard_stripprefix"] = &dynamic.Middleware{StripPrefix: &dynamic.StripPrefix{
				Prefixes: []string{"/dashboard/", "/dashboard"}}}
			http.Routers["dashboard"] = &dynamic.Router{EntryPoints: []string{static.InternalEntryPoint}, Rule: "PathPrefix(`/`)",
				Service: ServiceDashboard, Middlewares: []string{"dashboard_redirect", "dashboard_stripprefix"}, Priority: math.MaxInt - 2}
		}
	}
	if m := s.Metrics; m != nil && m.Prometheus != nil {
		http.Services[ServicePrometheus] = &dynamic.Service{}
		if !m.Prometheus.ManualRouting {
			http.Routers["prometheus"] = &dynamic.Router{EntryPoints: []string{m.Prometheus.EntryPoint}, Rule: "PathPrefix(`/metrics`)",
				Service: ServicePrometheus, Priority: math.MaxInt}
		}
	}
	if p := s.Providers; p != nil && p.Rest != nil {
		http.Services[ServiceREST] = &dynamic.Service{}
		if p.Rest.Insecure {
			http.Routers["rest"] = &dynamic.Router{EntryPoints: []string{static.InternalEntryPoint}, Rule: "PathPrefix(`/api/providers`)",
				Service: ServiceREST, Priority: math.MaxInt}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.EntryPoints)) {
		ep := s.EntryPoints[name]
		if ep.HTTP.Redirections == nil || ep.HTTP.Redirections.EntryPoint == nil {
			continue
		}
		r := ep.HTTP.Redirections.EntryPoint
		port, err := static.RedirectPort(s.EntryPoints, r.To)
		if err != nil || r.To == name {
			continue // static.Validate says so
		}
		router := name + "-to-" + strings.Trim(strings.Map(alnumOrDash, r.To), "-")
		rule := "HostRegexp(`^.+$`)"
		if ep.AllowACMEByPass {
			rule += " && !PathPrefix(`/.well-known/acme-challenge/`)"
		}
		http.Middlewares["redirect-"+router] = &dynamic.Middleware{RedirectScheme: &dynamic.RedirectScheme{
			Scheme: r.Scheme, Port: strconv.Itoa(int(port)), Permanent: r.Permanent}}
		http.Routers[router] = &dynamic.Router{EntryPoints: []string{name}, Rule: rule, Service: ServiceNoop,
			Middlewares: []string{"redirect-" + router}, Priority: r.Priority}
		redirections[router] = true
	}
	return &dynamic.Fragment{Name: Internal, Config: &dynamic.Config{HTTP: http}}, redirections
}

func alnumOrDash(r rune) rune {
	if '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
		return r
	}
	return '-'
}

// model is what an entry point adds to its routers.
type model struct {
	middlewares []string
	tls         *dynamic.RouterTLS
	observe     *static.Observability
}

// models returns the models of the entry points that have one.
func models(s *static.Config) map[string]*model {
	out := map[string]*model{}
	for name, ep := range s.EntryPoints {
		if len(ep.HTTP.Middlewares) > 0 || ep.HTTP.TLS != nil || ep.HTTP.EncodedCharacters != nil || ep.Observability != nil || s.Core != nil {
			out[name] = &model{ep.HTTP.Middlewares, ep.HTTP.TLS, ep.Observability}
		}
	}
	return out
}

// observability fills what the router leaves unset.
func (m *model) observability(own *dynamic.RouterObservability) dynamic.RouterObservability {
	var out dynamic.RouterObservability
	if own != nil {
		out = *own
	}
	if m.observe == nil {
		return out
	}
	out.AccessLogs = cmp.Or(out.AccessLogs, m.observe.AccessLogs)
	out.Metrics = cmp.Or(out.Metrics, m.observe.Metrics)
	out.Tracing = cmp.Or(out.Tracing, m.observe.Tracing)
	if out.TraceVerbosity == "" {
		out.TraceVerbosity = m.observe.TraceVerbosity
	}
	return out
}
