package docker

import (
	"context"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"

	"sluice/internal/core/diag"
)

// swarmState is what a manager says about the services of a Swarm.
type swarmState struct {
	// tasks are the running tasks as containers, and services without any as containers without addresses.
	tasks []*container
	// service tells which service a container of tasks belongs to.
	service map[string]string
}

// Answers of a manager, as far as they are read.
type (
	swarmService struct {
		ID        string
		CreatedAt string
		Spec      struct {
			Name         string
			Labels       map[string]string
			EndpointSpec *struct{ Mode string }
		}
		Endpoint struct {
			VirtualIPs []struct{ NetworkID, Addr string }
		}
	}
	swarmTask struct {
		ID, ServiceID, NodeID string
		CreatedAt             string
		Slot                  int
		DesiredState          string
		Status                struct{ State, Timestamp string }
		NetworksAttachments   []struct {
			Network struct {
				ID   string
				Spec struct{ Name string }
			}
			Addresses []string
		}
	}
	swarmNetwork struct {
		ID   string `json:"Id"`
		Name string
	}
)

// overlayBefore is the version below which networks cannot be asked for by scope.
const overlayBefore = "1.29"

func (c *conversation) swarm(ctx context.Context) (*swarmState, error) {
	var services []swarmService
	err := c.ask(ctx, &services, func(ctx context.Context) error {
		_, err := c.c.ServiceList(ctx, client.ServiceListOptions{})
		return err
	})
	if err != nil {
		return nil, err
	}
	term, value := "scope", "swarm"
	if v, _ := versionNumber(c.c.ClientVersion()); v < mustVersion(overlayBefore) {
		term, value = "driver", "overlay"
	}
	var networks []swarmNetwork
	err = c.ask(ctx, &networks, func(ctx context.Context) error {
		_, err := c.c.NetworkList(ctx, client.NetworkListOptions{Filters: client.Filters{}.Add(term, value)})
		return err
	})
	if err != nil {
		return nil, err
	}
	var tasks []swarmTask
	err = c.ask(ctx, &tasks, func(ctx context.Context) error {
		_, err := c.c.TaskList(ctx, client.TaskListOptions{Filters: client.Filters{}.Add("desired-state", "running")})
		return err
	})
	if err != nil {
		return nil, err
	}
	return joinSwarm(services, tasks, networks), nil
}

func mustVersion(v string) int {
	n, _ := versionNumber(v)
	return n
}

// joinSwarm makes a container of each running task, with the labels of its service.
func joinSwarm(services []swarmService, tasks []swarmTask, networks []swarmNetwork) *swarmState {
	names := map[string]string{}
	for _, n := range networks {
		names[n.ID] = n.Name
	}
	byService := map[string][]*swarmTask{}
	for i := range tasks {
		if t := &tasks[i]; t.DesiredState == stateRunning && t.Status.State == stateRunning {
			byService[t.ServiceID] = append(byService[t.ServiceID], t)
		}
	}
	out := &swarmState{service: map[string]string{}}
	add := func(service string, c *container) {
		out.tasks = append(out.tasks, c)
		out.service[c.id] = service
	}
	for i := range services {
		s := &services[i]
		list := byService[s.ID]
		if len(list) == 0 {
			add(s.ID, &container{id: s.ID, name: s.Spec.Name, service: s.Spec.Name, labels: s.Spec.Labels, created: timeOf(s.CreatedAt),
				status: "without running tasks"})
			continue
		}
		base := &container{labels: s.Spec.Labels}
		o, _, _ := readOptions(base, "", true)
		if isTrue(o.Swarm.LBSwarm) {
			if c := s.virtual(names); c != nil {
				add(s.ID, c)
				continue
			}
		}
		slices.SortFunc(list, func(a, b *swarmTask) int { return strings.Compare(a.ID, b.ID) })
		for _, t := range list {
			c := t.container(s, names)
			if isTrue(o.Swarm.LBSwarm) {
				c.remark = "the service has no virtual address, since its endpoint mode is dnsrr: its tasks are used one by one"
			}
			add(s.ID, c)
		}
	}
	return out
}

func timeOf(s string) time.Time {
	t, _ := time.Parse(time.RFC3339Nano, s) // the zero time is the oldest
	return t
}

