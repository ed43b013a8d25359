package provider

import (
	"strings"
	"text/template"
	"unicode"

	"github.com/Masterminds/sprig/v3"
)

// TemplateFuncs returns the functions of the templates that providers execute: those of sprig, normalize, and split as
// (text, separator) to a list, where sprig's own makes a map. The map is the caller's.
func TemplateFuncs() template.FuncMap {
	funcs := sprig.TxtFuncMap()
	funcs["normalize"] = Normalize
	funcs["split"] = func(text, separator string) []string { return strings.Split(text, separator) }
	return funcs
}

// Normalize joins the runs of letters and digits of name by "-", so that it can stand in rules and be the name of an
// element.
func Normalize(name string) string {
	return strings.Join(strings.FieldsFunc(name, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsNumber(r)
	}), "-")
}
