package rule

import (
	"fmt"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"

	"sluice/internal/core/diag"
)

// spec is a row of the table of matchers: one name in one dialect on one layer.
type spec struct {
	name   string
	kind   Kind
	syntax Syntax
	layer  Layer
	// most is how many arguments the matcher takes at most, 0 for any number; least is at least 1.
	least, most int
	// list allows more arguments than one under v3 all the same, as alternatives and with a warning: v2 files have them.
	list  bool
	build func(p *parser, m *Matcher)
}

var specs = []spec{
	{"Host", Host, V3, HTTP, 1, 1, true, buildHost},
	{"HostRegexp", HostRegexp, V3, HTTP, 1, 1, false, buildHostRegexp},
	{"Path", Path, V3, HTTP, 1, 1, true, buildPath},
	{"PathPrefix", PathPrefix, V3, HTTP, 1, 1, true, buildPath},
	{"PathRegexp", PathRegexp, V3, HTTP, 1, 1, false, buildRegexp},
	{"Method", Method, V3, HTTP, 1, 1, true, buildMethod},
	{"Header", Header, V3, HTTP, 2, 2, false, buildHeader},
	{"HeaderRegexp", HeaderRegexp, V3, HTTP, 2, 2, false, buildHeader},
	{"Query", Query, V3, HTTP, 1, 2, false, buildQuery},
	{"QueryRegexp", QueryRegexp, V3, HTTP, 1, 2, false, buildQuery},
	{"ClientIP", ClientIP, V3, HTTP, 1, 1, true, buildClientIP},

	{"Host", Host, V2, HTTP, 1, 0, false, buildHost},
	{"HostHeader", Host, V2, HTTP, 1, 0, false, buildHost},
	{"HostRegexp", HostRegexp, V2, HTTP, 1, 0, false, buildHostTemplate},
	{"Path", Path, V2, HTTP, 1, 0, false, buildPathTemplate},
	{"PathPrefix", PathPrefix, V2, HTTP, 1, 0, false, buildPathTemplate},
	{"Method", Method, V2, HTTP, 1, 0, false, buildMethod},
	{"Headers", Header, V2, HTTP, 2, 0, false, buildHeader},
	{"HeadersRegexp", HeaderRegexp, V2, HTTP, 2, 0, false, buildHeader},
	{"Query", Query, V2, HTTP, 1, 0, false, buildQueryPairs},
	{"ClientIP", ClientIP, V2, HTTP, 1, 0, false, buildClientIP},

	{"HostSNI", HostSNI, V3, TCP, 1, 1, true, buildHostSNI},
	{"HostSNIRegexp", HostSNIRegexp, V3, TCP, 1, 1, false, buildHostRegexp},
	{"ClientIP", ClientIP, V3, TCP, 1, 1, true, buildClientIP},
	{"ALPN", ALPN, V3, TCP, 1, 1, true, buildALPN},

	{"HostSNI", HostSNI, V2, TCP, 1, 0, false, buildHostSNI},
	{"HostSNIRegexp", HostSNIRegexp, V2, TCP, 1, 0, false, buildHostTemplate},
	{"ClientIP", ClientIP, V2, TCP, 1, 0, false, buildClientIP},
	{"ALPN", ALPN, V2, TCP, 1, 0, false, buildALPN},
}

// lookup finds the row for a name in one of its four spellings: as in the table, lower-case, upper-case, or lower-case
// with a capital first letter.
func lookup(name string, syntax Syntax, layer Layer) *spec {
	for i := range specs {
		s := &specs[i]
		if s.syntax != syntax || s.layer != layer || !strings.EqualFold(s.name, name) {
			continue
		}
		low := strings.ToLower(s.name)
		if name == s.name || name == low || name == strings.ToUpper(s.name) || name == strings.ToUpper(low[:1])+low[1:] {
			return s
		}
	}
	return nil
}

