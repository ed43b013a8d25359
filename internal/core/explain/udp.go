package explain

import (
	"sluice/internal/core/diag"
	"sluice/internal/core/plan"
)

// session says what becomes of a client's datagrams on one UDP entry point.
func (a *asking) session(ep *plan.UDPEntryPoint) *Way {
	w := &Way{EntryPoint: ep.Name, Candidates: []Candidate{}, Decision: "UDP session", Reason: "datagrams have no rule: one router gets all of an entry point"}
	winner := ep.Router()
	for _, r := range ep.Routers {
		c := Candidate{Router: r.Name.String(), Matches: r == winner}
		switch {
		case r.Status == plan.Disabled:
			c.Lost = "disabled: " + first(r.Findings)
		case r != winner:
			c.Lost = quoted(winner.Name.String()) + " comes first, since it is the last by name"
		}
		w.Candidates = append(w.Candidates, c)
	}
	switch {
	case winner != nil:
		a.datagrams(w, winner)
	case len(ep.Routers) > 0:
		w.Cause = "datagrams are dropped: the UDP router " + quoted(ep.Routers[0].Name.String()) + " is disabled: " + first(ep.Routers[0].Findings)
	default:
		w.Cause = "datagrams are dropped: no UDP router listens on entry point " + quoted(ep.Name)
	}
	return w
}

// datagrams fills what a UDP router does.
func (a *asking) datagrams(w *Way, r *plan.UDPRouter) {
	w.Router = a.chosen(&r.Node)
	w.Router.Service, w.Router.ServiceKind = r.Service.Name.String(), r.Service.Type
	w.Router.Servers = udpServers(r.Service, new(mostBranches))
	service := quoted(w.Router.Service)
	switch {
	case len(w.Router.Servers) == 0:
		w.Cause = "datagrams are dropped: the service " + service + " has no servers"
	case r.Service.Findings.Has(diag.Error):
		w.Cause = "the UDP router " + quoted(r.Name.String()) + " takes the session, but a server of " + service + " cannot be used: " + first(r.Service.Findings)
	default:
		w.Cause = "the UDP router " + quoted(r.Name.String()) + " sends the session to " + list(w.Router.Servers)
	}
}

// udpServers lists the servers that a session may get from a service and those below it. A service that is not disabled has
// no cycle below, but may stand there many times: left is how many are still looked at.
func udpServers(s *plan.UDPService, left *int) (out []string) {
	if *left <= 0 {
		return nil
	}
	*left--
	if lb := s.Config.LoadBalancer; lb != nil {
		for _, server := range lb.Servers {
			out = append(out, server.Address)
		}
	}
	for i, c := range s.Children {
		if s.Config.Weighted.Services[i].Share() > 0 {
			out = append(out, udpServers(c, left)...)
		}
	}
	return out
}
