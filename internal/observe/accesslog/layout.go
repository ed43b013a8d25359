package accesslog

import (
	"net/textproto"
	"strings"

	"sluice/internal/core/secret"
	"sluice/internal/core/static"
	"sluice/internal/observe/record"
)

// layout is what a line holds, made once from the configuration.
type layout struct {
	format  string
	query   bool // paths are shown with their query
	dropped map[string]bool
	fields  []*field // of JSON lines, in the order of their names

	headerMode string
	// modes of header fields by canonical name.
	modes map[string]string
}

func newLayout(c *static.AccessLog) layout {
	l := layout{format: c.Format, query: true, dropped: map[string]bool{}, headerMode: static.FieldDrop, modes: map[string]string{}}
	f := c.Fields
	if f == nil {
		f = &static.AccessLogFields{}
		f.SetDefaults()
	}
	modes := make(map[string]string, len(f.Names))
	for name, mode := range f.Names {
		modes[strings.ToLower(name)] = strings.ToLower(mode)
	}
	for i := range fields {
		mode := strings.ToLower(f.DefaultMode)
		// A mode that is neither keep nor drop leaves the field to the default.
		if own := modes[strings.ToLower(fields[i].name)]; own == static.FieldKeep || own == static.FieldDrop {
			mode = own
		}
		if mode == static.FieldDrop {
			l.dropped[fields[i].name] = true
		} else {
			l.fields = append(l.fields, &fields[i])
		}
	}
	if h := f.Headers; h != nil {
		if mode, ok := headerMode(h.DefaultMode); ok {
			l.headerMode = mode
		}
		for name, text := range h.Names {
			if mode, ok := headerMode(text); ok {
				l.modes[textproto.CanonicalMIMEHeaderKey(name)] = mode
			}
		}
	}
	l.query = f.QueryParameters == nil || !strings.EqualFold(f.QueryParameters.DefaultMode, static.FieldDrop)
	return l
}

// headerMode reads a mode of header fields. Any other text is none: a slip in it must not show what was to be hidden.
func headerMode(text string) (mode string, ok bool) {
	switch mode = strings.ToLower(text); mode {
	case static.FieldKeep, static.FieldDrop, static.FieldRedact:
		return mode, true
	}
	return "", false
}

// write writes one line without its end.
func (l *layout) write(n *line) {
	switch {
	case strings.EqualFold(l.format, static.FormatJSON):
		n.json(l)
	case strings.EqualFold(l.format, static.FormatGenericCLF):
		n.common(l, true)
	default:
		n.common(l, false)
	}
}

func (l *layout) keeps(name string) bool { return !l.dropped[name] }

func (l *layout) ifKept(name, value string) string {
	if l.dropped[name] {
		return ""
	}
	return value
}

// headers reports whether any header field is shown.
func (l *layout) headers() bool {
	if l.headerMode != static.FieldDrop {
		return true
	}
	for _, mode := range l.modes {
		if mode != static.FieldDrop {
			return true
		}
	}
	return false
}

// mode returns how a header field is shown. name is canonical.
func (l *layout) mode(name string) string {
	if m, ok := l.modes[name]; ok {
		return m
	}
	return l.headerMode
}

// requestHeader returns what the line shows of a field of the request.
func (l *layout) requestHeader(r *record.Record, name string) string {
	switch l.mode(name) {
	case static.FieldKeep:
		v, _ := record.Value(r.Request, name)
		return v
	case static.FieldRedact:
		if _, ok := record.Value(r.Request, name); ok {
			return secret.Redacted
		}
	}
	return ""
}