// matcher checks and compiles one call. It returns a matcher in any case; with an error the tree is thrown away.
func (p *parser) matcher(name string, offset int, args []Arg) *Matcher {
	s := lookup(name, p.syntax, p.layer)
	if s == nil {
		p.report(offset, diag.Error, CodeMatcher, fmt.Sprintf("unknown matcher %q", clip(name)), p.unknownHint(name, args))
		return &Matcher{Name: name, Args: args}
	}
	m := &Matcher{Kind: s.kind, Name: s.name, Args: args}
	for _, a := range args {
		if a.Value == "" {
			p.report(a.Offset, diag.Error, CodeValue, fmt.Sprintf("an argument of %s is empty", s.name), "")
			return m
		}
	}
	switch n := len(args); {
	case n < s.least, s.most > 0 && n > s.most && !s.list:
		p.report(offset, diag.Error, CodeArity, fmt.Sprintf("%s takes %s, found %d", s.name, s.arity(), n), p.arityHint(s, args))
	case (s.name == "Headers" || s.name == "HeadersRegexp") && n%2 != 0:
		p.report(offset, diag.Error, CodeArity, fmt.Sprintf("%s takes pairs of name and value, found %d arguments", s.name, n), "")
	default:
		s.build(p, m)
	}
	return m
}

func (s *spec) arity() string {
	plural := func(n int) string {
		if n == 1 {
			return "1 argument"
		}
		return fmt.Sprintf("%d arguments", n)
	}
	switch {
	case s.most == 0:
		return "at least " + plural(s.least)
	case s.least == s.most:
		return "exactly " + plural(s.least)
	default:
		return fmt.Sprintf("%d or %s", s.least, plural(s.most))
	}
}

// unknownHint says what a name that the dialect does not have was probably meant to be.
func (p *parser) unknownHint(name string, args []Arg) string {
	other := V2
	if p.syntax == V2 {
		other = V3
	}
	if s := lookup(name, other, p.layer); s != nil {
		if p.syntax == V2 {
			return fmt.Sprintf("%s belongs to the v3 syntax: remove ruleSyntax", s.name)
		}
		if w := v3Pairs(s, args); w != "" {
			return "under v3 write " + w
		}
	}
	layer := TCP
	if p.layer == TCP {
		layer = HTTP
	}
	if s := lookup(name, p.syntax, layer); s != nil {
		if s.kind == Host && len(args) > 0 {
			return fmt.Sprintf("%s is for HTTP routers: did you mean %s?", s.name, call("HostSNI", values(args)...))
		}
		if s.kind == HostSNI && len(args) > 0 {
			return fmt.Sprintf("%s is for TCP routers: did you mean %s?", s.name, call("Host", values(args)...))
		}
		return fmt.Sprintf("%s is for %s routers", s.name, layer)
	}
	return diag.DidYouMean(name, p.names())
}

func (p *parser) arityHint(s *spec, args []Arg) string {
	if p.syntax == V3 && len(args) > 1 {
		if v2 := lookup(s.name, V2, p.layer); v2 != nil && v2.most == 0 && s.kind != Query {
			return "under v3 write " + p.alternatives(s.name, args)
		}
	}
	if len(args) == 0 {
		return ""
	}
	if s.kind == Header || s.kind == HeaderRegexp {
		return fmt.Sprintf("write %s(`Name`, `value`)", s.name)
	}
	return ""
}

// names lists the matchers of the dialect and layer at hand.
func (p *parser) names() []string {
	var out []string
	for _, s := range specs {
		if s.syntax == p.syntax && s.layer == p.layer {
			out = append(out, s.name)
		}
	}
	return out
}

func values(args []Arg) []string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = a.Value
	}
	return out
}

func (p *parser) bad(a Arg, code, format string, args ...any) {
	p.report(a.Offset, diag.Error, code, fmt.Sprintf(format, args...), "")
}

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0
}

const hintPunycode = "write the name in its ASCII form (xn--...)"

func buildHost(p *parser, m *Matcher) {
	for _, a := range m.Args {
		if !ascii(a.Value) {
			p.report(a.Offset, diag.Error, CodeValue, fmt.Sprintf("host %q is not ASCII", clip(a.Value)), hintPunycode)
			continue
		}
		p.adviseTemplate(m, a)
		m.Values = append(m.Values, hostValue(a, p.syntax == V3))
	}
}

