package docker

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/intake/decode"
)

// presence is how much of a container is there.
type presence uint8

const (
	// invisible containers contribute nothing.
	invisible presence = iota
	// away ones keep their routes, without servers, until they come back.
	away
	// empty ones are shown with services without servers, because an option or label asks for it.
	empty
	// live ones serve.
	live
)

// retryAfter is when clients of a service whose containers are away shall ask again.
const retryAfter = 5

// unit is what one container contributes to the configuration. It does not change once a merger has it.
type unit struct {
	// key is unique among the units of a provider.
	key      string
	source   string
	c        *container
	presence presence
	// why tells why it is not live, or not served at all.
	why      string
	config   *dynamic.Config
	where    dynamic.Locator
	findings diag.List
	broken   map[string]diag.List
	// keys are those of all its elements, filled by elements.
	keys []elementKey
	// targets are the addresses of servers whose answering decides.
	targets []string
	// late says that the targets have had time enough to answer.
	late bool
	// served lists the addresses of its servers.
	served []string
}

// held reports whether nothing of the unit serves for the time being.
func (u *unit) held() bool {
	return u.presence == away || u.presence == live && len(u.served) == 0 && len(u.targets) > 0
}

// deriver makes the unit of one container.
type deriver struct {
	w *world
	u *unit
	o options
	// name is the container's service.
	name string
	at   placed
	// placedYet says that at is known; complained that its problem has been reported.
	placedYet, complained bool
	// automatic are the services that no label defines.
	automatic map[string]bool
}

// wanted says whether a container is to be served at all, before its state is looked at.
func (w *world) wanted(c *container, source string) (o options, findings diag.List, why string) {
	o, findings, why = readOptions(c, source, w.settings.swarm)
	enabled := w.settings.exposedByDefault
	if o.Enable != nil {
		enabled = *o.Enable
	}
	switch {
	case why != "":
		return o, findings, why
	case !enabled && o.Enable != nil:
		why = "its label enable is false"
	case !enabled:
		why = "exposedByDefault is off and it has no label traefik.enable=true"
	case !w.settings.constraint(c.labels):
		why = "it does not meet the constraints"
	default:
		return o, findings, ""
	}
	return o, nil, why // what is not ours is not remarked on
}

// derive makes the unit of a container. presence and why are its state as far as the engine's word decides it; a container
// that is not wanted is invisible whatever they say.
func (w *world) derive(key, source string, c *container, p presence, why string) *unit {
	u := &unit{key: key, source: source, c: c, presence: p, why: why, config: &dynamic.Config{}}
	o, findings, unwanted := w.wanted(c, source)
	u.findings = findings
	if unwanted != "" {
		u.presence, u.why = invisible, unwanted
		return u
	}
	if p == invisible {
		return u
	}
	f := decode.Labels(c.labels, source, &decode.Files{Read: decode.ReadMaterial})
	u.config, u.where, u.broken = f.Config, f.Where, f.Broken
	u.findings = append(append(u.findings, remarked(c, source)...), f.Findings...)
	d := &deriver{w: w, u: u, o: o, name: c.serviceName()}
	d.tcp()
	d.udp()
	d.http()
	switch {
	case u.config.HTTP == nil && u.config.TCP == nil && u.config.UDP == nil || !c.ownLabels():
	case u.presence == away || u.presence == empty:
		d.remark(diag.Info, CodeAway, "the container "+u.why, "its requests get 503 until it is back")
	case u.held() && w.late(c):
		d.remark(diag.Warning, CodeSilent, "nothing answers on "+strings.Join(u.targets, ", "),
			"its requests get 503; see whether the port is right, and that the program listens on 0.0.0.0 and not on 127.0.0.1")
	case u.held():
		u.why = "nothing answers on " + strings.Join(u.targets, ", ") + " yet"
	}
	return u
}

// remark adds a finding about the container as a whole.
func (d *deriver) remark(severity diag.Severity, code, message, hint string) {
	d.u.findings.Add(diag.Finding{Place: diag.Place{Source: d.u.source}, Severity: severity, Code: code, Message: message, Hint: hint})
}

// breaks adds a finding that disables one element.
func (d *deriver) breaks(kind, name, code, message, hint string, field ...string) {
	key := kind + "." + name
	path := append(append(strings.Split(kind, "."), name), field...)
	f := diag.Finding{Place: d.u.where.Locate(path...), Severity: diag.Error, Key: strings.Join(append([]string{key}, field...), "."), Code: code,
		Message: message, Hint: hint}
	if d.u.broken == nil {
		d.u.broken = map[string]diag.List{}
	}
	d.u.broken[key] = append(d.u.broken[key], f)
	d.u.findings.Add(f)
}

// sound reports whether reading left an element alone.
func (d *deriver) sound(kind, name string) bool { return !d.u.broken[kind+"."+name].Has(diag.Error) }

