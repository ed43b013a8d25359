package admin

import (
	"expvar"
	"net/http"
	"net/http/pprof"
)

// debugMux serves the counters and profiles of the process: /debug/vars and /debug/pprof/. They show memory and command
// line, so they exist with api.debug only.
func debugMux() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /debug/vars", expvar.Handler())
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
