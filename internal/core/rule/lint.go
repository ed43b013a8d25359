package rule

import (
	"fmt"
	"net/netip"
	"regexp/syntax"
	"strings"

	"sluice/internal/core/diag"
)

// Codes of findings that Lint reports.
const (
	CodeNeverToken     = "PATH-NEVER-TOKEN"
	CodeHostPort       = "HOST-PORT"
	CodeHostForm       = "HOST-FORM"
	CodeRegexpUpper    = "REGEXP-UPPER"
	CodePathQuery      = "PATH-QUERY"
	CodePathEscape     = "PATH-ESCAPE"
	CodePrefixBoundary = "PREFIX-BOUNDARY"
	CodePathStar       = "PATH-STAR"
	CodePathExact      = "PATH-EXACT"
	CodeQueryForm      = "QUERY-FORM"
	CodeHeaderHost     = "HEADER-HOST"
	CodeNetBits        = "CLIENTIP-BITS"
	CodeNever          = "RULE-NEVER"
)

const challengePath = "/.well-known/acme-challenge"

// Lint says what a readable rule probably does not do as its author meant: comparisons that can never hold, and
// semantics that surprise. Findings are warnings, or information where the rule may well be meant so.
func Lint(r *Rule) []Problem {
	l := linter{rule: r}
	r.Matchers(func(m *Matcher, _ bool) { l.matcher(m) })
	l.contradictions(r.Root)
	sortProblems(l.out)
	return l.out
}

type linter struct {
	rule *Rule
	out  []Problem
}

func (l *linter) warn(offset int, code, message, hint string) {
	l.out = append(l.out, Problem{offset, diag.Warning, code, message, hint})
}

func (l *linter) info(offset int, code, message, hint string) {
	l.out = append(l.out, Problem{offset, diag.Info, code, message, hint})
}

func (l *linter) matcher(m *Matcher) {
	switch m.Kind {
	case Host, HostSNI:
		for _, a := range m.Args {
			l.host(m, a)
		}
	case HostRegexp, HostSNIRegexp:
		if l.rule.Syntax == V3 { // templates ignore case
			for _, a := range m.Args {
				if t, err := syntax.Parse(a.Value, syntax.Perl); err == nil && needsUpper(t) {
					l.warn(a.Offset, CodeRegexpUpper, fmt.Sprintf("%s is compared with lower-case names and never matches", quote(clip(a.Value))),
						"write it in lower case")
				}
			}
		}
	case Path, PathPrefix:
		for _, v := range m.Values {
			if v.Form != Regexp {
				l.path(m, v)
			}
		}
	case Query, QueryRegexp:
		l.query(m)
	case Header, HeaderRegexp:
		for _, v := range m.Values {
			if v.Key == "Host" {
				l.warn(v.Offset, CodeHeaderHost, m.Name+" never sees the Host header", "use Host or HostRegexp")
			}
		}
	case ClientIP:
		for i, a := range m.Args {
			if net, err := netip.ParsePrefix(a.Value); err == nil && net.Masked() != net {
				l.info(a.Offset, CodeNetBits, fmt.Sprintf("%s means the whole range %s", quote(a.Value), m.Values[i].Net), "")
			}
		}
	}
}

// host looks at names that no request can have.
func (l *linter) host(m *Matcher, a Arg) {
	s := a.Value
	never := fmt.Sprintf("%s(%s) never matches", m.Name, quote(clip(s)))
	rest := strings.TrimPrefix(s, "*.")
	name, port, hasPort := strings.Cut(rest, ":")
	switch {
	case s == "*" && l.rule.Syntax == V2 && m.Kind == Host:
		l.warn(a.Offset, CodeHostForm, never+" under the v2 syntax", "leave the host out, or use the v3 syntax")
	case s == "*":
	case strings.Contains(s, "/"):
		l.warn(a.Offset, CodeHostForm, never+": it is not a host name", "write the name alone, and the path as Path or PathPrefix")
	case strings.HasPrefix(s, "["):
		l.warn(a.Offset, CodeHostForm, never, "write IPv6 addresses without brackets")
	case hasPort && !strings.Contains(port, ":") && port != "" && strings.Trim(port, "0123456789") == "":
		l.warn(a.Offset, CodeHostPort, never+": names are compared without port", "did you mean "+call(m.Name, strings.TrimSuffix(s, rest)+name)+"?")
	case strings.Contains(rest, "*") || strings.HasPrefix(s, "*.") && l.rule.Syntax == V2:
		hint := "a wildcard is the whole first label: *.example.com"
		if l.rule.Syntax == V2 {
			hint = "write HostRegexp(" + quote("{label:[^.]+}.example.com") + "), or use the v3 syntax"
		}
		l.warn(a.Offset, CodeHostForm, never, hint)
	case strings.ContainsAny(s, " \t\r\n,"):
		l.warn(a.Offset, CodeHostForm, never+": it is not a host name", "write alternatives as Host(`a`) || Host(`b`)")
	}
}