// server finds the address of the container for a service. why says why there is none; then the service has one server
// less. An address that does not answer yet is none either.
func (d *deriver) server(kind, service, port, protocol string) (address, origin, why string) {
	c := d.u.c
	if d.u.presence != live {
		return "", "", d.absent(d.u.why)
	}
	number, problem, hint := c.choosePort(port, protocol)
	if problem != "" {
		d.complain(kind, service, CodeNoPort, problem, hint)
		return "", "", d.absent(problem)
	}
	if !d.placedYet {
		d.placedYet = true
		d.at = d.w.reach(c, &d.o, d.u.source)
		d.u.findings = append(d.u.findings, d.at.warnings...)
	}
	var via string
	if d.at.problem == "" {
		address, via = d.w.endpoint(c, d.at, number, protocol)
	} else if host, port, ok := c.published(number, protocol); ok && d.w.settings.useBindPortIP {
		address, via = net.JoinHostPort(host, port), "published"
	} else {
		if !d.complained {
			d.complained = true
			d.complain(kind, service, CodeNoAddress, d.at.problem, d.at.hint)
		}
		return "", "", d.absent(d.at.problem)
	}
	if protocol == "tcp" && c.health == "" && c.placeholder == "" {
		if !slices.Contains(d.u.targets, address) {
			d.u.targets = append(d.u.targets, address)
		}
		if !d.w.ready(c, address) {
			return "", "", d.absent("nothing answers on " + address + " yet")
		}
	}
	if !slices.Contains(d.u.served, address) {
		d.u.served = append(d.u.served, address)
	}
	return address, d.origin(via), ""
}

// complain reports that a service gets no server from this container. It is said about the service, and leaves it alone:
// other containers may have servers for it.
func (d *deriver) complain(kind, service, code, message, hint string) {
	d.u.why = cmp.Or(d.u.why, message)
	if d.w.settings.exposedByDefault && !d.u.c.ownLabels() {
		return // nobody asked for it to be served
	}
	place := diag.Place{Source: d.u.source}
	if !d.automatic[kind+"."+service] {
		place = d.u.where.Locate(append(strings.Split(kind, "."), service)...)
	}
	d.u.findings.Add(diag.Finding{Place: place, Severity: diag.Error, Key: kind + "." + service, Code: code, Message: message, Hint: hint})
}

// origin tells people where an address came from.
func (d *deriver) origin(via string) string {
	c := d.u.c
	health := cmp.Or(c.health, "no health check")
	return fmt.Sprintf("%s %s, %s, network %s", d.u.source, shortID(c.id), health, via)
}

func (d *deriver) absent(why string) string { return d.u.source + ": " + why }

func shortID(id string) string { return id[:min(len(id), 12)] }

// link gives routers without a service the one that they can only mean. services are the names of the services that the
// labels define, automatic is the one that is made where they define none; create makes it.
func link[R any](d *deriver, kind string, routers map[string]*R, services []string, automatic string, of func(*R) *string, create func()) {
	if len(services) == 0 {
		if d.automatic == nil {
			d.automatic = map[string]bool{}
		}
		d.automatic[strings.TrimSuffix(kind, "routers")+"services."+automatic] = true
		create()
		services = []string{automatic}
	}
	for _, name := range slices.Sorted(maps.Keys(routers)) {
		r := routers[name]
		if r == nil || *of(r) != "" {
			continue
		}
		if len(services) == 1 {
			*of(r) = services[0]
			continue
		}
		slices.Sort(services)
		d.breaks(kind, name, CodeLink, fmt.Sprintf("Router %s cannot be linked automatically with multiple Services: %q", name, services),
			"name one of them in the router's label service")
	}
}

// tcp completes the TCP elements, if there are any.
func (d *deriver) tcp() {
	t := d.u.config.TCP
	if t == nil || len(t.Routers)+len(t.Services) == 0 {
		return
	}
	if t.Services == nil {
		t.Services = map[string]*dynamic.TCPService{}
	}
	link(d, "tcp.routers", t.Routers, sortedKeys(t.Services), d.name, func(r *dynamic.TCPRouter) *string { return &r.Service },
		func() { t.Services[d.name] = &dynamic.TCPService{} })
	for _, name := range sortedKeys(t.Services) {
		d.tcpServers(name, t.Services[name])
	}
}

func (d *deriver) tcpServers(name string, s *dynamic.TCPService) {
	if s.LoadBalancer == nil {
		if len(s.Kinds()) > 0 || !d.sound("tcp.services", name) {
			return
		}
		s.LoadBalancer = &dynamic.TCPLoadBalancer{}
	}
	lb := s.LoadBalancer
	server := &dynamic.TCPServer{}
	if len(lb.Servers) > 0 {
		server = lb.Servers[0]
	}
	address, origin, why := d.server("tcp.services", name, server.Port, "tcp")
	lb.Servers = nil
	if why != "" {
		lb.Absent = []string{why}
		return
	}
	server.Address, server.Port, server.Origin = address, "", origin
	lb.Servers = []*dynamic.TCPServer{server}
}

// udp completes the UDP elements, if there are any.
func (d *deriver) udp() {
	t := d.u.config.UDP
	if t == nil || len(t.Routers)+len(t.Services) == 0 {
		return
	}
	if t.Services == nil {
		t.Services = map[string]*dynamic.UDPService{}
	}
	link(d, "udp.routers", t.Routers, sortedKeys(t.Services), d.name, func(r *dynamic.UDPRouter) *string { return &r.Service },
		func() { t.Services[d.name] = &dynamic.UDPService{} })
	for _, name := range sortedKeys(t.Services) {
		d.udpServers(name, t.Services[name])
	}
}

func (d *deriver) udpServers(name string, s *dynamic.UDPService) {
	if s.LoadBalancer == nil {
		if len(s.Kinds()) > 0 || !d.sound("udp.services", name) {
			return
		}
		s.LoadBalancer = &dynamic.UDPLoadBalancer{}
	}
	lb := s.LoadBalancer
	server := &dynamic.UDPServer{}
	if len(lb.Servers) > 0 {
		server = lb.Servers[0]
	}
	address, origin, why := d.server("udp.services", name, server.Port, "udp")
	lb.Servers = nil
	if why != "" {
		lb.Absent = []string{why}
		return
	}
	server.Address, server.Port, server.Origin = address, "", origin
	lb.Servers = []*dynamic.UDPServer{server}
}

func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
