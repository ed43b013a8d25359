package docker

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"text/template"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
	"sluice/internal/intake/provider"
)

// Codes of the findings of this package. docs/findings.md explains each.
const (
	// CodeAway: a container that is known is not there for the time being.
	CodeAway = "CONTAINER-AWAY"
	// CodeNoPort: nothing tells which port of a container a service has.
	CodeNoPort = "CONTAINER-WITHOUT-PORT"
	// CodeNoAddress: a container has no address that could be used, or several to choose from by chance.
	CodeNoAddress = "CONTAINER-UNREACHABLE"
	// CodeSilent: nothing answers on the port of a container.
	CodeSilent = "CONTAINER-SILENT"
	// CodeNetwork: another network than the wanted one is used, or one that may be out of reach.
	CodeNetwork = "CONTAINER-NETWORK"
	// CodeLink: a router may mean any of several services.
	CodeLink = "SEVERAL-SERVICES"
	// CodeDuplicate: an older container defines the same name differently.
	CodeDuplicate = "DUPLICATE-ELEMENT"
	// CodeConstraint: the constraints cannot be read.
	CodeConstraint = "CONSTRAINT"
	// CodeTemplate: the default rule cannot be made.
	CodeTemplate = "TEMPLATE"
	// CodeUnread: the engine does not describe a container.
	CodeUnread = "CONTAINER-NOT-INSPECTED"
	// CodeEngine: an engine does not answer.
	CodeEngine = "ENGINE-LOST"
	// CodeBadValue: a value, or two together, make no sense.
	CodeBadValue = "BAD-VALUE"
)

// settings are the options of one engine, ready for use.
type settings struct {
	// section is the key of the options in the static configuration, such as providers.docker.
	section string
	// engine is the name of a further engine; empty for the one of the section itself.
	engine   string
	endpoint string
	// fromEnvironment lets DOCKER_HOST and its like replace endpoint and TLS.
	fromEnvironment    bool
	username, password string
	tls                *dynamic.ClientTLS
	timeout            time.Duration
	exposedByDefault   bool
	network            string
	useBindPortIP      bool
	watch              bool
	allowEmpty         bool
	// swarm reads services and tasks every refresh.
	swarm   bool
	refresh time.Duration

	constraint constraint
	rule       *template.Template
	ruleError  error
	// findings are remarks on the options themselves.
	findings diag.List
}

// requestTimeout bounds one request to an engine where the configuration sets no limit.
const requestTimeout = 30 * time.Second

// dockerSettings returns the settings of all engines of the section, the unnamed one first.
func dockerSettings(o *static.Docker) []*settings {
	main := &settings{section: "providers.docker", endpoint: o.Endpoint, fromEnvironment: true, username: o.Username, password: o.Password.Reveal(), tls: o.TLS,
		timeout: o.HTTPClientTimeout.Std(), exposedByDefault: o.ExposedByDefault, network: o.Network, useBindPortIP: o.UseBindPortIP,
		watch: o.Watch, allowEmpty: o.AllowEmptyServices, swarm: o.SwarmMode, refresh: o.SwarmModeRefreshSeconds.Std()}
	main.compile(o.Constraints, o.DefaultRule)
	all := []*settings{main}
	for _, name := range sortedKeys(o.Engines) {
		e := o.Engines[name]
		if e == nil || e.Endpoint == "" {
			continue // static.Validate says so
		}
		s := *main
		s.section += ".engines." + name
		s.engine, s.endpoint, s.fromEnvironment, s.findings = name, e.Endpoint, false, nil
		s.username, s.password, s.tls = e.Username, e.Password.Reveal(), e.TLS
		override(&s.exposedByDefault, e.ExposedByDefault)
		override(&s.network, e.Network)
		override(&s.useBindPortIP, e.UseBindPortIP)
		override(&s.watch, e.Watch)
		override(&s.allowEmpty, e.AllowEmptyServices)
		if e.HTTPClientTimeout != nil {
			s.timeout = e.HTTPClientTimeout.Std()
		}
		constraints, rule := o.Constraints, o.DefaultRule
		override(&constraints, e.Constraints)
		override(&rule, e.DefaultRule)
		s.compile(constraints, rule)
		s.normalize()
		all = append(all, &s)
	}
	main.normalize()
	return all
}

// swarmSettings returns the settings of the swarm section.
func swarmSettings(o *static.Swarm) *settings {
	s := &settings{section: "providers.swarm", endpoint: o.Endpoint, fromEnvironment: true, username: o.Username, password: o.Password.Reveal(), tls: o.TLS,
		timeout: o.HTTPClientTimeout.Std(), exposedByDefault: o.ExposedByDefault, network: o.Network, watch: o.Watch,
		allowEmpty: o.AllowEmptyServices, swarm: true, refresh: o.RefreshSeconds.Std()}
	s.compile(o.Constraints, o.DefaultRule)
	s.normalize()
	return s
}

func override[T any](into *T, with *T) {
	if with != nil {
		*into = *with
	}
}

func (s *settings) normalize() {
	if s.timeout <= 0 {
		s.timeout = requestTimeout
	}
	if s.refresh <= 0 {
		s.refresh = 15 * time.Second
	}
}

// compile reads constraints and default rule. Neither mistake stops the provider: a constraint that cannot be read is met
// by no container, since it was written to keep some out; without a default rule only routers without a rule are lost.
func (s *settings) compile(constraints, rule string) {
	c, err := parseConstraint(constraints)
	if err != nil {
		s.remark(diag.Error, "constraints", CodeConstraint, "the expression cannot be read, so no container is served: "+err.Error(),
			"write Label(`key`, `value`) and LabelRegex(`key`, `expression`) with &&, ||, ! and parentheses")
		c = func(map[string]string) bool { return false }
	}
	s.constraint = c
	if strings.TrimSpace(rule) == "" {
		rule = static.DefaultRule
	}
	// A key that a container lacks is an empty text, as with a map of Go.
	s.rule, s.ruleError = template.New("defaultRule").Option("missingkey=zero").Funcs(provider.TemplateFuncs()).Parse(rule)
	if s.ruleError != nil {
		s.remark(diag.Error, "defaultRule", CodeTemplate, "the template cannot be read: "+s.ruleError.Error(), "routers without a rule are not served")
	}
}

func (s *settings) remark(severity diag.Severity, option, code, message, hint string) {
	s.findings.Add(diag.Finding{Place: diag.Place{Source: s.section}, Severity: severity, Key: s.section + "." + option, Code: code,
		Message: message, Hint: hint})
}

// maxRule bounds what the template may produce, in bytes.
const maxRule = 16 << 10

// ruleData is what the template of the default rule sees.
type ruleData struct {
	// Name is that of the service, normalised.
	Name string
	// ContainerName is the container's own.
	ContainerName string
	Labels        map[string]string
}

// defaultRule renders the rule of a router that has none.
func (s *settings) defaultRule(d ruleData) (rule string, err error) {
	if s.ruleError != nil {
		return "", s.ruleError
	}
	defer func() {
		// Functions of the template may panic on odd input, which labels are.
		if r := recover(); r != nil {
			rule, err = "", fmt.Errorf("panic: %v", r)
		}
	}()
	out := &boundedBuffer{}
	if err := s.rule.Execute(out, d); err != nil {
		return "", err
	}
	return out.String(), nil
}

// boundedBuffer refuses to grow beyond maxRule.
type boundedBuffer struct{ bytes.Buffer }

// Write implements io.Writer.
func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxRule {
		return 0, errors.New("the rule becomes too long")
	}
	return b.Buffer.Write(p)
}
