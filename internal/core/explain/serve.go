package explain

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
	"sluice/internal/core/route"
)

// serve fills what an HTTP router does with a request that is its own.
func (a *asking) serve(w *Way, ep *plan.EntryPoint, r *plan.Router, req *route.Request) {
	chosen := a.chosen(&r.Node)
	if w.Router != nil {
		chosen.Above = w.Router.Above
	}
	w.Router = chosen
	if w.asked == "" {
		w.asked = string(req.Path)
	}
	who := "the router " + quoted(r.Name.String())
	if s := r.Service; s != nil {
		w.Router.Service, w.Router.ServiceKind = s.Name.String(), s.Type
	}
	turns := a.tree(w.Router, r.Service)
	walk := &walk{asking: a, way: w, path: string(req.Path), fields: req.Header}
	answered := walk.steps(r.Middlewares)
	switch {
	case r.Status == plan.Disabled || r.Service == nil && r.Table == nil:
		w.Status, w.Location = 503, ""
		w.Cause = "503: " + who + " is disabled: " + first(r.Findings)
		return
	case walk.broken != "":
		w.Status, w.Location = 503, ""
		w.Cause = "503: " + who + " refuses: " + walk.broken
		return
	}
	if r.Service == nil {
		if answered == "" {
			a.below(w, ep, r, req, walk)
			return
		}
	} else if f := a.refusal(&r.Service.Node); f != "" {
		w.Status, w.Location = 503, ""
		w.Cause = "503: the service " + quoted(r.Service.Name.String()) + " of " + who + " cannot be used: " + f
		return
	}
	if answered != "" {
		w.Cause = fmt.Sprintf("%d%s: %s", w.Status, to(w.Location), answered)
		if r.Redirection {
			w.Cause = fmt.Sprintf("%d%s: the entry point %s redirects every request", w.Status, to(w.Location), quoted(ep.Name))
		} else {
			w.Cause += " of " + who
		}
		return
	}
	a.service(w, r.Service, who, walk.path, w.asked)
	for _, turn := range turns {
		w.Cause += "; " + turn
	}
}

// tree fills the way of a request from a service on. turns are those that it takes because something is down.
func (a *asking) tree(c *Chosen, s *plan.Service) (turns []string) {
	if s == nil || s.Status == plan.Disabled || s.Type == plan.TypeInternal {
		return nil
	}
	left := mostBranches
	c.Tree = a.grow(s, "", &left)
	c.Servers = c.Tree.follow(s, takesIt, &turns)
	return turns
}

// service fills what the service behind all middlewares answers.
func (a *asking) service(w *Way, s *plan.Service, who, path, asked string) {
	if s.Type == plan.TypeInternal {
		w.Cause = who + " takes the request, and Sluice answers it itself (" + s.Name.String() + ")"
		return
	}
	if len(w.Router.Servers) == 0 {
		w.Status = 503
		w.Cause = "503: the service " + quoted(s.Name.String()) + " has no servers"
		if w.Router.Tree.any() {
			w.Cause = "503: the service " + quoted(s.Name.String()) + " has no server that is up"
		}
		if lb := s.Config.LoadBalancer; lb != nil && len(lb.Absent) > 0 {
			w.Cause += ": " + strings.Join(lb.Absent, "; ")
		}
		for _, f := range a.said(&s.Node) {
			if f.Code == plan.CodeNoServers {
				w.Cause = "503: " + worded(f)
			}
		}
		return
	}
	w.Cause = who + " takes the request, and the service " + quoted(s.Name.String()) + " sends it to " + list(w.Router.Servers)
	if path != asked {
		w.Cause += " as " + path
	}
	for _, f := range a.said(&s.Node) {
		if f.Severity == diag.Error && f.Code == plan.CodeBadAddress {
			if len(w.Router.Servers) == 1 {
				w.Status = 502
				w.Cause = "502: the only server of the service " + quoted(s.Name.String()) + " cannot be used: " + worded(f)
			} else {
				w.Cause += "; one of them cannot be used: " + worded(f)
			}
			return
		}
	}
}

func to(location string) string {
	if location == "" {
		return ""
	}
	return " to " + location
}

// from adds to an address where it came from, if that is known.
func from(address, origin string) string {
	if origin == "" {
		return address
	}
	return address + " (" + origin + ")"
}

// refusal returns why a node is not built, empty where it is.
func (a *asking) refusal(n *plan.Node) string {
	if n.Status == plan.Disabled {
		return first(n.Findings)
	}
	key, source := n.Key(), n.Place().Source
	for _, f := range a.Refused {
		if f.Severity == diag.Error && f.Place.Source == source && (f.Key == key || strings.HasPrefix(f.Key, key+".")) {
			return worded(f)
		}
	}
	return ""
}

