package cli

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/plan"
	"sluice/internal/core/static"
	"sluice/internal/intake/decode"
	"sluice/internal/intake/docker"
	"sluice/internal/traffic/certs"
)

// surveyTime bounds looking at all containers of all engines.
const surveyTime = time.Minute

// survey reads the containers of the engines that the configuration names, or of the usual one where it names none.
func (c *configuration) survey(p *Process) {
	options := docker.Options{ClientTLS: certs.Client, Getenv: p.Getenv, Version: Version}
	var providers []*docker.Provider
	if c.static != nil && c.static.Providers.Swarm != nil {
		providers = append(providers, docker.NewSwarm(*c.static.Providers.Swarm, options))
	}
	if c.static != nil && c.static.Providers.Docker != nil {
		providers = append(providers, docker.New(*c.static.Providers.Docker, options))
	} else if len(providers) == 0 {
		providers = append(providers, docker.New(usualDocker(), options))
	}
	ctx, cancel := context.WithTimeout(context.Background(), surveyTime)
	defer cancel()
	for _, provider := range providers {
		reports, snapshot := provider.Survey(ctx)
		c.containers = append(c.containers, reports...)
		c.snapshots = append(c.snapshots, snapshot)
	}
}

func usualDocker() static.Docker {
	var o static.Docker
	o.SetDefaults()
	return o
}

// compose reads a compose file. Where nothing else gives a static side, the service in it that runs a router does.
func (c *configuration) compose(p *Process, path string, doc *decode.Document) {
	project := docker.ReadCompose(doc, path, variables(p, filepath.Join(filepath.Dir(path), ".env")))
	c.projects = append(c.projects, project)
	c.findings = append(c.findings, project.Findings...)
	if c.static == nil && project.Router != nil {
		c.staticOf(project.Router)
	}
	st := c.static
	if st == nil || st.Providers.Docker != nil {
		o := usualDocker()
		if st != nil {
			o = *st.Providers.Docker
		}
		reports, snapshot := project.Survey(o)
		c.containers = append(c.containers, reports...)
		c.snapshots = append(c.snapshots, snapshot)
	}
	if st != nil && st.Providers.Swarm != nil {
		reports, snapshot := project.SurveySwarm(*st.Providers.Swarm)
		c.containers = append(c.containers, reports...)
		c.snapshots = append(c.snapshots, snapshot)
	} else if project.HasSwarmLabels() {
		c.findings.Add(diag.Finding{Place: doc.Locate("services"), Severity: diag.Info, Code: decode.CodeNotRead,
			Message: "labels below deploy belong to Swarm services and are not read by providers.docker", Hint: "write them below the service's labels, or use providers.swarm"})
	}
	if st != nil && st.Providers.Docker == nil && st.Providers.Swarm == nil {
		c.findings.Add(diag.Finding{Place: doc.Locate("services"), Severity: diag.Warning, Code: decode.CodeNotRead,
			Message: "no label of this file is read, since providers.docker is not on", Hint: "write --providers.docker=true"})
	}
}

// staticOf takes the static side from what the router's container is started with.
func (c *configuration) staticOf(r *docker.RouterService) {
	var flags []string
	for _, a := range r.Args {
		if strings.HasPrefix(a, "--") {
			flags = append(flags, a)
		}
	}
	read := func(path string) ([]byte, error) {
		outside, ok := r.HostPath(path)
		if !ok {
			return nil, fs.ErrNotExist
		}
		return decode.ReadFile(outside)
	}
	written, sources, findings := decode.LoadStatic(flags, r.Environ, read)
	c.findings = append(c.findings, findings...)
	c.findings = append(c.findings, static.Validate(written, sources.Where)...)
	c.static = static.Effective(written)
	if f := c.static.Providers.File; f != nil {
		for _, path := range []*string{&f.Directory, &f.Filename} {
			if outside, ok := r.HostPath(*path); *path != "" && ok {
				*path = outside
			}
		}
		c.snapshots = append(c.snapshots, readFiles(*f))
	}
}

// variables are those of the process, and of the file that compose reads beside its own.
func variables(p *Process, path string) func(string) (string, bool) {
	file := map[string]string{}
	if data, err := os.ReadFile(path); err == nil {
		for line := range strings.Lines(string(data)) {
			line = strings.TrimSpace(line)
			name, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
			if !ok || strings.HasPrefix(line, "#") {
				continue
			}
			value = strings.TrimSpace(value)
			if n := len(value); n > 1 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
				value = value[1 : n-1]
			}
			file[strings.TrimSpace(name)] = value
		}
	}
	return func(name string) (string, bool) {
		for _, kv := range slices.Backward(p.Environ) {
			if key, value, _ := strings.Cut(kv, "="); key == name {
				return value, true
			}
		}
		value, ok := file[name]
		return value, ok
	}
}

// relocate gives findings about labels of compose files their places in these.
func (c *configuration) relocate() {
	for i := range c.findings {
		for _, project := range c.projects {
			if place, ok := project.Place(c.findings[i].Place.Source); ok {
				c.findings[i].Place = place
			}
		}
	}
}

// printContainers writes for people what becomes of each container.
func (c *configuration) printContainers(p *Process, built *plan.Plan) {
	line := func(format string, args ...any) { fmt.Fprintln(p.Stdout, diag.Escape(fmt.Sprintf(format, args...))) }
	for _, r := range c.containers {
		state := r.State
		if r.Health != "" {
			state += ", " + r.Health
		}
		if len(r.Networks) > 0 {
			state += "; networks " + strings.Join(r.Networks, ", ")
		}
		line("%s (%s)", r.Container, state)
		if r.Served {
			for _, s := range r.Servers {
				line("  server %s", s)
			}
		} else {
			line("  not served: %s", r.Why)
		}
		for _, key := range r.Elements {
			for _, text := range describe(built, key, strings.HasPrefix(r.Container, "task ")) {
				line("  %s", text)
			}
		}
	}
	if len(c.containers) > 0 {
		fmt.Fprintln(p.Stdout)
	}
}

// describe says what a router of a container does.
func describe(built *plan.Plan, key string, swarm bool) (out []string) {
	provider := docker.Name
	if swarm {
		provider = docker.SwarmName
	}
	for _, r := range built.HTTP.Routers {
		if r.Key() == key && r.Name.Provider == provider {
			status, findings := built.About(&r.Node)
			out = append(out, routerLine("router", r.Name, r.Config.Rule, r.Config.Service, r.EntryPoints, status, findings))
		}
	}
	for _, r := range built.TCP.Routers {
		if r.Key() == key && r.Name.Provider == provider {
			status, findings := built.About(&r.Node)
			out = append(out, routerLine("tcp router", r.Name, r.Config.Rule, r.Config.Service, r.EntryPoints, status, findings))
		}
	}
	for _, r := range built.UDP.Routers {
		if r.Key() == key && r.Name.Provider == provider {
			status, findings := built.About(&r.Node)
			out = append(out, routerLine("udp router", r.Name, "all datagrams", r.Config.Service, r.EntryPoints, status, findings))
		}
	}
	return out
}

func routerLine(kind string, name plan.Name, rule, service string, entryPoints []string, status plan.Status, findings diag.List) string {
	out := fmt.Sprintf("%s %s: %s on %s to %s, %s", kind, name, rule, strings.Join(entryPoints, ", "), service, status)
	for _, f := range findings {
		if f.Severity == diag.Error {
			return out + ": " + f.Message
		}
	}
	return out
}
