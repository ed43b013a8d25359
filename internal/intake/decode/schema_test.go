package decode

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
)

// option is one leaf of a schema, with a value to write and the name that users choose replaced by an example.
type option struct {
	path     []string // list elements as "0"
	steps    []int    // field indexes; -1 is a map entry or list element
	value    string
	label    bool // labels have it
	file     bool // files have it
	list     bool // of scalars
	singular []string
}

// options walks a schema and returns all leaves.
func options(s *schema, o option, depth int) []option {
	var out []option
	switch s.shape {
	case shapePointer:
		return options(s.elem, o, depth)
	case shapeStruct:
		if depth > 12 {
			panic("the schema is recursive")
		}
		for i := range s.fields {
			f := &s.fields[i]
			sub := o
			sub.path = append(append([]string{}, o.path...), f.name)
			sub.singular = append(append([]string{}, o.singular...), f.name)
			sub.steps = append(append([]int{}, o.steps...), f.index)
			sub.label = o.label && !f.filesOnly
			sub.file = o.file && !f.labelOnly
			if f.label != "" {
				sub.singular[len(sub.singular)-1] = f.label
			}
			if f.schema.target().shape == shapeList && f.schema.target().elem.target().shape == shapeStruct {
				sub.path = append(sub.path, "0")
				if f.label == "" {
					sub.singular[len(sub.singular)-1] += "[0]"
				}
			}
			out = append(out, options(f.schema, sub, depth+1)...)
		}
		if len(s.fields) == 0 {
			o.value = "true"
			out = append(out, o)
		}
		return out
	case shapeMap, shapeStringMap, shapeFreeMap:
		o.path = append(append([]string{}, o.path...), "name")
		o.singular = append(append([]string{}, o.singular...), "name")
		o.steps = append(append([]int{}, o.steps...), -1)
		return options(s.elem, o, depth+1)
	case shapeList:
		o.steps = append(append([]int{}, o.steps...), -1)
		o.list = s.elem.target().shape != shapeStruct
		return options(s.elem, o, depth+1)
	case shapeBool:
		o.value = "true"
	case shapeInt, shapeUint, shapeFloat:
		o.value = "77"
	case shapeDuration:
		o.value = "77s"
	default:
		o.value = "text"
	}
	return []option{o}
}

// reach follows an option into a filled value and shows what is there.
func reach(v reflect.Value, steps []int) (any, error) {
	for {
		switch v.Kind() {
		case reflect.Pointer:
			if v.IsNil() {
				return nil, fmt.Errorf("nil %v", v.Type())
			}
			v = v.Elem()
			continue
		case reflect.Interface:
			v = v.Elem()
			continue
		}
		if len(steps) == 0 {
			return v.Interface(), nil
		}
		switch v.Kind() {
		case reflect.Struct:
			v = v.Field(steps[0])
		case reflect.Map:
			if v.Len() == 0 {
				return nil, fmt.Errorf("empty %v", v.Type())
			}
			it := v.MapRange()
			it.Next()
			v = it.Value()
		case reflect.Slice:
			if v.Len() == 0 {
				return nil, fmt.Errorf("empty %v", v.Type())
			}
			v = v.Index(v.Len() - 1)
		default:
			return nil, fmt.Errorf("no way into %v", v.Type())
		}
		steps = steps[1:]
	}
}

func (o option) check(t *testing.T, door string, cfg any, findings diag.List) {
	t.Helper()
	for _, f := range findings {
		if f.Severity > diag.Info {
			t.Errorf("%s %s: %v", door, strings.Join(o.path, "."), f)
		}
	}
	got, err := reach(reflect.ValueOf(cfg), o.steps)
	if err != nil {
		t.Errorf("%s %s: %v", door, strings.Join(o.path, "."), err)
		return
	}
	want := strings.TrimSuffix(o.value, "s")
	switch x := got.(type) {
	case dynamic.Duration:
		got = int(x.Std().Seconds())
	case dynamic.Material:
		got = x.Written
	}
	if s := fmt.Sprint(got); s != want && s != "REDACTED" && s != "{}" {
		t.Errorf("%s %s: got %v, want %s", door, strings.Join(o.path, "."), got, want)
	}
}

