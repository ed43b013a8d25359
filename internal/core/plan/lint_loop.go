package plan

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/route"
	"sluice/internal/core/static"
)

// inward is a server of a service that has a port on which we listen ourselves.
type inward struct {
	// at is its place in the configuration.
	at         int
	host       string
	loopback   bool
	secure     bool
	entryPoint string
}

// inwards finds the servers of a load balancer that may be entry points of our own.
func (b *builder) inwards(s *Service) (out []inward) {
	for i, server := range s.Config.LoadBalancer.Servers {
		u, err := url.Parse(server.URL)
		if err != nil {
			continue // CheckServerURL says so
		}
		port := portOf(u)
		for _, name := range b.tcp {
			if listen, ok := b.listens[name]; ok && listen.Port == port {
				host := u.Hostname()
				a, err := netip.ParseAddr(host)
				out = append(out, inward{i, host, strings.EqualFold(host, "localhost") || err == nil && a.IsLoopback(), u.Scheme == "https", name})
			}
		}
	}
	return out
}

func portOf(u *url.URL) uint16 {
	switch p := u.Port(); {
	case p != "":
		n, _ := strconv.ParseUint(p, 10, 16)
		return uint16(n)
	case u.Scheme == "https":
		return 443
	default:
		return 80
	}
}

// leadsHere reports whether the server is this machine: a loopback address that we listen on, the very address of the entry
// point, or the name under which clients come here.
func (in *inward) leadsHere(requested string, listen static.Address) bool {
	return strings.EqualFold(in.host, requested) || listen.Host != "" && strings.EqualFold(in.host, listen.Host) ||
		in.loopback && (listen.Host == "" || listen.IsLoopback())
}

// changesPath reports whether the path may be another one behind the middlewares.
func changesPath(list []*Middleware, depth int) bool {
	for _, m := range list {
		switch m.Type {
		case "addPrefix", "stripPrefix", "stripPrefixRegex", "replacePath", "replacePathRegex", "headers":
			return true
		case "chain":
			if depth > 20 || changesPath(m.Chain, depth+1) {
				return true
			}
		}
	}
	return false
}

// noteSelfLoops reports servers that are an entry point of our own, on which the request would come to the same service.
func (b *builder) noteSelfLoops() {
	hasInward := func(s *Service) bool { return len(s.inward) > 0 }
	b.plan.inward = edited(b.base.inward, chosen(b.services.gone, hasInward), chosen(b.services.fresh(), hasInward), compareElements)
	if len(b.plan.inward) == 0 {
		return
	}
	reported := map[*Service]bool{}
	for _, r := range b.plan.HTTP.Routers {
		s := r.Service
		if s == nil || len(s.inward) == 0 || reported[s] || !r.Routed() || len(r.parsed.clauses) == 0 || r.parsed.clauses[0].rest != "" {
			continue
		}
		sample := &r.parsed.clauses[0]
		for _, in := range s.inward {
			host := sample.sampleHost
			if keep := s.Config.LoadBalancer.PassHostHeader; keep != nil && !*keep {
				host = in.host
			}
			if !in.leadsHere(host, b.listens[in.entryPoint]) || changesPath(r.Middlewares, 0) {
				continue
			}
			ep := b.plan.EntryPoints[in.entryPoint]
			table, list := ep.PlainTable, ep.Plain
			if in.secure {
				table, list = ep.SecureTable, ep.Secure
			}
			at, ok := table.Lookup(&route.Request{Host: []byte(host), Path: []byte(sample.samplePath), Method: []byte("GET")})
			if ok && list[at].Service == s {
				reported[s] = true
				b.note(&s.Node, diag.Warning, CodeSelfLoop, fmt.Sprintf("the server %s is entry point %s of Sluice itself, where the router %q sends the request here again",
					s.Config.LoadBalancer.Servers[in.at].URL, ep.Name, list[at].Name), "write the address of the real server", "loadBalancer", "servers", strconv.Itoa(in.at), "url")
				break
			}
		}
	}
}
