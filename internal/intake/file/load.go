package file

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"text/template"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/intake/decode"
	"sluice/internal/intake/provider"
)

// codeTemplate is the code of findings about templates.
const codeTemplate = "TEMPLATE"

// maxRendered bounds what a template may produce, in bytes.
const maxRendered = decode.MaxFile

// outcome is what became of an attempt to read a file.
type outcome uint8

const (
	same    outcome = iota // nothing new
	changed                // the fragment is another one
	missing                // there is no such file
	waiting                // a save is under way; look again later
)

// how says how thoroughly load looks.
type how struct {
	// force decodes even if the content is as before: a file that it refers to has changed, or templates shall run again.
	force bool
	// moving says that the file has not come to rest: mistakes in it are not believed yet.
	moving bool
	// first takes files of zero bytes at their word, since nothing better is known.
	first bool
	// glance believes size and time of modification.
	glance bool
}

// load reads the file of e and makes its fragment.
func (t *tree) load(e *entry, h how, now time.Time) outcome {
	before, err := os.Stat(e.abs)
	if err == nil && h.glance && e.read && before.Size() == e.size && before.ModTime().Equal(e.modified) && now.Sub(e.modified) > 2*time.Second {
		return same
	}
	var data []byte
	if err == nil {
		data, err = decode.ReadFile(e.abs)
	}
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return missing
		}
		return t.fail(e, sumOf(nil, err), diag.List{{
			Place: diag.Place{Source: e.name}, Severity: diag.Error, Code: decode.CodeFile, Message: "cannot be read: " + strings.Replace(reason(err), e.abs, e.name, 1),
		}})
	}
	if after, err := os.Stat(e.abs); err == nil && (after.Size() != int64(len(data)) || !after.ModTime().Equal(before.ModTime())) {
		return waiting
	}
	if len(data) > 0 {
		e.emptySince = time.Time{}
	} else if !h.first && (!e.read || e.size != 0) {
		if e.emptySince.IsZero() {
			e.emptySince = now
		}
		if now.Sub(e.emptySince) < emptySave {
			return waiting
		}
	}
	sum := sha256.Sum256(data)
	if e.read && sum == e.sum && !h.force {
		return same
	}
	fragment, refs, seen, findings := t.decode(e, data)
	if findings != nil {
		if h.moving {
			return waiting
		}
		return t.fail(e, sum, findings)
	}
	e.read, e.failed, e.sum, e.size, e.modified = true, false, sum, int64(len(data)), before.ModTime()
	e.fragment, e.good = fragment, fragment
	t.setRefs(e, refs, seen)
	return changed
}

// fail publishes what the file last said, with the reasons why it is not what it says now.
func (t *tree) fail(e *entry, sum [sha256.Size]byte, findings diag.List) outcome {
	if e.failed && e.sum == sum {
		return same
	}
	e.failed = true
	e.read, e.sum, e.size, e.modified = true, sum, -1, time.Time{}
	f := &dynamic.Fragment{Name: e.name, Config: &dynamic.Config{}}
	note := "nothing of this file is in force"
	if e.good != nil {
		f.Config, f.Where, f.Broken = e.good.Config, e.good.Where, e.good.Broken
		note = "its last good version stays in force"
	}
	if findings[0].Hint != "" {
		note = findings[0].Hint + "; " + note
	}
	findings[0].Hint = note
	f.Findings = findings
	e.fragment = f
	return changed
}

// decode turns content into a fragment. Findings mean that nothing could be made of it.
func (t *tree) decode(e *entry, data []byte) (f *dynamic.Fragment, refs []string, seen map[string][sha256.Size]byte, findings diag.List) {
	format, ok := decode.FormatOf(e.name)
	if !ok {
		return nil, nil, nil, diag.List{{
			Place: diag.Place{Source: e.name}, Severity: diag.Error, Code: decode.CodeFile,
			Message: "unsupported file extension", Hint: "use .toml, .yaml, .yml or .json",
		}}
	}
	source := e.name
	// Optimization: most files are no templates, and parsing one costs more than decoding what it holds.
	if bytes.Contains(data, []byte("{{")) {
		rendered, finding := t.render(e, string(data))
		if finding != nil {
			return nil, nil, nil, diag.List{*finding}
		}
		data = rendered
		// Lines are those of the result, which need not be those of the file.
		source += " (rendered)"
	}
	doc, err := decode.File(source, data, format)
	if err != nil {
		var se *decode.SyntaxError
		if errors.As(err, &se) {
			return nil, nil, nil, se.Findings
		}
		return nil, nil, nil, diag.List{{Place: diag.Place{Source: source}, Severity: diag.Error, Code: decode.CodeSyntax, Message: err.Error()}}
	}
	seen = map[string][sha256.Size]byte{}
	files := &decode.Files{Read: t.readRef(seen)}
	f = doc.Dynamic(files)
	f.Name = e.name
	for _, path := range files.Asked() {
		refs = append(refs, abs(path))
	}
	return f, refs, seen, nil
}

// templateName stands in the errors of the template engine before line and column.
const templateName = "file"

// render executes the template in text. Its data is the value false.
func (t *tree) render(e *entry, text string) ([]byte, *diag.Finding) {
	tmpl, err := template.New(templateName).Funcs(provider.TemplateFuncs()).Parse(text)
	if err != nil {
		return nil, templateFinding(e.name, err)
	}
	out := &limitedBuffer{}
	if err := tmpl.Execute(out, false); err != nil {
		return nil, templateFinding(e.name, err)
	}
	if t.opts.DebugLogGeneratedTemplate {
		t.log.Debug("Template content", "providerName", Name, "file", e.name, "content", text)
		t.log.Debug("Template rendered", "providerName", Name, "file", e.name, "content", out.String())
	}
	return out.Bytes(), nil
}

// limitedBuffer refuses to grow without bound.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxRendered {
		return 0, fmt.Errorf("the result is larger than %d bytes", maxRendered)
	}
	return b.Buffer.Write(p)
}

// templateFinding takes line and column out of the engine's message, which has them as "template: file:LINE:COL: ...".
func templateFinding(source string, err error) *diag.Finding {
	f := &diag.Finding{Place: diag.Place{Source: source}, Severity: diag.Error, Code: codeTemplate, Message: err.Error()}
	rest, ok := strings.CutPrefix(f.Message, "template: "+templateName+":")
	if !ok {
		return f
	}
	f.Message = rest
	line, rest, ok := strings.Cut(rest, ":")
	if n, err := strconv.Atoi(line); err == nil && ok {
		f.Place.Line, f.Message = n, strings.TrimSpace(rest)
		col, rest, ok := strings.Cut(rest, ":")
		if n, err := strconv.Atoi(col); err == nil && ok {
			f.Place.Col, f.Message = n+1, strings.TrimSpace(rest)
		}
	}
	return f
}