// yaml writes the option in flow style, with upper-case letters where case does not matter.
func (o option) yaml() string {
	var b strings.Builder
	var tail string
	for _, p := range o.path {
		if p == "0" {
			b.WriteString("[")
			tail = "]" + tail
			continue
		}
		b.WriteString("{" + p + ": ")
		tail = "}" + tail
	}
	return b.String() + o.value + tail
}

// toml writes the option with tables.
func (o option) toml() string {
	var b strings.Builder
	var table []string
	last := len(o.path) - 1
	for i, p := range o.path[:last] {
		switch {
		case p == "0":
			continue
		case o.path[i+1] == "0":
			table = append(table, p)
			b.WriteString("[[" + strings.Join(table, ".") + "]]\n")
		default:
			table = append(table, p)
		}
	}
	value := o.value
	if value == "text" || strings.HasSuffix(value, "s") {
		value = "'" + value + "'"
	}
	if o.list {
		value = "[" + value + "]"
	}
	if o.path[max(last-1, 0)] != "0" && last > 0 {
		b.WriteString("[" + strings.Join(table, ".") + "]\n")
	}
	key := o.path[last]
	if key == "0" {
		return b.String()
	}
	return b.String() + key + " = " + value + "\n"
}

// TestEveryOption writes every option of the real structs through every front door that has it.
func TestEveryOption(t *testing.T) {
	dyn := options(dynamicSchema(), option{label: true, file: true}, 0)
	stat := options(staticSchema(), option{file: true}, 0)
	if len(dyn) < 400 || len(stat) < 400 {
		t.Errorf("%d dynamic and %d static options; the walk has missed some", len(dyn), len(stat))
	}
	for _, o := range dyn {
		if o.file {
			for name, src := range map[string]string{"x.yaml": o.yaml(), "x.toml": o.toml()} {
				f, _ := FormatOf(name)
				d, err := File(name, []byte(src), f)
				if err != nil {
					t.Fatalf("%s\n%v", src, err)
				}
				fr := d.Dynamic(nil)
				o.check(t, name, fr.Config, fr.Findings)
			}
		}
		if o.label {
			prefix := "traefik."
			if o.path[0] == "tls" {
				prefix = "traefik.tls.stores.default."
				if o.path[1] != "stores" {
					continue
				}
				o.singular = o.singular[3:]
			}
			fr := Labels(map[string]string{prefix + strings.ToLower(strings.Join(o.singular, ".")): o.value}, "container x", nil)
			o.check(t, "label", fr.Config, fr.Findings)
		}
	}
	for _, o := range stat {
		for name, src := range map[string]string{"x.yaml": o.yaml(), "x.toml": o.toml()} {
			f, _ := FormatOf(name)
			d, err := File(name, []byte(src), f)
			if err != nil {
				t.Fatalf("%s\n%v", src, err)
			}
			cfg, findings := d.Static(nil)
			o.check(t, name, cfg, findings)
		}
		cfg, _, findings := StaticFromFlags([]string{"--" + strings.Join(o.singular, ".") + "=" + o.value}, nil)
		o.check(t, "flag", cfg, findings)
		if o.path[0] == "configFile" {
			continue
		}
		name := "TRAEFIK_" + strings.ToUpper(strings.Join(o.path, "_"))
		cfg, _, findings = StaticFromEnv([]string{name + "=" + o.value}, nil)
		o.check(t, "env", cfg, findings)
	}
}

func TestSchemaOfConcurrentUse(t *testing.T) {
	t.Parallel()
	for range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			if schemaOf(reflect.TypeFor[static.Config]()).lookup("ENTRYPOINTS", doorFile) == nil {
				t.Error("no entryPoints")
			}
		})
	}
}
