package static_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/secret"
	"sluice/internal/core/static"
)

// TestSchema holds the structs of both configurations to what decode relies on: each field has a json key, unique in
// its struct whatever the case, a comment, a shape that decode knows, and only known words in its sluice tag.
func TestSchema(t *testing.T) {
	source := map[string]map[string]string{}
	for _, dir := range []string{".", "../dynamic"} {
		for name, fields := range parseStructs(t, dir) {
			source[name] = fields
		}
	}
	s := &schema{t: t, source: source, seen: map[reflect.Type]bool{}}
	s.walk(reflect.TypeFor[static.Config](), "static")
	s.walk(reflect.TypeFor[dynamic.Config](), "dynamic")
	if len(s.seen) < 150 {
		t.Errorf("the walk reached only %d structs", len(s.seen))
	}

	reached := map[string]bool{}
	for typ := range s.seen {
		reached[typeName(typ)] = true
	}
	// These are not read from configuration.
	for _, name := range []string{
		"dynamic.Fragment", "dynamic.Snapshot", "dynamic.Material", "static.Address", "static.gap", "static.validation",
	} {
		reached[name] = true
	}
	for name := range source {
		if !reached[name] {
			t.Errorf("%s is part of no configuration", name)
		}
	}
}

// schema is one walk.
type schema struct {
	t      *testing.T
	source map[string]map[string]string
	seen   map[reflect.Type]bool
}

var scalars = []reflect.Type{
	reflect.TypeFor[string](), reflect.TypeFor[bool](), reflect.TypeFor[int](), reflect.TypeFor[int64](),
	reflect.TypeFor[float64](), reflect.TypeFor[dynamic.Duration](), reflect.TypeFor[secret.String](),
	reflect.TypeFor[dynamic.Material](),
}

var freeForm = reflect.TypeFor[map[string]any]()

// walk checks the struct t, which was reached by path, and all that it holds.
func (s *schema) walk(t reflect.Type, path string) {
	if s.seen[t] {
		return
	}
	s.seen[t] = true
	fields, ok := s.source[typeName(t)]
	if !ok {
		s.t.Errorf("%s: %v is not in the sources", path, t)
		return
	}
	keys := map[string]string{}
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() || f.Anonymous {
			s.t.Errorf("%v.%s: want named, exported fields only", t, f.Name)
			continue
		}
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if key == "" {
			s.t.Errorf("%v.%s has no json key", t, f.Name)
		}
		if other, double := keys[strings.ToLower(key)]; double && key != "-" {
			s.t.Errorf("%v.%s has the key of %s", t, f.Name, other)
		}
		keys[strings.ToLower(key)] = f.Name
		if !strings.EqualFold(key, f.Name) && key != "-" {
			s.t.Errorf("%v.%s is written %q", t, f.Name, key)
		}
		if doc := fields[f.Name]; !strings.HasPrefix(doc, f.Name+" ") || !strings.HasSuffix(strings.TrimSpace(doc), ".") {
			s.t.Errorf("%v.%s: want a comment that begins with the name and ends with a full stop, got %q", t, f.Name, doc)
		}
		s.checkWords(t, f)
		s.checkShape(t, f, path+"."+key)
	}
}

// checkWords looks at the sluice tag.
func (s *schema) checkWords(t reflect.Type, f reflect.StructField) {
	tag, ok := f.Tag.Lookup("sluice")
	if !ok {
		return
	}
	section := f.Type.Kind() == reflect.Pointer && f.Type.Elem().Kind() == reflect.Struct
	for word := range strings.SplitSeq(tag, ",") {
		name, value, hasValue := strings.Cut(word, "=")
		switch {
		case name == "section" && !hasValue && section:
		case name == "label" && value != "" && f.Type.Kind() == reflect.Slice:
		case name == "plugin" && value != "" && section && t == reflect.TypeFor[dynamic.Middleware]():
		case (name == "filesonly" || name == "labelonly" || name == "v2") && !hasValue:
		default:
			s.t.Errorf("%v.%s: unknown or misplaced word %q in its tag", t, f.Name, word)
		}
	}
}

// checkShape looks at the type and goes on into structs.
func (s *schema) checkShape(t reflect.Type, f reflect.StructField, path string) {
	isScalar := func(t reflect.Type) bool { return slices.Contains(scalars, t) }
	isStruct := func(t reflect.Type) bool { return t.Kind() == reflect.Struct && !isScalar(t) }
	typ := f.Type
	switch kind := typ.Kind(); {
	case isScalar(typ):
	case isStruct(typ):
		s.walk(typ, path)
	case kind == reflect.Pointer && isScalar(typ.Elem()):
	case kind == reflect.Pointer && isStruct(typ.Elem()):
		s.walk(typ.Elem(), path)
	case kind == reflect.Slice && isScalar(typ.Elem()):
	case kind == reflect.Slice && typ.Elem().Kind() == reflect.Pointer && isStruct(typ.Elem().Elem()):
		s.walk(typ.Elem().Elem(), path)
	case kind == reflect.Map && typ.Key().Kind() == reflect.String:
		switch elem := typ.Elem(); {
		case elem.Kind() == reflect.String || elem.Kind() == reflect.Int || elem == freeForm:
		case elem.Kind() == reflect.Pointer && isStruct(elem.Elem()):
			s.walk(elem.Elem(), path)
		default:
			s.t.Errorf("%v.%s: decode does not know maps of %v", t, f.Name, elem)
		}
	default:
		s.t.Errorf("%v.%s: decode does not know %v", t, f.Name, typ)
	}
}

// typeName is package.Type.
func typeName(t reflect.Type) string { return filepath.Base(t.PkgPath()) + "." + t.Name() }

// parseStructs returns the comments of the fields of all structs declared in a directory, by package.Type and field
// name. It also demands a comment on each type.
func parseStructs(t *testing.T, dir string) map[string]map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	structs := map[string]map[string]string{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.TYPE {
				continue
			}
			for _, spec := range gen.Specs {
				typ := spec.(*ast.TypeSpec)
				name := file.Name.Name + "." + typ.Name.Name
				if !strings.HasPrefix(gen.Doc.Text(), typ.Name.Name+" ") {
					t.Errorf("%s: want a comment that begins with the name", name)
				}
				if st, ok := typ.Type.(*ast.StructType); ok {
					structs[name] = structFields(st)
				}
			}
		}
	}
	return structs
}

// structFields returns the comments of a struct's fields.
func structFields(st *ast.StructType) map[string]string {
	comments := map[string]string{}
	for _, f := range st.Fields.List {
		for _, name := range f.Names {
			comments[name.Name] = f.Doc.Text()
		}
	}
	return comments
}
