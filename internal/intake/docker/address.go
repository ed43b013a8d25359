package docker

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"sluice/internal/core/diag"
)

// vantage is from where Sluice sees the containers of one engine.
type vantage struct {
	// host means that Sluice runs on the engine's machine itself, or in its network: it reaches every bridge network.
	host bool
	// inside means that Sluice runs in a container of this engine, on these networks.
	inside   bool
	networks []string
}

// vantageOf is what Sluice sees from a container. One that uses the network of another sees what that one does; known is
// false where find does not have it.
func vantageOf(c *container, find func(id string) *container) (v vantage, known bool) {
	for range maxJoins + 1 {
		id := c.joins()
		if id == "" {
			return vantage{host: c.mode == "host", inside: c.mode != "host", networks: c.networkNames()}, true
		}
		if c = find(id); c == nil {
			break
		}
	}
	return vantage{}, false
}

func (v *vantage) equal(o vantage) bool {
	return v.host == o.host && v.inside == o.inside && slices.Equal(v.networks, o.networks)
}

func (v *vantage) shares(name string) bool { return slices.Contains(v.networks, name) }

// world is what deriving a container needs to know around it.
type world struct {
	settings *settings
	vantage  vantage
	// find returns a container by id or name, nil if it is not known.
	find func(id string) *container
	// host is the address of the engine's machine.
	host func() string
	// ready reports whether something has answered on an address of a container that has no health check.
	ready func(c *container, address string) bool
	// late reports whether such a container has had time enough to answer.
	late func(c *container) bool
}

// placed is where a container is reached.
type placed struct {
	host string
	// via is the network, for people.
	via string
	// problem says why there is no address.
	problem, hint string
	// warnings are about the choice.
	warnings diag.List
}

// maxJoins bounds how many containers one after the other may share a network.
const maxJoins = 8

// reach finds the address of a container.
func (w *world) reach(c *container, o *options, source string) placed {
	wanted := w.settings.network
	if o.Docker.Network != nil {
		wanted = *o.Docker.Network
	}
	return w.reachFrom(c, wanted, o.Docker.Network != nil, source, 0)
}

// reachFrom is reach where the wanted network is known; own tells that the container's own label names it.
func (w *world) reachFrom(c *container, wanted string, own bool, source string, depth int) placed {
	var p placed
	if wanted != "" {
		for _, n := range c.networks {
			if n.name != wanted {
				continue
			}
			if c.placeholder != "" {
				return placed{host: c.placeholder, via: n.name}
			}
			if a := n.address(); a.IsValid() {
				return placed{host: a.String(), via: n.name}
			}
			return placed{problem: fmt.Sprintf("it has no address in the network %q", wanted), hint: "an address comes when the container is started and connected"}
		}
	}
	if c.mode == "host" {
		if c.node != "" {
			return placed{host: c.node, via: "host"}
		}
		return placed{host: w.host(), via: "host"}
	}
	if id := c.joins(); id != "" {
		return w.reachJoined(c, id, wanted, own, source, depth)
	}
	if wanted != "" {
		hint := "its networks are " + strings.Join(c.networkNames(), ", ")
		for _, n := range c.networks {
			if strings.HasSuffix(n.name, "_"+wanted) {
				hint = fmt.Sprintf("did you mean %q? Compose puts the project in front of its networks' names", n.name)
			}
		}
		p.warnings.Add(diag.Finding{Place: diag.Place{Source: source}, Severity: diag.Warning, Code: CodeNetwork,
			Message: fmt.Sprintf("the container is not on the network %q", wanted), Hint: hint})
	}
	return w.choose(c, p, source)
}

// reachJoined finds the address of a container that uses the network of another one.
func (w *world) reachJoined(c *container, id, wanted string, own bool, source string, depth int) placed {
	other := w.find(id)
	switch {
	case other == nil:
		return placed{problem: fmt.Sprintf("it uses the network of the container %s, which is not there", clip(id)), hint: "start that container again, then this one"}
	case depth == maxJoins:
		return placed{problem: "it uses the network of a container that uses the network of another, and so on", hint: "connect it to a network of its own"}
	case other.status != stateRunning:
		return placed{problem: fmt.Sprintf("it uses the network of the container %s, which is %s", other.name, other.status)}
	}
	if !own {
		o, _, _ := readOptions(other, source, false)
		if o.Docker.Network != nil {
			wanted, own = *o.Docker.Network, true
		}
	}
	p := w.reachFrom(other, wanted, own, source, depth+1)
	if p.problem != "" {
		p.problem = fmt.Sprintf("it uses the network of the container %s, and that one cannot be reached: %s", other.name, p.problem)
	} else {
		p.via += " of container " + other.name
	}
	return p
}

