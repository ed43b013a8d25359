package decode

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"go.yaml.in/yaml/v4"
)

// plain turns a tree into maps, lists and the text of scalars.
func (n *node) plain() any {
	n = n.resolve()
	switch n.kind {
	case kindTable:
		m := map[string]any{}
		for c := n.first; c != nil; c = c.next {
			m[c.key] = c.plain()
		}
		return m
	case kindList:
		l := []any{}
		for c := n.first; c != nil; c = c.next {
			l = append(l, c.plain())
		}
		return l
	case kindNull:
		return nil
	case kindText, kindPlain:
		return n.text
	default:
		return n.kind
	}
}

// skeleton does the same for what a library's own decoder makes. Scalars other than text keep their kind only.
func skeleton(v any) any {
	switch x := v.(type) {
	case nil:
		return nil
	case map[string]any:
		m := map[string]any{}
		for k, v := range x {
			m[k] = skeleton(v)
		}
		return m
	case []any:
		l := []any{}
		for _, v := range x {
			l = append(l, skeleton(v))
		}
		return l
	case string:
		return x
	case bool:
		return kindBool
	case int, int64, uint64:
		return kindInt
	case float64:
		return kindFloat
	default:
		return kindDate
	}
}

// FuzzTOMLOracle compares our reading of tables with the library's own decoder: the same documents are accepted, and
// they mean the same.
func FuzzTOMLOracle(f *testing.F) {
	seeds(f, func(name string) bool { return strings.HasSuffix(name, ".toml") })
	for _, s := range []string{
		"[a.b]\n[a]\n[a.c]\n", "[a]\nb.c=1\nb.d=2\n[a.b]\n", "[[a]]\n[[a.b]]\nx=1\n[[a.b]]\n[a.b.c]\n[[a]]\n[a.b]\n", "a=[{b=1},{b=2}]\n[a.c]\n",
		"a.b=1\na.c.d=2\n[a.e]\n", "[a]\n[a.b]\nx=1\n[b]\n[[a.c]]\n", "[a]\na={x={y=1},z=[1]}\n[a.a.x]\n", "[x]\n[y]\n[x.z]\n[[x.w]]\n[x]\n",
		"a=1\na.b=2\n", "[[a.b]]\n[a.b]\n", "[a.b.c]\n[a]\nb.d=1\n", "[a]\nb.c.d=1\n[a.b]\n", "[a]\nb.c.d=1\n[a.b.e]\n", "[a]\nb.c=1\n[a.b.d]\n[a.b]\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.HasPrefix(text, "\xef\xbb\xbf") {
			return
		}
		d, err := File("f", []byte(text), TOML)
		var want map[string]any
		wantErr := toml.Unmarshal([]byte(text), &want)
		if err != nil && strings.Contains(err.Error(), "deeper than") || beyondGrammar(wantErr) {
			return
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q\nours: %v\nlibrary: %v", text, err, wantErr)
		}
		if err != nil {
			return
		}
		if want == nil {
			want = map[string]any{}
		}
		if got, want := d.root.plain(), skeleton(want); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q\nours: %v\nlibrary: %v", text, got, want)
		}
	})
}

// beyondGrammar reports whether the library refuses a value that we keep as text until somebody wants it.
func beyondGrammar(err error) bool {
	if err == nil {
		return false
	}
	for _, word := range []string{"too large", "too small", "time", "date", "hour", "minute", "second", "month", "day", "year", "offset", "Z", "range", "nano"} {
		if strings.Contains(err.Error(), word) {
			return true
		}
	}
	return false
}

// FuzzYAMLOracle compares our reading of aliases, merge keys and duplicates with the library's own decoder.
func FuzzYAMLOracle(f *testing.F) {
	seeds(f, func(name string) bool { return strings.HasSuffix(name, ".yaml") })
	for _, s := range []string{
		"a: &a {x: 1}\nb: {<<: *a, x: 2}\n", "a: &a {x: 1}\nb: {x: 2, <<: [*a, {y: 3}]}\n", "- &a 1\n- *a\n", "a: 1\na: 2\n", "&k a: 1\n*k : 2\n", "<<: {a: 1}\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := File("f", []byte(text), YAML)
		var want any
		wantErr := yaml.Unmarshal([]byte(text), &want)
		if err != nil || wantErr != nil || d.root.kind != kindTable {
			// The library refuses more (numbers out of range, unhashable keys) and we refuse more (depth); what both
			// accept must be the same.
			return
		}
		got := d.root.plain()
		if oddKeys(got) || oddKeys(want) {
			return
		}
		if want == nil {
			want = map[string]any{}
		}
		if fmt.Sprint(textual(got)) != fmt.Sprint(textual(want)) {
			t.Fatalf("%q\nours: %v\nlibrary: %v", text, got, want)
		}
	})
}

// oddKeys reports whether v has keys that are no text, which are written in many ways, or a merge key out of place.
func oddKeys(v any) bool {
	switch x := v.(type) {
	case map[any]any:
		return true
	case string:
		return x == "<<"
	case map[string]any:
		for k, v := range x {
			if k == "" || oddKeys(v) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(x, oddKeys)
	}
	return false
}

// textual keeps the structure of a value only: nesting and lengths.
func textual(v any) any {
	var children []string
	switch x := v.(type) {
	case map[string]any:
		for _, v := range x {
			children = append(children, fmt.Sprint(textual(v)))
		}
	case []any:
		for _, v := range x {
			children = append(children, fmt.Sprint(textual(v)))
		}
		return children
	case nil:
		return "nothing"
	default:
		return "x"
	}
	slices.Sort(children)
	return children
}
