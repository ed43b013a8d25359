package docker

import (
	"cmp"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
	"sluice/internal/intake/decode"
)

// Project is a compose file, read for the containers that it would make.
type Project struct {
	// Name is the project's, which stands in the names of containers and networks.
	Name string
	// Router is the service that runs Sluice or Traefik; nil if there is none.
	Router *RouterService
	// Findings are remarks on the file itself.
	Findings diag.List

	doc        *decode.Document
	dir        string
	containers []*container
	// swarm are the same with the labels below deploy.
	swarm []*container
	// places are where labels and services stand, by the source of a finding about them.
	places map[string]diag.Place
}

// RouterService is the service of a compose file that runs a router.
type RouterService struct {
	// Name of the service.
	Name string
	// Args and Environ are what it is started with.
	Args, Environ []string

	container *container
	binds     [][2]string // inside, outside
}

// IsCompose reports whether a document is a compose file.
func IsCompose(d *decode.Document) bool { return slices.Contains(d.RootKeys(), "services") }

// ReadCompose reads a compose file at path. env gives the values of variables.
func ReadCompose(d *decode.Document, path string, env func(string) (string, bool)) *Project {
	p := &Project{doc: d, dir: filepath.Dir(path), places: map[string]diag.Place{}}
	values, findings := d.Values()
	p.Findings = findings
	in := &interpolation{env: env, report: func(name string) {
		p.remark(diag.Warning, d.Locate(), "the variable "+name+" is not set: it is empty here", "set it, or write ${"+name+":-default}")
	}}
	root := in.all(values)
	p.Name = p.projectName(root, env)
	services := table(at(root, "services"))
	for _, name := range sortedKeys(services) {
		p.service(root, name, services[name])
	}
	return p
}

func (p *Project) remark(severity diag.Severity, place diag.Place, message, hint string) {
	f := diag.Finding{Place: place, Severity: severity, Code: decode.CodeNotRead, Message: message, Hint: hint}
	if !slices.Contains(p.Findings, f) {
		p.Findings.Add(f)
	}
}

var notInNames = regexp.MustCompile(`[^a-z0-9_-]`)

func (p *Project) projectName(root any, env func(string) (string, bool)) string {
	name := text(at(root, "name"))
	if set, ok := env("COMPOSE_PROJECT_NAME"); ok && set != "" {
		name = set
	}
	if name == "" {
		dir, err := filepath.Abs(p.dir)
		if err != nil {
			dir = p.dir
		}
		name = filepath.Base(dir)
	}
	return strings.TrimLeft(notInNames.ReplaceAllString(strings.ToLower(name), ""), "_-")
}

// service reads one service.
func (p *Project) service(root any, name string, v any) {
	here := p.doc.Locate("services", name)
	for _, key := range []string{"extends", "label_file"} {
		if at(v, key) != nil {
			p.remark(diag.Warning, p.doc.Locate("services", name, key), key+" is not followed: what it brings is missing here", "check the output of `docker compose config`")
		}
	}
	c := &container{id: name, name: p.Name + "-" + name + "-1", status: stateRunning, started: "compose", stopSignal: sigTerm}
	if own := text(at(v, "container_name")); own != "" {
		c.name = own
	}
	c.placeholder = c.name
	if at(v, "healthcheck") != nil && text(at(v, "healthcheck", "disable")) != "true" {
		c.health = healthHealthy
	}
	source := "container " + c.name
	p.places[source] = here
	c.labels = p.labels(v, source, "services", name, "labels")
	c.labels[composeService], c.labels[composeProject] = name, p.Name
	p.networks(root, name, v, c)
	p.ports(name, v, c)
	p.containers = append(p.containers, c)

	task := *c
	task.service, task.name = p.Name+"_"+name, p.Name+"_"+name+".1"
	task.placeholder = task.name
	taskSource := "task " + task.name
	p.places[taskSource] = here
	task.labels = p.labels(at(v, "deploy"), taskSource, "services", name, "deploy", "labels")
	p.swarm = append(p.swarm, &task)

	if isRouter(text(at(v, "image")), at(v, "build") != nil, name) && p.Router == nil {
		p.Router = &RouterService{Name: name, Args: words(at(v, "command")), container: c}
		p.Router.Environ = pairs(at(v, "environment"))
		p.binds(v)
	}
}

