package decode

import (
	"fmt"
	"reflect"
	"strings"
	"sync"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/secret"
)

// shape says how values of a Go type are read.
type shape uint8

const (
	shapeString shape = iota
	shapeBool
	shapeInt
	shapeUint
	shapeFloat
	shapeDuration
	shapeSecret
	shapeMaterial
	shapeAny
	shapePointer
	shapeStruct
	shapeList      // elem tells of what
	shapeMap       // names chosen by users; elem is a struct, a pointer to one, or a list
	shapeStringMap // map[string]string and other maps of scalars: keys keep their dots
	shapeFreeMap   // map[string]any
)

func (s shape) scalar() bool { return s < shapeAny }

// schema is what the walk knows about one Go type. It is built once per type and never changes.
type schema struct {
	typ      reflect.Type
	shape    shape
	elem     *schema
	defaults bool // the pointer type has SetDefaults
	fields   []field
	byName   map[string]int32 // every spelling seen so far in lower case, and the file spelling, to index in fields
	plugins  map[string]int32 // second spellings below "plugin", lower case, to index in fields
}

// field is one option of a struct.
type field struct {
	name      string // file spelling
	label     string // singular spelling of labels for the one element of a list; empty: none
	index     int    // in the Go struct
	schema    *schema
	section   bool
	filesOnly bool
	labelOnly bool
	leftover  bool // v2
}

// defaulter is a struct with defaults.
type defaulter interface{ SetDefaults() }

var (
	durationType  = reflect.TypeFor[dynamic.Duration]()
	secretType    = reflect.TypeFor[secret.String]()
	materialType  = reflect.TypeFor[dynamic.Material]()
	anyType       = reflect.TypeFor[any]()
	defaulterType = reflect.TypeFor[defaulter]()
)

var schemas struct {
	sync.RWMutex
	m map[reflect.Type]*schema
}

// schemaOf returns the schema of t. It panics for types that configuration cannot have, which the test over the real
// structs would show first.
func schemaOf(t reflect.Type) *schema {
	schemas.RLock()
	s := schemas.m[t]
	schemas.RUnlock()
	if s != nil {
		return s
	}
	schemas.Lock()
	defer schemas.Unlock()
	if schemas.m == nil {
		schemas.m = map[reflect.Type]*schema{}
	}
	return buildSchema(t)
}

// buildSchema runs under the lock. It enters the schema into the table before it is complete, because types refer to
// themselves; nobody reads it before the lock is released.
func buildSchema(t reflect.Type) *schema {
	if s := schemas.m[t]; s != nil {
		return s
	}
	s := &schema{typ: t}
	schemas.m[t] = s
	switch t {
	case durationType:
		s.shape = shapeDuration
		return s
	case secretType:
		s.shape = shapeSecret
		return s
	case materialType:
		s.shape = shapeMaterial
		return s
	case anyType:
		s.shape = shapeAny
		return s
	}
	switch t.Kind() {
	case reflect.String:
		s.shape = shapeString
	case reflect.Bool:
		s.shape = shapeBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		s.shape = shapeInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		s.shape = shapeUint
	case reflect.Float32, reflect.Float64:
		s.shape = shapeFloat
	case reflect.Pointer:
		s.shape = shapePointer
		s.elem = buildSchema(t.Elem())
	case reflect.Slice:
		s.shape = shapeList
		s.elem = buildSchema(t.Elem())
	case reflect.Map:
		s.elem = buildSchema(t.Elem())
		switch {
		case t.Key().Kind() != reflect.String:
			panic(fmt.Sprintf("decode: map with keys of type %v", t.Key()))
		case s.elem.shape == shapeAny:
			s.shape = shapeFreeMap
		case s.elem.shape.scalar():
			s.shape = shapeStringMap
		default:
			s.shape = shapeMap
		}
	case reflect.Struct:
		s.shape = shapeStruct
		s.defaults = reflect.PointerTo(t).Implements(defaulterType)
		s.addFields()
	default:
		panic(fmt.Sprintf("decode: no way to read a %v", t))
	}
	return s
}

func (s *schema) addFields() {
	s.byName = map[string]int32{}
	for i := range s.typ.NumField() {
		sf := s.typ.Field(i)
		name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if !sf.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = strings.ToLower(sf.Name[:1]) + sf.Name[1:]
		}
		f := field{name: name, index: i, schema: buildSchema(sf.Type)}
		at := int32(len(s.fields))
		for word := range strings.SplitSeq(sf.Tag.Get("sluice"), ",") {
			switch key, value, _ := strings.Cut(word, "="); key {
			case "section":
				f.section = true
			case "filesonly":
				f.filesOnly = true
			case "labelonly":
				f.labelOnly = true
			case "v2":
				f.leftover = true
			case "label":
				f.label = value
			case "plugin":
				if s.plugins == nil {
					s.plugins = map[string]int32{}
				}
				s.plugins[strings.ToLower(value)] = at
			}
		}
		s.fields = append(s.fields, f)
		s.byName[name] = at
		s.byName[strings.ToLower(name)] = at
	}
}

// lookup finds a field by key without regard to case. door tells which fields exist.
func (s *schema) lookup(key string, d door) *field {
	if i, ok := s.byName[key]; ok {
		if f := &s.fields[i]; f.visible(d) {
			return f
		}
		return nil
	}
	if len(key) > 64 {
		return nil
	}
	var buf [64]byte
	if i, ok := s.byName[string(appendLower(buf[:0], key))]; ok {
		if f := &s.fields[i]; f.visible(d) {
			return f
		}
		return nil
	}
	if d == doorLabels {
		for i := range s.fields {
			if f := &s.fields[i]; f.label != "" && strings.EqualFold(f.label, key) {
				return f
			}
		}
	}
	return nil
}

// visible reports whether the field can be written under its name through door d. Fields that files have and labels
// lack are visible to labels, so that the finding can say so.
func (f *field) visible(d door) bool {
	if d == doorLabels {
		return f.label == ""
	}
	return !f.labelOnly
}

// names lists the keys that door d offers, for suggestions.
func (s *schema) names(d door) []string {
	var out []string
	for i := range s.fields {
		f := &s.fields[i]
		switch {
		case f.leftover || d == doorLabels && f.filesOnly:
		case d == doorLabels && f.label != "":
			out = append(out, f.label)
		case f.visible(d):
			out = append(out, f.name)
		}
	}
	return out
}

func appendLower(dst []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// target returns the schema below pointers.
func (s *schema) target() *schema {
	for s.shape == shapePointer {
		s = s.elem
	}
	return s
}
