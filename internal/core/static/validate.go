package static

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// Codes of the findings of this package besides CodeRemoved and CodeNotSupported.
const (
	CodeBadValue          = "BAD-VALUE"
	CodeBadAddress        = "BAD-ADDRESS"
	CodeAddressInUse      = "ADDRESS-IN-USE"
	CodeMissing           = "MISSING-OPTION"
	CodeConflict          = "OPTION-CONFLICT"
	CodeUnknownEntryPoint = "UNKNOWN-ENTRYPOINT"
	CodeUnknownResolver   = "UNKNOWN-RESOLVER"
	CodeUnknownProvider   = "UNKNOWN-PROVIDER"
	CodeExposedAPI        = "EXPOSED-API"
	CodeDeprecated        = "DEPRECATED"
)

// Validate returns every finding about the configuration as a whole, sorted by place and key. Findings of severity error
// forbid the start, as Fatal says; where Traefik goes on without the broken part, so do we, with a warning. The
// arguments are not changed; where may be nil.
func Validate(c *Config, where dynamic.Locator) diag.List {
	v := &validation{config: c, entryPoints: EffectiveEntryPoints(c), where: where}
	v.checkEntryPoints()
	v.checkProviders()
	v.checkResolvers()
	v.checkServed()
	v.checkTelemetry()
	v.checkDeprecated()
	v.checkSupported()
	v.findings.Sort()
	return v.findings
}

// Fatal reports whether findings of Validate forbid the start. What is merely not supported yet does not, whatever its
// severity: the rest is served, and the finding says what is not.
func Fatal(findings diag.List) bool {
	return slices.ContainsFunc(findings, func(f diag.Finding) bool {
		return f.Severity == diag.Error && f.Code != CodeNotSupported
	})
}

// validation collects the findings of one configuration.
type validation struct {
	config      *Config
	entryPoints map[string]*EntryPoint // effective ones
	where       dynamic.Locator
	findings    diag.List
}

// keyPath is the path of a value in file spelling.
type keyPath []string

// at returns the path of something below p, in memory of its own.
func (p keyPath) at(more ...string) keyPath { return slices.Concat(p, more) }

func (v *validation) add(s diag.Severity, p keyPath, code, message, hint string) {
	f := diag.Finding{Severity: s, Key: strings.Join(p, "."), Code: code, Message: message, Hint: hint}
	if v.where != nil {
		f.Place = v.where.Locate(p...)
	}
	v.findings.Add(f)
}

func (v *validation) err(p keyPath, code, message, hint string) {
	v.add(diag.Error, p, code, message, hint)
}

func (v *validation) warn(p keyPath, code, message, hint string) {
	v.add(diag.Warning, p, code, message, hint)
}

// sorted gives the names of a map in order, so that findings come in the same order at every run.
func sorted[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

// oneOf warns where text is none of the known values, ignoring case. Empty text is not looked at.
func (v *validation) oneOf(p keyPath, text string, known []string, otherwise string) {
	if text == "" || slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, text) }) {
		return
	}
	hint := diag.DidYouMean(text, known)
	if hint == "" {
		hint = "want " + strings.Join(known, ", ")
	}
	v.warn(p, CodeBadValue, fmt.Sprintf("unknown value %q, %s", text, otherwise), hint)
}

var basePathSyntax = regexp.MustCompile(`^/[a-zA-Z0-9/_.:~-]*$`)

// checkServed looks at what we serve ourselves and at the small sections.
func (v *validation) checkServed() {
	c := v.config
	if c.Core != nil {
		switch s := c.Core.DefaultRuleSyntax; s {
		case "", RuleSyntaxV2, RuleSyntaxV3:
		default:
			v.err(keyPath{"core", "defaultRuleSyntax"}, CodeBadValue, fmt.Sprintf("unknown rule syntax %q", s), "want v2 or v3")
		}
	}
	if a := c.API; a != nil {
		p := keyPath{"api"}
		if a.BasePath != "" && !basePathSyntax.MatchString(a.BasePath) {
			v.err(p.at("basePath"), CodeBadValue, fmt.Sprintf("%q is no base path", a.BasePath),
				"it begins with / and holds only letters, digits and /_.:~-")
		} else if a.Insecure && a.BasePath != "" && a.BasePath != "/" {
			v.warn(p.at("basePath"), CodeConflict, "a base path does not go with api.insecure", "route to api@internal instead")
		}
		if a.Insecure {
			v.checkExposed(p.at("insecure"), "the API and the dashboard")
		}
	}
	if c.Providers != nil && c.Providers.Rest != nil && c.Providers.Rest.Insecure {
		v.checkExposed(keyPath{"providers", "rest", "insecure"}, "a provider that everyone may write to")
	}
	if p := c.Ping; p != nil && !p.ManualRouting {
		v.knownEntryPoint(keyPath{"ping", "entryPoint"}, p.EntryPoint, "the health endpoint is not served")
	}
	if p := c.prometheus(); p != nil && !p.ManualRouting {
		v.knownEntryPoint(keyPath{"metrics", "prometheus", "entryPoint"}, p.EntryPoint, "metrics are not served")
	}
	if c.OCSP != nil {
		for _, from := range sorted(c.OCSP.ResponderOverrides) {
			if from == "" || c.OCSP.ResponderOverrides[from] == "" {
				v.err(keyPath{"ocsp", "responderOverrides", from}, CodeMissing, "an override needs two URLs", "")
			}
		}
	}
	if x := c.Experimental; x != nil {
		for _, name := range sorted(x.LocalPlugins) {
			if _, ok := x.Plugins[name]; ok {
				v.warn(keyPath{"experimental", "localPlugins", name}, CodeConflict, "a plugin of this name exists already", "")
			}
		}
	}
}

// checkExposed warns where what stands without protection on the internal entry point can be reached from elsewhere.
func (v *validation) checkExposed(p keyPath, what string) {
	ep, ok := v.entryPoints[InternalEntryPoint]
	if !ok {
		return
	}
	if a, err := ParseAddress(ep.Address); err == nil && !a.IsLoopback() {
		v.warn(p, CodeExposedAPI, fmt.Sprintf("%s can be reached by everyone who reaches %s", what, a),
			"set entryPoints.traefik.address to 127.0.0.1:8080, or route to it behind authentication")
	}
}

// knownEntryPoint warns where name is no TCP entry point.
func (v *validation) knownEntryPoint(p keyPath, name, otherwise string) {
	ep, ok := v.entryPoints[name]
	switch {
	case !ok:
		v.warn(p, CodeUnknownEntryPoint, fmt.Sprintf("entry point %q does not exist, %s", name, otherwise),
			diag.DidYouMean(name, sorted(v.entryPoints)))
	case ep.isUDP():
		v.warn(p, CodeUnknownEntryPoint, fmt.Sprintf("entry point %q takes UDP, %s", name, otherwise), "")
	}
}
