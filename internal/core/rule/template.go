package rule

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"sluice/internal/core/diag"
)

// maxPattern is the longest regular expression, and maxPatterns all of a rule together, in bytes. Reading names of
// character classes is what makes short patterns slow.
const (
	maxPattern  = 16 << 10
	maxPatterns = 64 << 10
)

// addRegexp compiles pattern and adds it to m as a test of key.
func (p *parser) addRegexp(m *Matcher, a Arg, key, pattern string) *Value {
	re, literal, err := p.compile(pattern)
	if err != nil {
		code := CodeRegexp
		if errors.Is(err, errTooLarge) {
			code = CodeLimit
		}
		p.bad(a, code, "%s: %v", m.Name, err)
		return nil
	}
	m.Values = append(m.Values, Value{Form: Regexp, Key: key, Re: re, Literal: literal, Offset: a.Offset})
	return &m.Values[len(m.Values)-1]
}

var errTooLarge = errors.New("the regular expression is too large")

// compile turns a pattern into a program whose size is bounded before it is built, and returns the literal that a match
// must begin with where the pattern is anchored at its start.
func (p *parser) compile(pattern string) (*regexp.Regexp, string, error) {
	p.patterns += len(pattern)
	if len(pattern) > maxPattern || p.patterns > maxPatterns {
		return nil, "", errTooLarge
	}
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		var se *syntax.Error
		if errors.As(err, &se) {
			return nil, "", fmt.Errorf("invalid regular expression %s: %s: %s", quote(clip(pattern)), se.Code, quote(clip(se.Expr)))
		}
		return nil, "", err
	}
	p.program += instructions(tree)
	if p.program > MaxProgram {
		return nil, "", errTooLarge
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, "", fmt.Errorf("invalid regular expression %s", quote(clip(pattern)))
	}
	return re, leading(tree), nil
}

// instructions estimates from above how many instructions the tree compiles to. Counted repetitions are what makes
// small texts large.
func instructions(t *syntax.Regexp) int {
	n := 2
	switch t.Op {
	case syntax.OpLiteral:
		return n + len(t.Rune)
	case syntax.OpCharClass:
		return n + len(t.Rune)/16 // ranges are not instructions, but cost memory and time all the same
	}
	for _, s := range t.Sub {
		n += instructions(s)
		if n > MaxProgram {
			return n
		}
	}
	if t.Op == syntax.OpRepeat {
		n *= max(t.Min, t.Max, 1) + 1
	}
	return n
}

// leading returns the text that every match of a tree anchored at its start begins with.
func leading(t *syntax.Regexp) string {
	for t.Op == syntax.OpCapture {
		t = t.Sub[0]
	}
	if t.Op != syntax.OpConcat || t.Sub[0].Op != syntax.OpBeginText {
		return ""
	}
	var b strings.Builder
	for _, s := range t.Sub[1:] {
		if s.Op != syntax.OpLiteral || s.Flags&syntax.FoldCase != 0 {
			break
		}
		text := string(s.Rune)
		if strings.Contains(text, "\uFFFD") {
			break // it also matches any byte that is not UTF-8
		}
		b.WriteString(text)
	}
	return b.String()
}

// part is a piece of a v2 template: literal text, or the pattern of a {name} or {name:pattern}.
type part struct {
	literal, pattern string
}

// cutTemplate reads a v2 template. The braces of a pattern may nest when they are balanced, as in {id:[0-9]{3}}.
func cutTemplate(s, defaultPattern string) ([]part, error) {
	var parts []part
	for s != "" {
		open := strings.IndexAny(s, "{}")
		if open < 0 {
			return append(parts, part{literal: s}), nil
		}
		if s[open] == '}' {
			return nil, errors.New("a brace is closed that was not opened")
		}
		if open > 0 {
			parts = append(parts, part{literal: s[:open]})
		}
		end := closing(s[open:])
		if end < 0 {
			return nil, errors.New("an opened brace is not closed")
		}
		name, pattern, has := strings.Cut(s[open+1:open+end], ":")
		if !has {
			pattern = defaultPattern
		}
		if name == "" || pattern == "" {
			return nil, errors.New("a template is {name} or {name:pattern}")
		}
		parts = append(parts, part{pattern: pattern})
		s = s[open+end+1:]
	}
	return parts, nil
}

// closing returns where the brace that opens s is closed, or -1.
func closing(s string) int {
	level := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			level++
		case '}':
			if level--; level == 0 {
				return i
			}
		}
	}
	return -1
}

// pattern writes parts as a regular expression without anchors. Each part is a group of its own, so that alternatives
// inside a template stay inside it.
func pattern(parts []part, group bool) string {
	var b strings.Builder
	for _, t := range parts {
		switch {
		case t.pattern == "":
			b.WriteString(regexp.QuoteMeta(t.literal))
		case group || strings.Contains(t.pattern, "|"):
			b.WriteString("(?:" + t.pattern + ")")
		default:
			b.WriteString(t.pattern)
		}
	}
	return b.String()
}

