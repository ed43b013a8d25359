package dynamic

import (
	"reflect"
	"strings"
)

// setPointers returns the json names of the non-nil pointer fields of the struct that v points to, in order. It serves
// the Kinds methods, which run when configuration is built, never per request.
func setPointers(v any) []string {
	s := reflect.ValueOf(v).Elem()
	var names []string
	for i := range s.NumField() {
		if f := s.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			name, _, _ := strings.Cut(s.Type().Field(i).Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	return names
}
