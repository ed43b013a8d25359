package docker

import (
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/intake/decode"
	"sluice/internal/intake/provider"
)

// options are the labels that speak to the provider itself.
type options struct {
	Enable *bool          `json:"enable"`
	Docker networkOptions `json:"docker"`
	Swarm  networkOptions `json:"swarm"`
}

type networkOptions struct {
	// Network to take the address from; the empty text cancels the provider's option.
	Network *string `json:"network"`
	// LBSwarm leaves balancing to the Swarm service's virtual address.
	LBSwarm *bool `json:"lbswarm"`
	// AllowNonRunning keeps the routers while the container is not running.
	AllowNonRunning *bool `json:"allowNonRunning"`
}

func isTrue(b *bool) bool { return b != nil && *b }

// readOptions reads the labels of a container that speak to the provider. why is set where they say so little that
// serving it could be against them.
func readOptions(c *container, source string, swarm bool) (o options, findings diag.List, why string) {
	prefixes := []string{"enable", "docker."}
	if swarm {
		prefixes = append(prefixes, "swarm.")
	}
	findings = decode.LabelOptions(c.labels, source, prefixes, &o)
	for _, f := range findings {
		// Whatever begins like enable was to say whether the container is served at all.
		if f.Severity == diag.Error && strings.HasPrefix(strings.ToLower(f.Key), "enable") {
			why = "its label for enable cannot be read: " + f.Message
		}
	}
	if swarm {
		own := o.Swarm != networkOptions{}
		if old := (o.Docker != networkOptions{}); old && own {
			why = "it carries labels of both traefik.docker and traefik.swarm"
			findings.Add(diag.Finding{Place: diag.Place{Source: source}, Severity: diag.Error, Code: CodeBadValue, Message: why,
				Hint: "keep those of traefik.swarm"})
		} else if old {
			findings.Add(diag.Finding{Place: diag.Place{Source: source}, Severity: diag.Info, Code: decode.CodeDeprecated,
				Message: "labels of traefik.docker on a Swarm service", Hint: "write traefik.swarm"})
			o.Swarm = o.Docker
		}
		o.Docker = o.Swarm
	}
	return o, findings, why
}

// serviceName is the name of the service that all replicas of the container share, in the form that rules can hold.
func (c *container) serviceName() string {
	name := c.service
	if name == "" {
		name = c.name
		if service, project := c.labels[composeService], c.labels[composeProject]; service != "" && project != "" {
			name = service + "_" + project
		}
	}
	return provider.Normalize(name)
}

// Labels that compose gives its containers.
const (
	composeService = "com.docker.compose.service"
	composeProject = "com.docker.compose.project"
)

// ownLabels reports whether anybody wrote labels for us on the container.
func (c *container) ownLabels() bool {
	for key := range c.labels {
		root, _, ok := strings.Cut(key, ".")
		if ok && (strings.EqualFold(root, "traefik") || strings.EqualFold(root, "sluice")) {
			return true
		}
	}
	return false
}