// isRouter tells from the name of an image, or the service's own where the image is built, what runs in it.
func isRouter(image string, built bool, service string) bool {
	base := service
	if image != "" {
		base = image[strings.LastIndexByte(image, '/')+1:]
	} else if !built {
		return false
	}
	base, _, _ = strings.Cut(base, ":")
	base, _, _ = strings.Cut(base, "@")
	return base == "sluice" || base == "traefik"
}

// labels reads labels in either form, and notes their places.
func (p *Project) labels(v any, source string, path ...string) map[string]string {
	out := map[string]string{}
	note := func(key, value string, step string) {
		out[key] = value
		p.places[source+" label "+key] = p.doc.Locate(append(slices.Clone(path), step)...)
	}
	switch l := at(v, "labels").(type) {
	case map[string]any:
		for key, value := range l {
			note(key, text(value), key)
		}
	case []any:
		for i, item := range l {
			key, value, _ := strings.Cut(text(item), "=")
			note(key, value, strconv.Itoa(i))
		}
	}
	return out
}

// networks reads which networks the service's containers are on.
func (p *Project) networks(root any, name string, v any, c *container) {
	full := func(key string) string {
		n := at(root, "networks", key)
		external := at(n, "external")
		switch {
		case text(at(n, "name")) != "":
			return text(at(n, "name"))
		case text(at(external, "name")) != "":
			return text(at(external, "name"))
		case text(external) == "true":
			return key
		}
		return p.Name + "_" + key
	}
	mode := text(at(v, "network_mode"))
	if service, ok := strings.CutPrefix(mode, "service:"); ok {
		mode = "container:" + service
	}
	c.mode = mode
	if mode != "" {
		return
	}
	var keys []string
	switch l := at(v, "networks").(type) {
	case map[string]any:
		keys = sortedKeys(l)
	case []any:
		for _, item := range l {
			keys = append(keys, text(item))
		}
	}
	if len(keys) == 0 {
		keys = []string{"default"}
	}
	for _, key := range keys {
		c.networks = append(c.networks, network{name: full(key)})
	}
	slices.SortFunc(c.networks, func(a, b network) int { return strings.Compare(a.name, b.name) })
}

// ports reads what is exposed and published. What an image declares is not known here.
func (p *Project) ports(name string, v any, c *container) {
	add := func(spec string, b *binding) {
		spec, protocol, _ := strings.Cut(spec, "/")
		first, _, _ := strings.Cut(spec, "-")
		number, _, ok := parsePort(first)
		if !ok {
			return
		}
		out := port{number: number, protocol: cmp.Or(protocol, "tcp")}
		if b != nil {
			out.bindings = []binding{*b}
		}
		c.ports = append(c.ports, out)
	}
	for _, item := range list(at(v, "expose")) {
		add(text(item), nil)
	}
	for i, item := range list(at(v, "ports")) {
		if m := table(item); m != nil {
			add(text(m["target"])+"/"+cmp.Or(text(m["protocol"]), "tcp"), &binding{text(m["host_ip"]), text(m["published"])})
			continue
		}
		whole := text(item)
		parts := whole
		var b *binding
		if j := strings.LastIndexByte(whole, ':'); j >= 0 {
			parts = whole[j+1:]
			outer := whole[:j]
			host := ""
			if k := strings.LastIndexByte(outer, ':'); k >= 0 {
				host, outer = strings.Trim(outer[:k], "[]"), outer[k+1:]
			}
			b = &binding{host, outer}
		}
		if _, _, ok := parsePort(strings.SplitN(strings.SplitN(parts, "/", 2)[0], "-", 2)[0]); !ok {
			p.remark(diag.Warning, p.doc.Locate("services", name, "ports", strconv.Itoa(i)), fmt.Sprintf("the port %q cannot be read", clip(whole)), "")
			continue
		}
		add(parts, b)
	}
	sortPorts(c.ports)
}

// binds notes the files that the router's container sees.
func (p *Project) binds(v any) {
	for _, item := range list(at(v, "volumes")) {
		inside, outside := "", ""
		if m := table(item); m != nil {
			inside, outside = text(m["target"]), text(m["source"])
		} else {
			parts := strings.Split(text(item), ":")
			if len(parts) < 2 {
				continue
			}
			outside, inside = parts[0], parts[1]
		}
		if !strings.HasPrefix(outside, ".") && !strings.HasPrefix(outside, "/") {
			continue // a volume of the engine
		}
		if !filepath.IsAbs(outside) {
			outside = filepath.Join(p.dir, outside)
		}
		p.Router.binds = append(p.Router.binds, [2]string{filepath.Clean(inside), outside})
	}
	// The longest way wins.
	slices.SortFunc(p.Router.binds, func(a, b [2]string) int { return cmp.Compare(len(b[0]), len(a[0])) })
}

