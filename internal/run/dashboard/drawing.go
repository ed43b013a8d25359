package dashboard

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxDrawn is how many routers are drawn at once: more is not looked at as a picture.
const maxDrawn = 60

// box is a thing on the map, line a connection between two of them.
type box struct {
	Column, Row   int
	X, Y, Width   int
	Text, Sub     string
	Kind, Subject string // class, and the name by which live figures find it
	Status, Link  string
}

type line struct {
	From, To      string
	X1, Y1        int
	X2, Y2, Mid   int
	Kind, Subject string
}

// picture lays boxes out in columns.
type picture struct {
	Boxes         []*box
	Lines         []*line
	Width, Height int
	Left          int // routers that are not drawn

	at   map[string]*box
	rows [5]int
}

const (
	boxWidth, boxHeight  = 200, 38
	columnGap, rowHeight = 70, 50
)

// put adds a box once, and returns its key.
func (p *picture) put(key string, b box) string {
	if p.at[key] == nil {
		b.Row = p.rows[b.Column]
		p.rows[b.Column]++
		b.X, b.Y, b.Width = 10+b.Column*(boxWidth+columnGap), 40+b.Row*rowHeight, boxWidth
		p.at[key] = &b
		p.Boxes = append(p.Boxes, &b)
	}
	return key
}

func (p *picture) join(from, to, kind, subject string) {
	if from == to || slices.ContainsFunc(p.Lines, func(l *line) bool { return l.From == from && l.To == to }) {
		return
	}
	p.Lines = append(p.Lines, &line{From: from, To: to, Kind: kind, Subject: subject})
}

// finish gives lines their ends.
func (p *picture) finish() {
	for _, l := range p.Lines {
		a, b := p.at[l.From], p.at[l.To]
		l.X1, l.Y1, l.X2, l.Y2 = a.X+a.Width, a.Y+boxHeight/2, b.X, b.Y+boxHeight/2
		l.Mid = (l.X1 + l.X2) / 2
	}
	for _, n := range p.rows {
		p.Height = max(p.Height, 40+n*rowHeight+10)
	}
	p.Width = 20 + 5*boxWidth + 4*columnGap
}

// drawing is the map: entry point, router, middlewares, service, server.
func (d *Dashboard) drawing(w http.ResponseWriter, r *http.Request) {
	search := r.URL.Query().Get("search")
	p := &picture{at: map[string]*box{}}
	for _, layer := range []string{"http", "tcp", "udp"} {
		if err := d.draw(r, p, layer, search); err != nil {
			d.failed(w, r, err)
			return
		}
	}
	p.finish()
	d.show(w, r, "map.html", "Map", struct {
		*picture
		Search string
	}{p, search})
}

func (d *Dashboard) draw(r *http.Request, p *picture, layer, search string) error {
	q := url.Values{"per_page": {fmt.Sprint(maxDrawn)}}
	if search != "" {
		q.Set("search", search)
	}
	var routers []element
	next, err := d.ask(r, layer+"/routers", q, &routers)
	if err != nil {
		return err
	}
	if next != "" && next != "1" {
		p.Left++
	}
	services := map[string]element{}
	for _, router := range routers {
		name, _ := router["name"].(string)
		status, _ := router["status"].(string)
		kind := layer
		if tls, ok := router["tls"].(element); ok && tls["passthrough"] == true {
			kind = "passthrough"
		}
		rule, _ := router["rule"].(string)
		at := p.put(layer+" router "+name, box{Column: 1, Text: name, Sub: rule, Kind: "router " + kind, Subject: "router:" + name,
			Status: status, Link: layer + "/routers/" + url.PathEscape(name)})
		using, _ := router["using"].([]any)
		for _, ep := range using {
			from := p.put("entry point "+fmt.Sprint(ep), box{Column: 0, Text: fmt.Sprint(ep), Kind: "entrypoint", Subject: "entryPoint:" + fmt.Sprint(ep)})
			p.join(from, at, kind, "router:"+name)
		}
		middlewares, _ := router["middlewares"].([]any)
		for _, m := range middlewares {
			text := fmt.Sprint(m)
			to := p.put(layer+" middleware "+text, box{Column: 2, Text: text, Kind: "middleware", Link: layer + "/middlewares/" + url.PathEscape(text)})
			p.join(at, to, kind, "router:"+name)
			at = to
		}
		service, _ := router["service"].(string)
		if service == "" {
			continue
		}
		if !strings.Contains(service, "@") {
			_, provider, _ := strings.Cut(name, "@")
			service += "@" + provider
		}
		d.drawService(r, p, layer, kind, at, service, services, 0)
	}
	return nil
}

// drawService draws a service with its servers, or with the services that it is made of.
func (d *Dashboard) drawService(r *http.Request, p *picture, layer, kind, from, name string, known map[string]element, depth int) {
	e, ok := known[name]
	if !ok {
		if _, err := d.ask(r, layer+"/services/"+url.PathEscape(name), nil, &e); err != nil {
			e = nil // it does not exist
		}
		known[name] = e
	}
	if e == nil {
		p.join(from, p.put(layer+" service "+name, box{Column: 3, Text: name, Sub: "does not exist", Kind: "service", Status: "disabled"}), kind, "")
		return
	}
	status, _ := e["status"].(string)
	kindText, _ := e["type"].(string)
	at := p.put(layer+" service "+name, box{Column: 3, Text: name, Sub: kindText, Kind: "service", Subject: "service:" + name, Status: status,
		Link: layer + "/services/" + url.PathEscape(name)})
	p.join(from, at, kind, "service:"+name)
	if depth > 8 {
		return
	}
	up, _ := e["serverStatus"].(element)
	for _, server := range serversOf(e) {
		state := "enabled"
		if up[server] == "DOWN" {
			state = "disabled"
		}
		to := p.put("server "+server, box{Column: 4, Text: server, Kind: "server", Status: state})
		p.join(at, to, kind, "service:"+name)
	}
	for _, child := range childrenOf(e) {
		if !strings.Contains(child, "@") {
			_, provider, _ := strings.Cut(name, "@")
			child += "@" + provider
		}
		d.drawService(r, p, layer, kind, at, child, known, depth+1)
	}
}

// serversOf are the servers of a load balancer.
func serversOf(e element) (out []string) {
	lb, _ := e["loadBalancer"].(element)
	servers, _ := lb["servers"].([]any)
	for _, s := range servers {
		server, _ := s.(element)
		for _, key := range []string{"url", "address"} {
			if text, ok := server[key].(string); ok && text != "" {
				out = append(out, text)
			}
		}
	}
	return out
}

// childrenOf are the services that a service is made of.
func childrenOf(e element) (out []string) {
	add := func(v any) {
		if text, ok := v.(string); ok && text != "" {
			out = append(out, text)
		}
	}
	for _, kind := range []string{"weighted", "highestRandomWeight", "mirroring", "failover"} {
		c, _ := e[kind].(element)
		add(c["service"])
		add(c["fallback"])
		for _, key := range []string{"services", "mirrors"} {
			list, _ := c[key].([]any)
			for _, item := range list {
				if child, ok := item.(element); ok {
					add(child["name"])
				}
			}
		}
	}
	return out
}