// choose takes one of the container's networks when nobody has named one.
func (w *world) choose(c *container, p placed, source string) placed {
	var open []network
	for _, n := range c.networks {
		if n.address().IsValid() || c.placeholder != "" {
			open = append(open, n)
		}
	}
	// Swarm puts published services on a network that nothing is to be reached by.
	if len(open) > 1 {
		var rest []network
		for _, n := range open {
			if n.name != "ingress" && n.name != "docker_gwbridge" {
				rest = append(rest, n)
			}
		}
		if len(rest) > 0 {
			open = rest
		}
	}
	take := func(n network) placed {
		p.host, p.via = n.address().String(), n.name
		if c.placeholder != "" {
			p.host = c.placeholder
		}
		return p
	}
	switch {
	case len(open) == 0:
		p.problem = "it has no address in any network"
		if len(c.networks) > 0 {
			p.problem += " (its networks: " + strings.Join(c.networkNames(), ", ") + ")"
		}
		return p
	case w.vantage.inside:
		for _, n := range open {
			if w.vantage.shares(n.name) {
				return take(n)
			}
		}
		sets := fmt.Sprintf("it is on %s, and Sluice is on %s", names(open), strings.Join(w.vantage.networks, ", "))
		if len(open) > 1 {
			p.problem, p.hint = "none of its networks is one of Sluice's: "+sets, "connect both to one network, or name the right one in the label traefik.docker.network"
			return p
		}
		p.warnings.Add(diag.Finding{Place: diag.Place{Source: source}, Severity: diag.Warning, Code: CodeNetwork,
			Message: "the container may be out of reach: " + sets, Hint: "connect both to one network"})
		return take(open[0])
	case len(open) == 1, w.vantage.host:
		return take(open[0])
	}
	p.problem = fmt.Sprintf("it is on %s, and nothing tells which of them Sluice reaches", names(open))
	p.hint = "name one in the label traefik.docker.network or in the option network"
	return p
}

func names(list []network) string {
	var out []string
	for _, n := range list {
		out = append(out, n.name)
	}
	return strings.Join(out, ", ")
}

// choosePort returns the port of a container for a service: what its label says, else the lowest that the engine reports
// for the protocol, else the lowest of any.
func (c *container) choosePort(label, protocol string) (number int, problem, hint string) {
	if label = strings.TrimSpace(label); label != "" {
		n, err := strconv.Atoi(label)
		if err != nil || n < 1 || n > 65535 {
			return 0, fmt.Sprintf("the port %q is not a number from 1 to 65535", clip(label)), ""
		}
		return n, "", ""
	}
	for _, p := range c.ports {
		if p.protocol == protocol {
			return p.number, "", ""
		}
	}
	if len(c.ports) > 0 {
		return c.ports[0].number, "", ""
	}
	if c.placeholder != "" {
		return 80, "", "" // its image may well declare one
	}
	hint = "write the port in the label loadbalancer.server.port"
	if len(c.exposed) > 0 {
		hint += ", perhaps " + strconv.Itoa(c.exposed[0]) + ", which its image declares"
	}
	return 0, "port is missing: the engine reports none", hint
}

// published returns where a port is published on an address of the host that can be connected to.
func (c *container) published(number int, protocol string) (host, port string, ok bool) {
	for _, p := range c.ports {
		if p.number != number || p.protocol != protocol || len(p.bindings) == 0 {
			continue
		}
		b := p.bindings[0]
		if a := parseAddress(b.ip); a.IsValid() && b.port != "" {
			return a.String(), b.port, true
		}
	}
	return "", "", false
}

// endpoint returns host:port of a container for a service.
func (w *world) endpoint(c *container, at placed, number int, protocol string) (address string, via string) {
	if w.settings.useBindPortIP {
		if host, port, ok := c.published(number, protocol); ok {
			return net.JoinHostPort(host, port), "published"
		}
	}
	return net.JoinHostPort(at.host, strconv.Itoa(number)), at.via
}