// virtual makes the one container that stands for a service with a virtual address; nil if it has none.
func (s *swarmService) virtual(names map[string]string) *container {
	if s.Spec.EndpointSpec == nil || s.Spec.EndpointSpec.Mode != "vip" {
		return nil
	}
	c := &container{id: s.ID, name: s.Spec.Name, service: s.Spec.Name, labels: s.Spec.Labels, created: timeOf(s.CreatedAt), started: "vip", status: stateRunning}
	for _, v := range s.Endpoint.VirtualIPs {
		c.attach(names[v.NetworkID], v.Addr)
	}
	if len(c.networks) == 0 {
		return nil
	}
	return c
}

func (t *swarmTask) container(s *swarmService, names map[string]string) *container {
	instance := strconv.Itoa(t.Slot)
	if t.Slot == 0 {
		instance = t.ID
	}
	c := &container{id: t.ID, name: s.Spec.Name + "." + instance, service: s.Spec.Name, labels: s.Spec.Labels, created: timeOf(t.CreatedAt),
		started: t.Status.Timestamp, status: stateRunning}
	for _, a := range t.NetworksAttachments {
		name := names[a.Network.ID]
		if name == "" {
			name = a.Network.Spec.Name
		}
		for _, address := range a.Addresses {
			c.attach(name, address)
		}
	}
	return c
}

// attach adds an address, with or without the length of its prefix, in a network of that name.
func (c *container) attach(name, address string) {
	text, _, _ := strings.Cut(address, "/")
	a, err := netip.ParseAddr(text)
	if err != nil || name == "" {
		return
	}
	i := slices.IndexFunc(c.networks, func(n network) bool { return n.name == name })
	if i < 0 {
		c.networks = append(c.networks, network{name: name})
		i = len(c.networks) - 1
	}
	if n := &c.networks[i]; a.Is4() {
		n.v4 = a
	} else {
		n.v6 = a
	}
	slices.SortFunc(c.networks, func(a, b network) int { return strings.Compare(a.name, b.name) })
}

// stir is how long after an event the manager is asked: tasks change in bursts.
const stir = 100 * time.Millisecond

// converseSwarm holds one session with a manager: its services are asked for regularly, and soon after an event. Tasks
// have no events of their own, so those of services and of the manager's own containers stand for them.
func (f *follower) converseSwarm(ctx context.Context, talk engine) error {
	poll := func() error {
		state, err := talk.swarm(ctx)
		if err == nil {
			f.do(func() { f.polled(state) })
		}
		return err
	}
	if f.selfID != "" {
		// Our own container tells which networks are reached. A manager elsewhere does not know it.
		if c, err := talk.inspect(ctx, f.selfID); err == nil {
			v, known := vantageOf(c, func(id string) *container {
				owner, _ := talk.inspect(ctx, id) // nil with an error
				return owner
			})
			if known {
				f.do(func() { f.vantage = v })
			}
		}
	}
	if err := poll(); err != nil {
		return err
	}
	if !f.settings.watch {
		select {
		case <-f.looked:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stirred := make(chan struct{}, 1)
	var parts sync.WaitGroup
	defer parts.Wait()
	defer cancel(nil)
	parts.Go(func() {
		cancel(talk.events(ctx, true, func() {}, func(event) {
			select {
			case stirred <- struct{}{}:
			default:
			}
		}))
	})
	every := time.NewTicker(f.settings.refresh)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-every.C:
		case <-stirred:
			select {
			case <-time.After(stir):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if err := poll(); err != nil {
			return err
		}
	}
}

// polled takes what a manager said.
func (f *follower) polled(state *swarmState) {
	f.told(f.settings.findings)
	there := make(map[string]bool, len(state.tasks))
	if f.services == nil {
		f.services = map[string]bool{}
	}
	for _, c := range state.tasks {
		if c.status == stateRunning {
			f.services[state.service[c.id]] = true
		}
	}
	for _, c := range state.tasks {
		there[c.id] = true
		m := f.member(c.id)
		if m.c != nil && m.removed.IsZero() && reflect.DeepEqual(m.c, c) {
			continue
		}
		f.known(m, c)
		// A service is known when any of its tasks ran while we looked.
		m.seen = f.services[state.service[c.id]]
	}
	for id, m := range f.members {
		if !there[id] && m.removed.IsZero() {
			f.gone(m)
		}
	}
	if !f.synced {
		f.firstLook()
	}
}

// remarked adds what reading the container itself had to say.
func remarked(c *container, source string) diag.List {
	if c.remark == "" {
		return nil
	}
	return diag.List{{Place: diag.Place{Source: source}, Severity: diag.Warning, Code: CodeBadValue, Message: c.remark}}
}
