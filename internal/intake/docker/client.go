package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
)

// oldestVersion is the lowest version of the engine's interface that is spoken. The library refuses to negotiate below
// 1.40; what is read here has not changed since 1.24.
const oldestVersion = "1.24"

// maxAnswer bounds one answer of an engine, in bytes.
const maxAnswer = 256 << 20

// errGone says that the engine does not know a container.
var errGone = errors.New("no such container")

// conversation is a connection to one engine, at one version of its interface. Its methods may be called concurrently.
type conversation struct {
	c       *client.Client
	close   func()
	timeout time.Duration
}

// event is a remark of the engine about one container.
type event struct {
	// id is the container's; empty for events about services and nodes of a Swarm.
	id     string
	action string
	signal int
	// lingers says that the labels keep the routes of the container while it does not run.
	lingers bool
}

// dial opens a conversation.
type dial func(ctx context.Context) (engine, error)

// engine is what the provider asks an engine.
type engine interface {
	// list returns all containers, in short.
	list(ctx context.Context) ([]listed, error)
	// inspect returns one container; errGone if there is none.
	inspect(ctx context.Context, id string) (*container, error)
	// events calls handle for every event until the stream ends, which is always with an error. begun is called once
	// events arrive: what happens from then on is not missed.
	events(ctx context.Context, swarm bool, begun func(), handle func(event)) error
	// swarm returns the tasks of all services as containers.
	swarm(ctx context.Context) (*swarmState, error)
	// ping reports whether the engine answers.
	ping(ctx context.Context) error
	end()
}

// listed is a container as the list of all has it.
type listed struct {
	ID     string `json:"Id"`
	Names  []string
	Labels map[string]string
	State  string
}

// converse opens a conversation over a transport that knows the way to the engine.
func converse(ctx context.Context, t *transport, timeout time.Duration, pinned, agent string) (*conversation, error) {
	hc := &http.Client{Transport: t, CheckRedirect: client.CheckRedirect}
	options := func(version string) []client.Opt {
		return []client.Opt{client.WithHTTPClient(hc), client.WithScheme(t.scheme), client.WithUserAgent(agent), client.WithAPIVersion(version)}
	}
	if pinned == "" {
		c, err := client.New(options("")...)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		answer, err := c.Ping(ctx, client.PingOptions{})
		if err != nil {
			t.close()
			return nil, worded(err)
		}
		pinned = negotiate(answer.APIVersion)
	}
	c, err := client.New(options(pinned)...)
	if err != nil {
		return nil, err
	}
	return &conversation{c: c, close: t.close, timeout: timeout}, nil
}

// negotiate returns the version to speak with an engine whose newest one is known: that one or our newest, whichever is
// lower. An engine that says nothing is older than the question.
func negotiate(newest string) string {
	theirs, ok := versionNumber(newest)
	if !ok {
		return oldestVersion
	}
	ours, _ := versionNumber(client.MaxAPIVersion)
	least, _ := versionNumber(oldestVersion)
	switch {
	case theirs >= ours:
		return client.MaxAPIVersion
	case theirs < least:
		return oldestVersion
	}
	return newest
}

// versionNumber makes versions comparable.
func versionNumber(v string) (n int, ok bool) {
	major, minor, found := strings.Cut(v, ".")
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(minor)
	if !found || errA != nil || errB != nil || a < 0 || b < 0 || a > 1000 || b > 1000 {
		return 0, false
	}
	return a*1001 + b, true
}

// worded says more where the library's error leaves people guessing.
func worded(err error) error {
	if err == nil {
		return nil
	}
	if text := err.Error(); strings.Contains(text, "client version") && strings.Contains(text, "too old") {
		return fmt.Errorf("the engine speaks only newer versions of its interface than %s, the newest that is known here: %w", client.MaxAPIVersion, err)
	}
	return err
}

// answer is where the transport puts the body of a response, past the library's own reading: its types refuse whole
// answers for the form of fields that nobody needs here.
type answer struct {
	status int
	body   []byte
	// stream leaves the body to the library.
	stream bool
}

type answerKey struct{}

// ask makes one request by call and reads its answer into v.
func (c *conversation) ask(ctx context.Context, v any, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	a := &answer{}
	if err := call(context.WithValue(ctx, answerKey{}, a)); err != nil {
		if a.status == http.StatusNotFound {
			return errGone
		}
		return worded(err)
	}
	if err := json.Unmarshal(a.body, v); err != nil {
		return fmt.Errorf("the engine's answer cannot be read: %w", err)
	}
	return nil
}

func (c *conversation) list(ctx context.Context) (out []listed, err error) {
	err = c.ask(ctx, &out, func(ctx context.Context) error {
		_, err := c.c.ContainerList(ctx, client.ContainerListOptions{All: true})
		return err
	})
	return out, err
}

func (c *conversation) inspect(ctx context.Context, id string) (*container, error) {
	var raw json.RawMessage
	err := c.ask(ctx, &raw, func(ctx context.Context) error {
		_, err := c.c.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		return err
	})
	if err != nil {
		return nil, err
	}
	return readContainer(raw)
}

func (c *conversation) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	_, err := c.c.Ping(ctx, client.PingOptions{})
	return worded(err)
}

func (c *conversation) end() { c.close() }

// eventTypes are the kinds of events that are asked for, from the fullest to what every engine knows. Old engines and
// some others refuse kinds that they do not have.
func eventTypes(swarm bool) [][]string {
	all := [][]string{{"container", "network"}, {"container"}}
	if swarm {
		all = append([][]string{{"container", "network", "service", "node"}}, all...)
	}
	return all
}

func (c *conversation) events(ctx context.Context, swarm bool, begun func(), handle func(event)) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, types := range eventTypes(swarm) {
		a := &answer{stream: true}
		r := c.c.Events(context.WithValue(ctx, answerKey{}, a), client.EventsListOptions{Filters: client.Filters{}.Add("type", types...)})
		if a.status == http.StatusOK {
			begun()
		}
		for open := true; open; {
			select {
			case m := <-r.Messages:
				if e, ok := readEvent(&m); ok {
					handle(e)
				}
			case err = <-r.Err:
				open = false
			}
		}
		if a.status == http.StatusOK || a.status == 0 {
			break
		}
	}
	if err == nil || errors.Is(err, io.EOF) {
		return errors.New("the engine ended the stream of events")
	}
	return worded(err)
}

// readEvent takes out of an event what matters. ok is false for events that change nothing here.
func readEvent(m *events.Message) (e event, ok bool) {
	e = event{id: m.Actor.ID, action: string(m.Action)}
	switch m.Type {
	case "network":
		e.id = m.Actor.Attributes["container"]
		return e, e.id != "" && (e.action == "connect" || e.action == "disconnect")
	case "service", "node":
		return event{action: e.action}, true
	case "container", "":
	default:
		return e, false
	}
	e.lingers = mayLinger(m.Actor.Attributes)
	e.signal, _ = strconv.Atoi(m.Actor.Attributes["signal"])
	if strings.HasPrefix(e.action, "health_status") {
		e.action = "health_status"
	}
	switch e.action {
	case "create", "start", "die", "died", "kill", "stop", "pause", "unpause", "rename", "health_status", "destroy", "remove", "oom", "update":
		return e, e.id != ""
	}
	return e, false
}
