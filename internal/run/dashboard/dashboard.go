// Package dashboard serves the pages on which people look at a running Sluice. Everything that a page shows comes from the
// API, asked inside the process, so that what is seen here can be had by any other client as well.
//
// Pages are made on the server and work without scripts; one script, which pages load from us, adds live figures. All links
// are relative, so the pages work under any prefix that a router or a proxy puts before them.
package dashboard

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sluice/internal/core/diag"
)

//go:embed pages static
var files embed.FS

// Options are what a Dashboard is made of.
type Options struct {
	// API answers GET requests below /api.
	API http.Handler
	// Check reads a text as sluice check reads a file of that name, or as labels where the name is "labels".
	Check func(name, text string) diag.List
	// Name is what the operator calls this instance; may be empty.
	Name string
	// Version of the program.
	Version string
}

// Dashboard is an http.Handler for everything below /dashboard/, with or without that prefix on its requests. It is safe
// for concurrent use.
type Dashboard struct {
	o     Options
	pages *template.Template
	mux   *http.ServeMux
}

// New makes a Dashboard.
func New(o Options) *Dashboard {
	d := &Dashboard{o: o, mux: http.NewServeMux()}
	d.pages = template.Must(template.New("").Funcs(functions).ParseFS(files, "pages/*.html"))
	static, err := fs.Sub(files, "static")
	if err != nil {
		panic(err) // the directory is embedded above
	}
	assets := http.StripPrefix("/static/", http.FileServerFS(static))
	d.mux.HandleFunc("GET /static/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		assets.ServeHTTP(w, r)
	})
	d.mux.HandleFunc("GET /{$}", d.overview)
	d.mux.HandleFunc("GET /map", d.drawing)
	d.mux.HandleFunc("GET /explain", d.explain)
	d.mux.HandleFunc("GET /check", d.check)
	d.mux.HandleFunc("POST /check", d.check)
	d.mux.HandleFunc("GET /certificates", d.certificates)
	for layer, list := range kinds {
		for _, kind := range list {
			d.mux.HandleFunc("GET /"+layer+"/"+kind, func(w http.ResponseWriter, r *http.Request) { d.list(w, r, layer, kind) })
			d.mux.HandleFunc("GET /"+layer+"/"+kind+"/{name}", func(w http.ResponseWriter, r *http.Request) { d.detail(w, r, layer, kind) })
		}
	}
	return d
}

// policy lets pages load nothing but what we serve ourselves, and run no script that stands in a page.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// ServeHTTP implements http.Handler.
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	path := r.URL.Path
	if path == "/dashboard" {
		h.Set("Location", "dashboard/") // relative, since we do not know what stands before it
		w.WriteHeader(http.StatusFound)
		return
	}
	if rest, ok := strings.CutPrefix(path, "/dashboard/"); ok {
		path = "/" + rest
	}
	inner := r.Clone(r.Context())
	inner.URL.Path, inner.URL.RawPath = path, ""
	d.mux.ServeHTTP(w, inner)
}

// page is what every page knows.
type page struct {
	Title, Name, Version string
	// Root leads from the page to the directory of the dashboard, and API from there to the API.
	Root, API string
	// Here is the entry of the menu that is shown as chosen.
	Here string
	Data any
}

func (d *Dashboard) show(w http.ResponseWriter, r *http.Request, file, title string, data any) {
	d.answer(w, r, http.StatusOK, file, title, data)
}

func (d *Dashboard) answer(w http.ResponseWriter, r *http.Request, status int, file, title string, data any) {
	here := strings.Trim(r.URL.Path, "/")
	p := page{Title: title, Name: d.o.Name, Version: d.o.Version, Here: here, Data: data,
		Root: strings.Repeat("../", strings.Count(here, "/"))}
	if p.Root == "" {
		p.Root = "./"
	}
	p.API = p.Root + "../api/"
	var out bytes.Buffer
	if err := d.pages.ExecuteTemplate(&out, file, p); err != nil {
		http.Error(w, "the page cannot be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // nobody is there to tell
}

// answer is what the API says, in memory.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }

func (a *answer) WriteHeader(status int) { a.status = status }

// ask asks the API and returns what else there is to read: the number of the next page, "1" for none.
func (d *Dashboard) ask(r *http.Request, path string, q url.Values, into any) (next string, err error) {
	u := &url.URL{Path: "/api/" + path, RawQuery: q.Encode()}
	req := (&http.Request{Method: http.MethodGet, URL: u, Host: r.Host, Header: http.Header{}, Body: http.NoBody, Proto: "HTTP/1.1",
		ProtoMajor: 1, ProtoMinor: 1}).WithContext(r.Context())
	a := &answer{header: http.Header{}, status: http.StatusOK}
	d.o.API.ServeHTTP(a, req)
	if a.status != http.StatusOK {
		var told struct{ Message string }
		if json.Unmarshal(a.body.Bytes(), &told) != nil || told.Message == "" {
			told.Message = strings.TrimSpace(a.body.String())
		}
		return "", &refused{a.status, told.Message}
	}
	decoder := json.NewDecoder(&a.body)
	decoder.UseNumber() // priorities do not fit into a float
	return a.header.Get("X-Next-Page"), decoder.Decode(into)
}

// refused is an answer of the API that is not 200.
type refused struct {
	status  int
	message string
}

func (e *refused) Error() string { return e.message }

// failed shows what went wrong in place of a page.
func (d *Dashboard) failed(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	if e, ok := err.(*refused); ok {
		status = e.status
	}
	d.answer(w, r, status, "failed.html", http.StatusText(status), err.Error())
}

var functions = template.FuncMap{
	"date": func(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") },
	"days": func(t time.Time) int { return int(time.Until(t).Hours() / 24) },
	"list": func(v any) string {
		items, _ := v.([]any)
		out := make([]string, len(items))
		for i, item := range items {
			out[i] = fmt.Sprint(item)
		}
		return strings.Join(out, ", ")
	},
	"up": func(v any) string { // of serverStatus
		status, _ := v.(map[string]any)
		up := 0
		for _, s := range status {
			if s == "UP" {
				up++
			}
		}
		if len(status) == 0 {
			return ""
		}
		return fmt.Sprintf("%d of %d up", up, len(status))
	},
	"pathEscape": url.PathEscape,
	"states":     func() []string { return []string{"enabled", "warning", "disabled"} },
	"one":        func(kind string) string { return strings.TrimSuffix(kind, "s") },
	"add":        func(a, b int) int { return a + b },
	"clip": func(s string) string {
		const room = 28
		if r := []rune(s); len(r) > room {
			return string(r[:room-1]) + "…"
		}
		return s
	},
}
