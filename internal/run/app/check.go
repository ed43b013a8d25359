package app

import (
	"errors"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
	"sluice/internal/intake/decode"
	"sluice/internal/intake/file"
	"sluice/internal/run/engine"
)

// check says what would be wrong with a text if it came beside our static configuration: a file of that name, or labels, one
// a line. Files that it names are not opened, since whoever may look need not be allowed to read them.
func (a *App) check(name, text string) diag.List {
	var fragment *dynamic.Fragment
	provider := file.Name
	if name == "labels" {
		provider = "docker"
		fragment = decode.Labels(labelsOf(text), name, nil)
	} else {
		format, ok := decode.FormatOf(name)
		if !ok {
			return diag.List{{Place: diag.Place{Source: name}, Severity: diag.Error, Code: decode.CodeFile, Message: "unsupported file extension"}}
		}
		doc, err := decode.File(name, []byte(text), format)
		if syntax := (*decode.SyntaxError)(nil); errors.As(err, &syntax) {
			return syntax.Findings
		} else if err != nil {
			return diag.List{{Place: diag.Place{Source: name}, Severity: diag.Error, Code: decode.CodeFile, Message: err.Error()}}
		}
		fragment = doc.Dynamic(nil)
	}
	p := plan.Build(nil, a.static, []dynamic.Snapshot{{Provider: provider, Fragments: []*dynamic.Fragment{fragment}}})
	out := append(p.Findings, engine.Validate(p)...)
	out.Sort()
	return out
}

// labelsOf reads labels as compose files and command lines write them: name=value or name: value, in quotes or with a dash
// before them or not.
func labelsOf(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "- "))
		if n := len(line); n >= 2 && (line[0] == '"' || line[0] == '\'') && line[n-1] == line[0] {
			line = line[1 : n-1]
		}
		at := strings.IndexAny(line, "=:")
		if at <= 0 {
			continue
		}
		value := strings.TrimSpace(line[at+1:])
		if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
			value = value[1 : n-1]
		}
		out[strings.Trim(strings.TrimSpace(line[:at]), `"'`)] = value
	}
	return out
}
