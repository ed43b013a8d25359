package docker

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// States of a container, in the engine's words.
const (
	stateRunning = "running"
	statePaused  = "paused"
	stateExited  = "exited"
)

// Health of a container, in the engine's words. No health check is the empty text, whatever the engine calls it.
const (
	healthHealthy  = "healthy"
	healthStarting = "starting"
)

// container is what matters of one container, a task of a Swarm service, or a service of a compose file. It is immutable
// once made.
type container struct {
	id string
	// name is the container's own, without the leading slash.
	name string
	// service is the name that the elements of all replicas have, before normalisation. Empty: from labels or name.
	service string
	labels  map[string]string
	created time.Time
	// started tells one life of the container from the next.
	started string
	status  string
	health  string
	// mode is the network mode: bridge, host, none, container:ID, or the name of a network.
	mode string
	// networks are sorted by name.
	networks []network
	// ports are those that the engine reports, sorted by number.
	ports []port
	// exposed are ports that the image declares, sorted; for hints only.
	exposed []int
	// stopSignal is what makes the container stop.
	stopSignal int
	// node is the address of the machine, where that is known (Swarm).
	node string
	// remark is something to be said about it, for findings.
	remark string
	// placeholder stands for the address of a container that does not exist yet.
	placeholder string
}

// network is one attachment. Addresses are invalid where the engine reports none.
type network struct {
	name   string
	v4, v6 netip.Addr
}

// address is the one that servers are reached by, invalid if there is none.
func (n network) address() netip.Addr {
	if n.v4.IsValid() {
		return n.v4
	}
	return n.v6
}

// port is a port that the engine reports, exposed or published.
type port struct {
	number   int
	protocol string
	bindings []binding
}

// binding is where a port is published on the host.
type binding struct {
	ip   string
	port string
}

// joins returns the container whose network this one uses, empty if it has its own.
func (c *container) joins() string {
	id, ok := strings.CutPrefix(c.mode, "container:")
	if !ok {
		return ""
	}
	return id
}

// networkNames lists the attachments.
func (c *container) networkNames() []string {
	var out []string
	for _, n := range c.networks {
		out = append(out, n.name)
	}
	return out
}

// inspected is the part of the engine's answer about a container that is read. The library's own type refuses the whole
// answer for the form of fields that do not matter here, which other engines than Docker's fill in other ways.
type inspected struct {
	ID      string `json:"Id"`
	Name    string
	Created string
	State   struct {
		Status    string
		Running   bool
		Paused    bool
		StartedAt string
		Health    *struct{ Status string }
	}
	Config struct {
		Labels       map[string]string
		ExposedPorts map[string]struct{}
		StopSignal   string
	}
	HostConfig      struct{ NetworkMode string }
	NetworkSettings struct {
		Ports    map[string][]struct{ HostIP, HostPort string }
		Networks map[string]*struct{ IPAddress, GlobalIPv6Address string }
	}
}

// readContainer makes a container of the engine's answer.
func readContainer(data []byte) (*container, error) {
	var in inspected
	if err := json.Unmarshal(data, &in); err != nil {
		return nil, fmt.Errorf("the engine's answer about a container: %w", err)
	}
	if in.ID == "" {
		return nil, fmt.Errorf("the engine's answer about a container has no Id")
	}
	c := &container{id: in.ID, name: strings.TrimPrefix(in.Name, "/"), labels: in.Config.Labels, started: in.State.StartedAt,
		status: in.State.Status, mode: in.HostConfig.NetworkMode, stopSignal: signalNumber(in.Config.StopSignal)}
	if t, err := time.Parse(time.RFC3339Nano, in.Created); err == nil {
		c.created = t
	}
	if c.status == "" {
		switch {
		case in.State.Paused:
			c.status = statePaused
		case in.State.Running:
			c.status = stateRunning
		default:
			c.status = stateExited
		}
	}
	if h := in.State.Health; h != nil && h.Status != "none" {
		c.health = h.Status
	}
	for name, n := range in.NetworkSettings.Networks {
		if n != nil {
			c.networks = append(c.networks, network{name, parseAddress(n.IPAddress), parseAddress(n.GlobalIPv6Address)})
		}
	}
	slices.SortFunc(c.networks, func(a, b network) int { return strings.Compare(a.name, b.name) })
	for spec, published := range in.NetworkSettings.Ports {
		number, protocol, ok := parsePort(spec)
		if !ok {
			continue
		}
		p := port{number: number, protocol: protocol}
		for _, b := range published {
			p.bindings = append(p.bindings, binding{b.HostIP, b.HostPort})
		}
		c.ports = append(c.ports, p)
	}
	sortPorts(c.ports)
	for spec := range in.Config.ExposedPorts {
		if number, _, ok := parsePort(spec); ok {
			c.exposed = append(c.exposed, number)
		}
	}
	slices.Sort(c.exposed)
	return c, nil
}

func sortPorts(ports []port) {
	slices.SortFunc(ports, func(a, b port) int {
		return cmp.Or(cmp.Compare(a.number, b.number), strings.Compare(a.protocol, b.protocol))
	})
}

func parseAddress(s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// parsePort reads 80/tcp; without a protocol it is tcp.
func parsePort(s string) (number int, protocol string, ok bool) {
	text, protocol, found := strings.Cut(s, "/")
	if !found {
		protocol = "tcp"
	}
	number, err := strconv.Atoi(text)
	return number, protocol, err == nil && number > 0 && number < 1<<16
}

// Signals by the numbers that Linux engines report.
const (
	sigInt  = 2
	sigQuit = 3
	sigKill = 9
	sigTerm = 15
)

// signalNumber reads the stop signal of a container, by name or number. What is not known is the default, SIGTERM.
func signalNumber(s string) int {
	if n, err := strconv.Atoi(s); err == nil && n > 0 {
		return n
	}
	names := map[string]int{"HUP": 1, "INT": sigInt, "QUIT": sigQuit, "ABRT": 6, "KILL": sigKill, "USR1": 10, "USR2": 12, "TERM": sigTerm,
		"STOP": 19, "WINCH": 28, "PWR": 30}
	name := strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(s)), "SIG")
	if n, ok := names[name]; ok {
		return n
	}
	// Real-time signals, as systemd's RTMIN+3.
	if rest, ok := strings.CutPrefix(name, "RTMIN+"); ok {
		if n, err := strconv.Atoi(rest); err == nil {
			return 34 + n
		}
	}
	return sigTerm
}

// stops reports whether a signal means that the container will end.
func (c *container) stops(signal int) bool {
	switch signal {
	case sigInt, sigQuit, sigTerm, sigKill, c.stopSignal:
		return true
	}
	return false
}