// addTemplate compiles a v2 template with the anchors before and after; every template's own pattern must be valid by
// itself, or it could reach out of its group.
func (p *parser) addTemplate(m *Matcher, a Arg, key, text, before, defaultPattern, after string) *Value {
	parts, err := cutTemplate(text, defaultPattern)
	if err != nil {
		p.bad(a, CodeTemplate, "template %s: %v", quote(clip(text)), err)
		return nil
	}
	for _, t := range parts {
		if t.pattern == "" {
			continue
		}
		if len(t.pattern) > maxPattern {
			p.bad(a, CodeLimit, "%s: %v", m.Name, errTooLarge)
			return nil
		}
		if _, err := syntax.Parse(t.pattern, syntax.Perl); err != nil {
			p.bad(a, CodeRegexp, "template %s: invalid regular expression %s", quote(clip(text)), quote(clip(t.pattern)))
			return nil
		}
	}
	return p.addRegexp(m, a, key, before+pattern(parts, true)+after)
}

func buildHostTemplate(p *parser, m *Matcher) {
	for _, a := range m.Args {
		if !ascii(a.Value) {
			p.report(a.Offset, diag.Error, CodeValue, fmt.Sprintf("%s is not ASCII", quote(clip(a.Value))), hintPunycode)
			continue
		}
		p.addTemplate(m, a, "", strings.TrimSuffix(a.Value, "."), "(?i)^", "[^.]+", "$")
	}
}

func buildPathTemplate(p *parser, m *Matcher) {
	for _, a := range m.Args {
		if !p.slash(a) {
			continue
		}
		if !strings.ContainsAny(a.Value, "{}") {
			m.Values = append(m.Values, pathValue(m, a))
			continue
		}
		after := "$"
		if m.Kind == PathPrefix {
			after = ""
		}
		p.addTemplate(m, a, "", a.Value, "^", "[^/]+", after)
	}
}

// buildQueryPairs reads v2's Query: each argument is cut at its first "=", and the pieces are pairs.
func buildQueryPairs(p *parser, m *Matcher) {
	m.All = true
	var pieces []Arg
	for _, a := range m.Args {
		k, v, has := strings.Cut(a.Value, "=")
		pieces = append(pieces, Arg{k, a.Offset})
		if has {
			pieces = append(pieces, Arg{v, a.Offset})
		}
	}
	if len(pieces)%2 != 0 {
		p.report(m.Args[0].Offset, diag.Error, CodeArity, "Query takes pairs of name and value", "write Query(`name=value`)")
		return
	}
	for i := 0; i < len(pieces); i += 2 {
		key, value := pieces[i], pieces[i+1]
		text, after := value.Value, "$"
		if text == "" {
			after = "" // name= is satisfied by any value
		}
		if v := p.addTemplate(m, value, key.Value, text, "^", ".*", after); v != nil {
			v.Form = First
		}
	}
}

// templated reports whether s holds a {name} or {name:pattern} of the v2 syntax. Braces that regular expressions have
// of their own, as in [a-z]{2,3} or \p{Greek}, are none.
func templated(s string) bool {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
			if i+1 < len(s) && strings.IndexByte("pPx", s[i]) >= 0 && s[i+1] == '{' {
				i++
			}
		case s[i] == '{':
			j := i + 1
			for j < len(s) && (letter(s[j]) || s[j] == '-' || j > i+1 && '0' <= s[j] && s[j] <= '9') {
				j++
			}
			if j > i+1 && j < len(s) && (s[j] == '}' || s[j] == ':') {
				return true
			}
		}
	}
	return false
}

// templateV3 writes a v2 template as a v3 matcher, or returns "" where it is none.
func (p *parser) templateV3(name, text string, whole bool, defaultPattern string) string {
	parts, err := cutTemplate(text, defaultPattern)
	if err != nil {
		return ""
	}
	re := "^" + pattern(parts, false)
	if whole {
		re += "$"
	}
	if _, err := syntax.Parse(re, syntax.Perl); err != nil {
		return ""
	}
	return call(name, re)
}

// adviseTemplate warns about a v2 template under v3, where braces are plain text or part of a regular expression.
func (p *parser) adviseTemplate(m *Matcher, a Arg) {
	if p.syntax != V3 || !templated(a.Value) {
		return
	}
	var v3 string
	switch m.Kind {
	case Host, HostRegexp:
		v3 = p.templateV3("HostRegexp", a.Value, true, "[^.]+")
	case HostSNIRegexp:
		v3 = p.templateV3("HostSNIRegexp", a.Value, true, "[^.]+")
	case Path, PathRegexp:
		v3 = p.templateV3("PathRegexp", a.Value, true, "[^/]+")
	case PathPrefix:
		v3 = p.templateV3("PathRegexp", a.Value, false, "[^/]+")
	}
	hint := ""
	if v3 != "" {
		hint = "write " + v3
	}
	p.report(a.Offset, diag.Warning, CodeTemplate,
		fmt.Sprintf("templates such as %s belong to the v2 syntax; here the braces are taken literally", quote(clip(a.Value))), hint)
}