// hostValue compiles a host or server name: lower-case, one final dot dropped, and where wildcards is set "*" and "*."
// in front mean what they say.
func hostValue(a Arg, wildcards bool) Value {
	name := strings.TrimSuffix(strings.ToLower(a.Value), ".")
	v := Value{Form: Exact, Text: name, Offset: a.Offset}
	if wildcards && a.Value == "*" {
		v.Form, v.Text = Any, ""
	} else if after, ok := strings.CutPrefix(name, "*."); ok && wildcards && after != "" && !strings.Contains(after, "*") {
		v.Form, v.Text = Wildcard, after
	}
	return v
}

func buildHostRegexp(p *parser, m *Matcher) {
	for _, a := range m.Args {
		if !ascii(a.Value) {
			p.report(a.Offset, diag.Error, CodeValue, fmt.Sprintf("%s is not ASCII", quote(clip(a.Value))), hintPunycode)
			continue
		}
		p.adviseTemplate(m, a)
		p.addRegexp(m, a, "", a.Value)
	}
}

func buildRegexp(p *parser, m *Matcher) {
	for _, a := range m.Args {
		p.adviseTemplate(m, a)
		p.addRegexp(m, a, "", a.Value)
	}
}

func buildPath(p *parser, m *Matcher) {
	for _, a := range m.Args {
		if p.slash(a) {
			p.adviseTemplate(m, a)
			m.Values = append(m.Values, pathValue(m, a))
		}
	}
}

func pathValue(m *Matcher, a Arg) Value {
	v := Value{Form: Exact, Text: a.Value, Offset: a.Offset}
	if m.Kind == PathPrefix {
		v.Form = Prefix
	}
	return v
}

// slash reports whether a path begins with a slash, and says so where it does not.
func (p *parser) slash(a Arg) bool {
	if a.Value[0] == '/' {
		return true
	}
	p.report(a.Offset, diag.Error, CodeValue, fmt.Sprintf("path %s does not begin with a slash", quote(clip(a.Value))),
		"did you mean "+quote("/"+clip(a.Value))+"?")
	return false
}

func buildMethod(p *parser, m *Matcher) {
	for _, a := range m.Args {
		m.Values = append(m.Values, Value{Text: strings.ToUpper(a.Value), Offset: a.Offset})
	}
}

// buildHeader takes one pair (v3), or pairs that must all hold (v2).
func buildHeader(p *parser, m *Matcher) {
	m.All = true
	for i := 0; i+1 < len(m.Args); i += 2 {
		key, a := textproto.CanonicalMIMEHeaderKey(m.Args[i].Value), m.Args[i+1]
		if m.Kind == HeaderRegexp {
			p.addRegexp(m, a, key, a.Value)
		} else {
			m.Values = append(m.Values, Value{Key: key, Text: a.Value, Offset: a.Offset})
		}
	}
}

func buildQuery(p *parser, m *Matcher) {
	key := m.Args[0]
	switch {
	case len(m.Args) == 1:
		m.Values = append(m.Values, Value{Form: Empty, Key: key.Value, Offset: key.Offset})
	case m.Kind == QueryRegexp:
		p.addRegexp(m, m.Args[1], key.Value, m.Args[1].Value)
	default:
		m.Values = append(m.Values, Value{Key: key.Value, Text: m.Args[1].Value, Offset: key.Offset})
	}
}

func buildClientIP(p *parser, m *Matcher) {
	for _, a := range m.Args {
		net, ok := parseNet(a.Value)
		if !ok {
			p.bad(a, CodeValue, "%s is neither an IP address nor a CIDR range", quote(clip(a.Value)))
			continue
		}
		m.Values = append(m.Values, Value{Form: Net, Net: net, Offset: a.Offset})
	}
}

// parseNet reads an address or range. Host bits are dropped and IPv4 in IPv6 form becomes IPv4.
func parseNet(s string) (netip.Prefix, bool) {
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, false
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	net, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	if net.Addr().Is4In6() && net.Bits() >= 96 {
		net = netip.PrefixFrom(net.Addr().Unmap(), net.Bits()-96)
	}
	return net.Masked(), true
}