// walk follows a request through middlewares.
type walk struct {
	*asking
	way  *Way
	path string
	// fields are those of the request as far as it has come.
	fields route.Fields
	broken string
}

// steps notes each middleware and returns a clause where one of them answers; the way's status is set then.
func (k *walk) steps(list []*plan.Middleware) (answered string) {
	for _, m := range list {
		if m.Type == "chain" {
			if clause := k.steps(m.Chain); clause != "" && answered == "" {
				answered = clause
			}
			continue
		}
		step := Step{Name: m.Name.String(), Kind: m.Type}
		if why := k.refusal(&m.Node); why != "" {
			step.Effect = "refuses: " + why
			if k.broken == "" {
				k.broken = "the middleware " + quoted(step.Name) + " cannot be used: " + why
			}
		} else if answered == "" && k.broken == "" {
			if status := k.apply(m.Config, &step); status != 0 {
				k.way.Status = status
				answered = "the middleware " + quoted(step.Name) + " " + step.Effect
			}
		}
		k.way.Router.Middlewares = append(k.way.Router.Middlewares, step)
	}
	return answered
}

// apply says what a middleware does; the status is not zero where it answers.
func (k *walk) apply(c *dynamic.Middleware, step *Step) int {
	before := k.path
	switch {
	case c.AddPrefix != nil:
		k.path = c.AddPrefix.Prefix + k.path
	case c.StripPrefix != nil:
		for _, p := range c.StripPrefix.Prefixes {
			if rest, ok := strings.CutPrefix(k.path, p); ok {
				k.path = "/" + strings.TrimPrefix(rest, "/")
				break
			}
		}
	case c.ReplacePath != nil:
		k.path = c.ReplacePath.Path
	case c.Headers != nil && len(c.Headers.CustomRequestHeaders) > 0:
		k.fields = changedFields{k.fields, c.Headers.CustomRequestHeaders}
	case c.RedirectScheme != nil:
		return k.redirectScheme(c.RedirectScheme, step)
	case c.RedirectRegex != nil:
		return k.redirectRegex(c.RedirectRegex, step)
	case c.IPAllowList != nil && c.IPAllowList.IPStrategy == nil && k.q.Client.IsValid():
		for _, text := range c.IPAllowList.SourceRange {
			if contains(text, k.q.Client) {
				step.Effect = "lets the client pass"
				return 0
			}
		}
		step.Effect = "refuses the client " + k.q.Client.String()
		return 403
	case c.BasicAuth != nil || c.DigestAuth != nil:
		if _, ok := k.q.HeaderValue("Authorization", 0); !ok {
			step.Effect = "asks for a name and password"
			return 401
		}
		step.Effect = "checks the password"
	}
	if k.path != before {
		step.Effect = "the path becomes " + k.path
	}
	return 0
}

func contains(text string, client netip.Addr) bool {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix.Contains(unmapped(client))
	}
	a, err := netip.ParseAddr(text)
	return err == nil && unmapped(a) == unmapped(client)
}

func (k *walk) redirectScheme(r *dynamic.RedirectScheme, step *Step) int {
	scheme, own := "http", "80"
	if k.q.TLS {
		scheme, own = "https", "443"
	}
	host, port := k.q.Host, ""
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host, port = host[:i], host[i+1:]
	}
	target := r.Port
	if r.Scheme == "http" && target == "80" || r.Scheme == "https" && target == "443" {
		target = ""
	}
	if scheme == r.Scheme && (port == target || target == "" && port == own) {
		return 0
	}
	location := r.Scheme + "://" + host
	if target != "" {
		location += ":" + target
	}
	return k.redirect(location+k.path+k.query(), r.Permanent, step)
}

func (k *walk) query() string {
	if k.q.Query == "" {
		return ""
	}
	return "?" + k.q.Query
}

func (k *walk) redirectRegex(r *dynamic.RedirectRegex, step *Step) int {
	re, err := regexp.Compile(r.Regex)
	if err != nil {
		return 0 // whoever builds it refuses
	}
	scheme := "http"
	if k.q.TLS {
		scheme = "https"
	}
	u := scheme + "://" + k.q.Host + k.path + k.query()
	location := re.ReplaceAllString(u, r.Replacement)
	if location == u {
		return 0
	}
	return k.redirect(location, r.Permanent, step)
}

func (k *walk) redirect(location string, permanent bool, step *Step) int {
	k.way.Location = location
	step.Effect = "redirects"
	get := k.q.Method == "GET"
	switch {
	case get && permanent:
		return 301
	case permanent:
		return 308
	case get:
		return 302
	default:
		return 307
	}
}