// HostPath returns where a file of the router's container is outside of it; ok is false for what no mount brings.
func (r *RouterService) HostPath(inside string) (outside string, ok bool) {
	inside = filepath.Clean(inside)
	for _, b := range r.binds {
		if inside == b[0] {
			return b[1], true
		}
		if rest, found := strings.CutPrefix(inside, strings.TrimSuffix(b[0], "/")+"/"); found {
			return filepath.Join(b[1], rest), true
		}
	}
	return "", false
}

// Place returns where in the file the label or container of a finding stands.
func (p *Project) Place(source string) (diag.Place, bool) {
	at, ok := p.places[source]
	return at, ok
}

// Survey says what would become of each container of the file, by the options of the docker section.
func (p *Project) Survey(o static.Docker) ([]Report, dynamic.Snapshot) {
	return p.survey(dockerSettings(&o)[0], Name, "container ", p.containers)
}

// SurveySwarm says the same where the file is deployed to a Swarm.
func (p *Project) SurveySwarm(o static.Swarm) ([]Report, dynamic.Snapshot) {
	return p.survey(swarmSettings(&o), SwarmName, "task ", p.swarm)
}

// HasSwarmLabels reports whether any service has labels for us below deploy, which count in a Swarm only.
func (p *Project) HasSwarmLabels() bool {
	return slices.ContainsFunc(p.swarm, (*container).ownLabels)
}

func (p *Project) survey(s *settings, provider, prefix string, all []*container) ([]Report, dynamic.Snapshot) {
	w := &world{settings: s, host: func() string { return "127.0.0.1" }, ready: func(*container, string) bool { return true },
		late: func(*container) bool { return false }, vantage: vantage{host: true}}
	w.find = func(id string) *container {
		for _, c := range all {
			if c.id == id || c.name == id {
				return c
			}
		}
		return nil
	}
	if r := p.Router; r != nil {
		// Where its network is that of a container elsewhere, nothing tells what it sees.
		w.vantage, _ = vantageOf(r.container, w.find)
	}
	m := newMerger()
	var reports []Report
	for _, c := range all {
		u := w.derive(c.id, prefix+c.name, c, live, "")
		m.put(u.key, u)
		reports = append(reports, u.report())
	}
	snapshot := dynamic.Snapshot{Provider: provider}
	snapshot.Fragments, _ = m.snapshot()
	snapshot.Fragments = append(snapshot.Fragments, &dynamic.Fragment{Name: "settings", Config: &dynamic.Config{}, Findings: s.findings})
	return reports, snapshot
}

// at follows a path of keys, nil where it leads nowhere.
func at(v any, path ...string) any {
	for _, key := range path {
		v = table(v)[key]
	}
	return v
}

func table(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

// text is a scalar as text; empty for everything else.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case nil, map[string]any, []any:
		return ""
	default:
		return fmt.Sprint(v)
	}
}

// words reads a command: a list, or a text that a shell would split.
func words(v any) []string {
	var out []string
	if l := list(v); l != nil {
		for _, item := range l {
			out = append(out, text(item))
		}
		return out
	}
	var word strings.Builder
	quote, any := rune(0), false
	for _, c := range text(v) {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			} else {
				word.WriteRune(c)
			}
		case c == '"' || c == '\'':
			quote, any = c, true
		case c == ' ' || c == '\t' || c == '\n':
			if any {
				out = append(out, word.String())
				word.Reset()
				any = false
			}
		default:
			word.WriteRune(c)
			any = true
		}
	}
	if any {
		out = append(out, word.String())
	}
	return out
}

// pairs reads an environment, as a table or a list, to NAME=VALUE.
func pairs(v any) []string {
	var out []string
	for _, key := range sortedKeys(table(v)) {
		out = append(out, key+"="+text(table(v)[key]))
	}
	for _, item := range list(v) {
		out = append(out, text(item))
	}
	return out
}
