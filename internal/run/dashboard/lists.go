package dashboard

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"sluice/internal/observe/recent"
)

type element = map[string]any

// overview is the first page.
func (d *Dashboard) overview(w http.ResponseWriter, r *http.Request) {
	data := struct {
		Overview     element
		EntryPoints  []element
		Failures     []recent.Failure
		Certificates []certificate
		Worst        []element // routers that are not as they were meant
	}{}
	_, err := d.ask(r, "overview", nil, &data.Overview)
	if err == nil {
		_, err = d.ask(r, "entrypoints", url.Values{"per_page": {"100"}}, &data.EntryPoints)
	}
	if err == nil {
		_, err = d.ask(r, "failures", url.Values{"per_page": {"10"}}, &data.Failures)
	}
	if err != nil {
		d.failed(w, r, err)
		return
	}
	for _, status := range []string{"disabled", "warning"} {
		var some []element
		if _, err := d.ask(r, "http/routers", url.Values{"status": {status}, "per_page": {"10"}}, &some); err == nil {
			data.Worst = append(data.Worst, some...)
		}
	}
	data.Certificates = d.ending(r)
	d.show(w, r, "overview.html", "Overview", data)
}

// certificate is one of the API's.
type certificate struct {
	Name         string
	SANs         []string `json:"sans"`
	CommonName   string
	IssuerCN     string
	IssuerOrg    string
	SerialNumber string
	KeyType      string
	KeySize      int
	Status       string
	NotBefore    time.Time
	NotAfter     time.Time
	Resolver     *struct {
		Name        string
		State       string
		UsedBy      []string
		RenewAt     time.Time
		NextAttempt time.Time
		Failures    int
		Problem     *struct{ Text, Advice, Message, Hint string }
	}
}

// ending returns the certificates that end within a month.
func (d *Dashboard) ending(r *http.Request) (out []certificate) {
	var all []certificate
	if _, err := d.ask(r, "certificates", url.Values{"per_page": {"1000"}}, &all); err != nil {
		return nil // a page without certificates is better than none
	}
	for _, c := range all {
		if time.Until(c.NotAfter) < 30*24*time.Hour {
			out = append(out, c)
		}
	}
	return out
}

func (d *Dashboard) certificates(w http.ResponseWriter, r *http.Request) {
	l := listOf(r, "certificates")
	var all []certificate
	next, err := d.ask(r, "certificates", l.Query, &all)
	if err != nil {
		d.failed(w, r, err)
		return
	}
	l.turn(next)
	d.show(w, r, "certificates.html", "Certificates", struct {
		list
		Certificates []certificate
	}{l, all})
}

// list is a page of rows with what leads to the others.
type list struct {
	Query                     url.Values
	Search, Status, Sort, Dir string
	Page, Previous, Next      int // zero for none
	Path                      string
}

// perPage is how many rows a page has.
const perPage = 50

func listOf(r *http.Request, path string) list {
	in := r.URL.Query()
	l := list{Search: in.Get("search"), Status: in.Get("status"), Sort: in.Get("sortBy"), Dir: in.Get("direction"), Path: path}
	l.Page, _ = strconv.Atoi(in.Get("page"))
	l.Page = max(l.Page, 1)
	l.Query = url.Values{"per_page": {strconv.Itoa(perPage)}, "page": {strconv.Itoa(l.Page)}}
	for name, value := range map[string]string{"search": l.Search, "status": l.Status, "sortBy": l.Sort, "direction": l.Dir} {
		if value != "" {
			l.Query.Set(name, value)
		}
	}
	return l
}

// turn notes which pages there are; next is the API's word for the one behind.
func (l *list) turn(next string) {
	l.Previous = l.Page - 1
	if n, err := strconv.Atoi(next); err == nil && n > l.Page {
		l.Next = n
	}
}

// Link leads to the same list with one thing changed.
func (l list) Link(name string, value any) string {
	q := url.Values{}
	for n, v := range map[string]string{"search": l.Search, "status": l.Status, "sortBy": l.Sort, "direction": l.Dir} {
		if v != "" {
			q.Set(n, v)
		}
	}
	switch v := value.(type) {
	case int:
		q.Set(name, strconv.Itoa(v))
	case string:
		q.Set(name, v)
	}
	if name == "sortBy" {
		q.Del("direction")
		if value == l.Sort && l.Dir != "desc" {
			q.Set("direction", "desc")
		}
	}
	return "?" + q.Encode()
}

// kinds are the lists that there are, by layer.
var kinds = map[string][]string{
	"http": {"routers", "services", "middlewares"},
	"tcp":  {"routers", "services", "middlewares"},
	"udp":  {"routers", "services"},
}

// list shows the routers, services or middlewares of a layer.
func (d *Dashboard) list(w http.ResponseWriter, r *http.Request, layer, kind string) {
	l := listOf(r, layer+"/"+kind)
	var rows []element
	next, err := d.ask(r, l.Path, l.Query, &rows)
	if err != nil {
		d.failed(w, r, err)
		return
	}
	l.turn(next)
	d.show(w, r, "list.html", title(layer, kind), struct {
		list
		Layer, Kind string
		Rows        []element
	}{l, layer, kind, rows})
}

// title words a list: HTTP routers.
func title(layer, kind string) string {
	return map[string]string{"http": "HTTP", "tcp": "TCP", "udp": "UDP"}[layer] + " " + kind
}

// described are the keys of an element that are about it; all others are its configuration.
var described = map[string]bool{"name": true, "provider": true, "status": true, "error": true, "findings": true, "using": true,
	"usedBy": true, "serverStatus": true, "type": true, "priorityStr": true}

// detail shows one element with everything that is known of it.
func (d *Dashboard) detail(w http.ResponseWriter, r *http.Request, layer, kind string) {
	name := r.PathValue("name")
	var e element
	if _, err := d.ask(r, layer+"/"+kind+"/"+url.PathEscape(name), nil, &e); err != nil {
		d.failed(w, r, err)
		return
	}
	data := struct {
		Layer, Kind, Name  string
		Element            element
		YAML, TOML, Labels string
		Failures           []recent.Failure
	}{Layer: layer, Kind: kind, Name: name, Element: e}
	config := element{}
	for key, value := range e {
		if !described[key] {
			config[key] = value
		}
	}
	data.YAML, data.TOML, data.Labels = spellings(layer, kind, name, config)
	if kind == "routers" {
		_, _ = d.ask(r, "failures", url.Values{"router": {name}}, &data.Failures) // without them the page is good as well
	}
	d.show(w, r, "detail.html", name, data)
}
