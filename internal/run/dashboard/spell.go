package dashboard

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// spellings writes the configuration of one element as a file in YAML and in TOML, and as labels.
func spellings(layer, kind, name string, config element) (yaml, toml, labels string) {
	local, _, _ := strings.Cut(name, "@")
	whole := element{layer: element{kind: element{local: config}}}
	var y, t, l strings.Builder
	writeYAML(&y, whole, 0)
	writeTOML(&t, nil, whole)
	writeLabels(&l, "traefik", whole)
	return y.String(), t.String(), l.String()
}

// text writes a scalar as JSON does, which YAML and TOML read as well.
func text(v any) string {
	if n, ok := v.(json.Number); ok {
		return n.String()
	}
	out, err := json.Marshal(v)
	if err != nil {
		return strconv.Quote(fmt.Sprint(v))
	}
	return string(out)
}

// plainKey reports whether a key needs no quotes, in YAML and in TOML.
func plainKey(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == "" && strings.Trim(s, "0123456789-") != ""
}

func keyText(s string) string {
	if plainKey(s) {
		return s
	}
	return text(s)
}

func writeYAML(out *strings.Builder, m element, depth int) {
	indent := strings.Repeat("  ", depth)
	for _, key := range slices.Sorted(maps.Keys(m)) {
		out.WriteString(indent + keyText(key) + ":")
		switch v := m[key].(type) {
		case element:
			if len(v) == 0 {
				out.WriteString(" {}\n")
				continue
			}
			out.WriteString("\n")
			writeYAML(out, v, depth+1)
		case []any:
			out.WriteString("\n")
			for _, item := range v {
				if e, ok := item.(element); ok && len(e) > 0 {
					var inner strings.Builder
					writeYAML(&inner, e, depth+2)
					out.WriteString(indent + "  - " + strings.TrimPrefix(inner.String(), indent+"    "))
					continue
				}
				out.WriteString(indent + "  - " + text(item) + "\n")
			}
		default:
			out.WriteString(" " + text(v) + "\n")
		}
	}
}

func writeTOML(out *strings.Builder, path []string, m element) {
	var scalars, tables []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		switch v := m[key].(type) {
		case element:
			tables = append(tables, key)
		case []any:
			if len(v) > 0 && isTable(v[0]) {
				tables = append(tables, key)
			} else {
				scalars = append(scalars, key)
			}
		case nil: // TOML has no word for nothing
		default:
			scalars = append(scalars, key)
		}
	}
	if len(path) > 0 && (len(scalars) > 0 || len(tables) == 0) {
		out.WriteString("[" + dotted(path) + "]\n")
	}
	writeScalars(out, m, scalars)
	for _, key := range tables {
		below := append(slices.Clone(path), key)
		if list, ok := m[key].([]any); ok {
			for _, item := range list {
				out.WriteString("[[" + dotted(below) + "]]\n")
				writeItem(out, below, item.(element))
			}
			continue
		}
		writeTOML(out, below, m[key].(element))
	}
}

// writeItem writes an element of an array of tables, whose header stands already.
func writeItem(out *strings.Builder, path []string, m element) {
	var scalars []string
	rest := element{}
	for key, v := range m {
		if list, ok := v.([]any); isTable(v) || ok && len(list) > 0 && isTable(list[0]) {
			rest[key] = v
		} else if v != nil {
			scalars = append(scalars, key)
		}
	}
	slices.Sort(scalars)
	writeScalars(out, m, scalars)
	for _, key := range slices.Sorted(maps.Keys(rest)) {
		if e, ok := rest[key].(element); ok {
			writeTOML(out, append(slices.Clone(path), key), e)
		}
	}
}

func isTable(v any) bool {
	_, ok := v.(element)
	return ok
}

func dotted(path []string) string {
	out := make([]string, len(path))
	for i, p := range path {
		out[i] = keyText(p)
	}
	return strings.Join(out, ".")
}

func writeScalars(out *strings.Builder, m element, keys []string) {
	for _, key := range keys {
		v := m[key]
		if list, ok := v.([]any); ok {
			items := make([]string, len(list))
			for i, item := range list {
				items[i] = text(item)
			}
			out.WriteString(keyText(key) + " = [" + strings.Join(items, ", ") + "]\n")
			continue
		}
		out.WriteString(keyText(key) + " = " + text(v) + "\n")
	}
}

func writeLabels(out *strings.Builder, path string, v any) {
	switch v := v.(type) {
	case element:
		if len(v) == 0 {
			out.WriteString(path + "=true\n")
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			writeLabels(out, path+"."+strings.ToLower(key), v[key])
		}
	case []any:
		var items []string
		for i, item := range v {
			if isTable(item) {
				writeLabels(out, fmt.Sprintf("%s[%d]", path, i), item)
			} else {
				items = append(items, fmt.Sprint(item))
			}
		}
		if len(items) > 0 {
			out.WriteString(path + "=" + strings.Join(items, ",") + "\n")
		}
	case nil:
	default:
		out.WriteString(path + "=" + fmt.Sprint(v) + "\n")
	}
}