func buildHostSNI(p *parser, m *Matcher) {
	for _, a := range m.Args {
		v := hostValue(a, true)
		switch {
		case v.Form == Any:
		case !ascii(a.Value):
			p.report(a.Offset, diag.Error, CodeValue, fmt.Sprintf("server name %q is not ASCII", clip(a.Value)), hintPunycode)
			continue
		case p.syntax == V2 && strings.HasPrefix(a.Value, "*."):
			p.report(a.Offset, diag.Error, CodeValue, fmt.Sprintf("the v2 syntax has no wildcard server names such as %s", quote(clip(a.Value))),
				fmt.Sprintf("write HostSNIRegexp(%s), or the v3 syntax", quote("{label:[^.]+}"+clip(a.Value[1:]))))
			continue
		case strings.IndexFunc(strings.TrimPrefix(a.Value, "*."), notSNI) >= 0, v.Text == "", v.Text == "*":
			hint := ""
			if templated(a.Value) {
				hint = "under v3 write " + p.templateV3("HostSNIRegexp", a.Value, true, "[^.]+")
			}
			p.report(a.Offset, diag.Error, CodeValue, fmt.Sprintf("%s is not a server name", quote(clip(a.Value))), hint)
			continue
		}
		m.Values = append(m.Values, v)
	}
}

func notSNI(r rune) bool {
	return !(r < 0x80 && letter(byte(r)) || '0' <= r && r <= '9' || r == '.' || r == '-' || r == ':')
}

func buildALPN(p *parser, m *Matcher) {
	for _, a := range m.Args {
		if a.Value == "acme-tls/1" {
			p.report(a.Offset, diag.Error, CodeValue, "ALPN cannot match acme-tls/1",
				"challenges go to the owner of the name: HostSNI is enough")
			continue
		}
		m.Values = append(m.Values, Value{Text: a.Value, Offset: a.Offset})
	}
}

// call writes a matcher.
func call(name string, args ...string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = quote(a)
	}
	return name + "(" + strings.Join(quoted, ", ") + ")"
}

// alternatives writes a list of arguments as alternatives of one argument each.
func (p *parser) alternatives(name string, args []Arg) string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = call(name, a.Value)
	}
	return strings.Join(out, " || ")
}

// v3Pairs writes a matcher that only v2 has in v3 words; "" where the arguments do not fit.
func v3Pairs(s *spec, args []Arg) string {
	var out []string
	sep := " && "
	switch s.name {
	case "HostHeader":
		sep = " || "
		for _, a := range args {
			out = append(out, call("Host", a.Value))
		}
	case "Headers", "HeadersRegexp":
		name := strings.Replace(s.name, "Headers", "Header", 1)
		for pair := range slices.Chunk(args, 2) {
			if len(pair) == 2 {
				out = append(out, call(name, pair[0].Value, pair[1].Value))
			}
		}
	}
	return strings.Join(out, sep)
}

// adviseV3 warns about lists of values under v3, with the text to write instead.
func (p *parser) adviseV3(n *Node, inner bool) {
	for _, k := range n.Kids {
		p.adviseV3(k, n.Op != Or)
	}
	if n.Op != Match || p.syntax == V2 || len(n.Matcher.Args) < 2 {
		return
	}
	if s := lookup(n.Matcher.Name, V3, p.layer); s == nil || !s.list {
		return
	}
	text := p.alternatives(n.Matcher.Name, n.Matcher.Args)
	if inner {
		text = "(" + text + ")"
	}
	p.report(n.Offset, diag.Warning, CodeV2Form,
		fmt.Sprintf("%s with %d values is the v2 syntax; it is read as alternatives", n.Matcher.Name, len(n.Matcher.Args)),
		"write "+clipHint(text))
}

// clipHint keeps hints readable; a rule with hundreds of hosts does not need all of them repeated.
func clipHint(s string) string {
	if len(s) <= 400 {
		return s
	}
	return s[:strings.LastIndex(s[:400], " || ")+1] + "|| ..."
}
