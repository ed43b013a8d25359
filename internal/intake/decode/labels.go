package decode

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// Roots of labels, lower case only. The native spelling wins where both are given.
const (
	nativeRoot     = "sluice"
	compatibleRoot = "traefik"
)

// Limits of one set of labels. What goes beyond is reported and left out.
const (
	maxLabels     = 20_000
	maxLabelValue = 1 << 20
)

// dynamicLabels are the beginnings of the labels that are dynamic configuration, after the root. They are compared as
// text: everything else that containers carry is somebody else's business and passed by in silence.
var dynamicLabels = []string{"http", "tcp", "udp", "tls.stores.default"}

// Labels reads the dynamic side of a set of labels: those that begin with traefik.http, traefik.tcp, traefik.udp or
// traefik.tls.stores.default, or the same below sluice. source names the owner in findings, such as "container web".
// Files that values name are read through files, which may be nil. The fragment is never nil; its name is source.
func Labels(labels map[string]string, source string, files *Files) *dynamic.Fragment {
	cfg := &dynamic.Config{}
	w, t := labelWalk(labels, source, dynamicLabels, files, reflect.ValueOf(cfg))
	return &dynamic.Fragment{
		Name: source, Config: cfg, Where: &locator{root: t.root, where: t}, Findings: w.findings, Broken: w.broken,
	}
}

// LabelOptions reads labels that a provider defines for itself, such as traefik.enable and traefik.docker.network, into
// the struct that dst points to; its json tags are the names after the root. Only labels that begin, after the root,
// with one of prefixes are looked at.
func LabelOptions(labels map[string]string, source string, prefixes []string, dst any) diag.List {
	w, _ := labelWalk(labels, source, prefixes, nil, reflect.ValueOf(dst))
	return w.findings
}

func labelWalk(labels map[string]string, source string, prefixes []string, files *Files, dst reflect.Value) (*walker, *pathTree) {
	s := schemaOf(dst.Type().Elem())
	t := newPathTree(doorLabels)
	w := &walker{door: doorLabels, where: t, files: files, elements: dst.Type() == reflect.TypeFor[*dynamic.Config](), budget: aliasBudget}
	// Labels that cannot be read at all still belong to an element, if they get as far as its name.
	type orphan struct {
		path    []string
		finding diag.Finding
	}
	var orphans []orphan
	bad := func(key string, sev diag.Severity, code, message, hint string) {
		f := diag.Finding{
			Place: diag.Place{Source: labelSource(source, key)}, Severity: sev, Code: code, Message: message, Hint: hint,
		}
		if path := strings.SplitN(key, ".", 5); sev == diag.Error && w.elements && len(path) > 3 && len(orphans) < maxFindings {
			orphans = append(orphans, orphan{path[1:4], f})
		}
		if len(w.findings) >= maxFindings {
			w.dropped++
			return
		}
		w.findings.Add(f)
	}
	keys := labelKeys(labels, prefixes)
	if len(keys) > maxLabels {
		bad("", diag.Error, CodeTooLarge, fmt.Sprintf("%d labels, at most %d are read", len(keys), maxLabels), "")
		keys = keys[:maxLabels]
	}
	taken := map[string]string{}
	for _, key := range keys {
		root, name, _ := strings.Cut(key, ".")
		if root != nativeRoot && root != compatibleRoot {
			bad(key, diag.Error, CodeSyntax, fmt.Sprintf("invalid label root %s", clip(root)), "write "+strings.ToLower(root)+" in lower case")
			continue
		}
		path, err := checkPath(name)
		if err != nil {
			bad(key, diag.Error, CodeSyntax, err.Error(), "")
			continue
		}
		if len(labels[key]) > maxLabelValue {
			bad(key, diag.Error, CodeTooLarge, fmt.Sprintf("the value has %d bytes, at most %d are read", len(labels[key]), maxLabelValue), "")
			continue
		}
		lower := strings.ToLower(name)
		if other, ok := taken[lower]; ok {
			if otherRoot, _, _ := strings.Cut(other, "."); otherRoot != root {
				bad(key, diag.Warning, CodeTwoSpellings, fmt.Sprintf("not read, since %s is given as well", clip(other)), "remove one of the two")
				continue
			}
		}
		taken[lower] = key
		t.insert(s, path, labels[key], t.source(labelSource(source, key)))
	}
	t.finish()
	w.structure(t.root, s, dst.Elem())
	for _, o := range orphans {
		w.breakElement(t, s, o.path, o.finding)
	}
	w.finish()
	return w, t
}

// breakElement notes a finding against the element that the first three segments of a label name, if there is one.
func (w *walker) breakElement(t *pathTree, s *schema, path []string, f diag.Finding) {
	n := t.root
	name := ""
	for i, seg := range path {
		if n = t.find(n, seg); n == nil {
			return
		}
		if name != "" {
			name += "."
		}
		name += n.key
		if i == 1 && n.kind != kindTable {
			return
		}
	}
	if t.leaf(s, path[:2]) == nil || t.leaf(s, path[:2]).shape != shapeMap {
		return
	}
	if w.broken == nil {
		w.broken = map[string]diag.List{}
	}
	w.broken[name] = append(w.broken[name], f)
}

// labelKeys returns the labels that begin with a root and one of prefixes, the native ones first, each in byte order.
func labelKeys(labels map[string]string, prefixes []string) []string {
	var native, compatible []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		root, name, ok := strings.Cut(key, ".")
		if !ok || !slices.ContainsFunc(prefixes, func(p string) bool {
			return len(name) >= len(p) && strings.EqualFold(name[:len(p)], p)
		}) {
			continue
		}
		switch {
		case strings.EqualFold(root, nativeRoot):
			native = append(native, key)
		case strings.EqualFold(root, compatibleRoot):
			compatible = append(compatible, key)
		}
	}
	return append(native, compatible...)
}

func labelSource(source, key string) string {
	if key == "" {
		return source
	}
	return source + " label " + clip(key)
}