func (l *linter) path(m *Matcher, v Value) {
	text := call(m.Name, clip(v.Text))
	switch {
	case m.Kind == Path && (v.Text == challengePath || v.Text == challengePath+"/"):
		l.warn(v.Offset, CodeNeverToken, text+" matches only that exact path and never a token", "did you mean PathPrefix?")
	case strings.ContainsAny(v.Text, "?#"):
		l.warn(v.Offset, CodePathQuery, text+" never matches: a path holds neither query nor fragment", "use Query for parameters")
	case strings.HasSuffix(v.Text, "/*"):
		l.warn(v.Offset, CodePathStar, text+" takes only paths with a star in them: a star is a character like any other",
			"did you mean "+call("PathPrefix", strings.TrimSuffix(clip(v.Text), "*"))+"?")
	case m.Kind == Path && len(v.Text) > 1 && strings.HasSuffix(v.Text, "/"):
		l.info(v.Offset, CodePathExact, text+" matches only that exact path, and nothing below it", "for all below it write "+call("PathPrefix", clip(v.Text)))
	case routingForm(v.Text) != v.Text:
		l.warn(v.Offset, CodePathEscape, text+" never matches: it is compared with the decoded path", "did you mean "+call(m.Name, routingForm(v.Text))+"?")
	case m.Kind == PathPrefix && !strings.HasSuffix(v.Text, "/"):
		l.info(v.Offset, CodePrefixBoundary, fmt.Sprintf("%s also matches %s", text, quote(clip(v.Text)+"more")),
			fmt.Sprintf("for whole segments write %s || %s", call("Path", clip(v.Text)), call("PathPrefix", clip(v.Text)+"/")))
	}
}

// routingForm rewrites the escapes of a path as they are when rules see it (route.RoutingPath): reserved characters, the
// percent sign, the backslash and NUL stay escaped, in upper-case, all others are decoded.
func routingForm(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' || i+2 >= len(s) || unhex(s[i+1]) < 0 || unhex(s[i+2]) < 0 {
			b.WriteByte(s[i])
			continue
		}
		c := byte(unhex(s[i+1])<<4 | unhex(s[i+2]))
		if strings.IndexByte(":/?#[]@!$&'()*+,;=%\\\x00", c) >= 0 {
			b.WriteString(strings.ToUpper(s[i : i+3]))
		} else {
			b.WriteByte(c)
		}
		i += 2
	}
	return b.String()
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func (l *linter) query(m *Matcher) {
	if len(m.Args) != 1 || l.rule.Syntax == V2 {
		return
	}
	a := m.Args[0]
	if k, v, ok := strings.Cut(a.Value, "="); ok && k != "" {
		hint := "write " + call(m.Name, k, v)
		if v == "" {
			hint = "write " + call("QueryRegexp", k, ".*")
		}
		l.warn(a.Offset, CodeQueryForm, fmt.Sprintf("%s looks for a parameter of the name %s", m, quote(clip(a.Value))), hint)
		return
	}
	l.info(a.Offset, CodeQueryForm, fmt.Sprintf("%s matches only where the parameter has an empty value", m),
		"for any value write "+call("QueryRegexp", a.Value, ".*"))
}

// needsUpper reports whether every match of t holds an upper-case ASCII letter.
func needsUpper(t *syntax.Regexp) bool {
	switch t.Op {
	case syntax.OpLiteral:
		if t.Flags&syntax.FoldCase != 0 {
			return false
		}
		for _, r := range t.Rune {
			if 'A' <= r && r <= 'Z' {
				return true
			}
		}
	case syntax.OpCharClass:
		for i := 0; i < len(t.Rune); i += 2 {
			if t.Rune[i] < 'A' || t.Rune[i+1] > 'Z' {
				return false
			}
		}
		return len(t.Rune) > 0
	case syntax.OpConcat:
		for _, s := range t.Sub {
			if needsUpper(s) {
				return true
			}
		}
	case syntax.OpAlternate:
		for _, s := range t.Sub {
			if !needsUpper(s) {
				return false
			}
		}
		return true
	case syntax.OpCapture, syntax.OpPlus:
		return needsUpper(t.Sub[0])
	case syntax.OpRepeat:
		return t.Min > 0 && needsUpper(t.Sub[0])
	}
	return false
}

// contradictions finds Host(`a`) && Host(`b`) and the like: people mean "or".
func (l *linter) contradictions(n *Node) {
	for _, k := range n.Kids {
		l.contradictions(k)
	}
	if n.Op != And {
		return
	}
	first := map[Kind]*Node{}
	for _, k := range n.Kids {
		if k.Op != Match {
			continue
		}
		switch k.Matcher.Kind {
		case Host, HostSNI, Path, Method:
		default:
			continue
		}
		f := first[k.Matcher.Kind]
		switch {
		case f == nil:
			first[k.Matcher.Kind] = k
		case disjoint(f.Matcher, k.Matcher):
			l.warn(k.Offset, CodeNever, fmt.Sprintf("%s and %s never hold together", clip(f.Matcher.String()), clip(k.Matcher.String())), `did you mean "||"?`)
		}
	}
}

// disjoint reports whether two matchers of one kind with exact values have no value in common.
func disjoint(a, b *Matcher) bool {
	for _, v := range a.Values {
		if v.Form != Exact {
			return false
		}
	}
	for _, w := range b.Values {
		if w.Form != Exact {
			return false
		}
		for _, v := range a.Values {
			if v.Text == w.Text {
				return false
			}
		}
	}
	return true
}
