package decode

import (
	"fmt"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/static"
)

// Prefixes of environment variables. The native spelling wins where both are set.
const (
	nativePrefix     = "SLUICE_"
	compatiblePrefix = "TRAEFIK_"
)

// envTree turns environment variables into a tree. Only names that begin with a prefix and the name of a section count.
// Everything is lower case, and an underscore separates levels.
func envTree(environ []string, s *schema) (*pathTree, diag.List) {
	t := newPathTree(doorEnv)
	var findings diag.List
	type variable struct{ name, rest, text string }
	var native, compatible []variable
	for _, kv := range environ {
		name, text, ok := strings.Cut(kv, "=")
		if !ok {
			continue
		}
		if rest, ok := strings.CutPrefix(name, nativePrefix); ok && envSection(rest, s) {
			native = append(native, variable{name, rest, text})
		} else if rest, ok := strings.CutPrefix(name, compatiblePrefix); ok && envSection(rest, s) {
			compatible = append(compatible, variable{name, rest, text})
		}
	}
	byName := func(a, b variable) int { return strings.Compare(a.name, b.name) }
	slices.SortStableFunc(native, byName)
	slices.SortStableFunc(compatible, byName)
	taken := map[string]string{}
	for _, v := range append(native, compatible...) {
		place := diag.Place{Source: "env " + clip(v.name)}
		if other, ok := taken[v.rest]; ok {
			findings.Add(diag.Finding{
				Place: place, Severity: diag.Warning, Code: CodeTwoSpellings,
				Message: fmt.Sprintf("not read, since %s is set as well", other), Hint: "remove one of the two",
			})
			continue
		}
		taken[v.rest] = v.name
		path, err := checkPath(strings.ReplaceAll(strings.ToLower(v.rest), "_", "."))
		if err != nil {
			findings.Add(diag.Finding{
				Place: place, Severity: diag.Error, Code: CodeSyntax, Message: fmt.Sprintf("%q has an empty part between its underscores", clip(v.name)),
			})
			continue
		}
		if t.leaf(s, path) == nil && injected(v.rest) {
			findings.Add(diag.Finding{
				Place: place, Severity: diag.Warning, Code: CodeNotRead,
				Message: "no option; it looks like a variable that a container platform sets for a service of that name",
			})
			continue
		}
		t.insert(s, path, v.text, t.source(place.Source))
	}
	t.finish()
	return t, findings
}

// envSection reports whether rest begins with the name of a root section in upper case.
func envSection(rest string, s *schema) bool {
	for i := range s.fields {
		if strings.HasPrefix(rest, strings.ToUpper(s.fields[i].name)) {
			return true
		}
	}
	// A section of an earlier version is worth a word.
	root, _, _ := strings.Cut(rest, "_")
	_, gone := static.Legacy(strings.ToLower(root))
	return gone
}

// injected recognizes the variables that Kubernetes and container links set for a service, such as
// TRAEFIK_API_SERVICE_HOST and TRAEFIK_API_PORT_80_TCP_ADDR.
func injected(rest string) bool {
	return strings.Contains(rest, "_SERVICE_HOST") || strings.Contains(rest, "_SERVICE_PORT") ||
		strings.Contains(rest, "_PORT_") || strings.HasSuffix(rest, "_PORT") || strings.Contains(rest, "_ENV_")
}
