package rule

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sluice/internal/core/diag"
)

func mustParse(t *testing.T, text string, syntax Syntax, layer Layer) *Rule {
	t.Helper()
	r, problems := Parse(text, syntax, layer)
	if r == nil {
		t.Fatalf("%s: %v", text, problems)
	}
	return r
}

func TestParseAccepts(t *testing.T) {
	for _, c := range []struct {
		name   string
		syntax Syntax
		layer  Layer
		text   string
		want   string
	}{
		{"plain", V3, HTTP, "Host(`a.test`)", "Host(`a.test`)"},
		{"and binds tighter than or", V3, HTTP, "Host(`a`)||Host(`b`)&&Path(`/c`)", "Host(`a`) || Host(`b`) && Path(`/c`)"},
		{"parentheses", V3, HTTP, "(Host(`a`)||Host(`b`))&&Path(`/c`)", "(Host(`a`) || Host(`b`)) && Path(`/c`)"},
		{"needless parentheses", V3, HTTP, "((Host(`a`)))", "Host(`a`)"},
		{"nested or keeps its group", V3, HTTP, "(Host(`a`)||Host(`b`))||Host(`c`)", "(Host(`a`) || Host(`b`)) || Host(`c`)"},
		{"negation of a group", V3, HTTP, "!(Host(`a`) && Path(`/`))", "!(Host(`a`) && Path(`/`))"},
		{"double negation", V3, HTTP, "!!Host(`a`)", "!!Host(`a`)"},
		{"double quotes with escapes", V3, HTTP, `Host("\x61.test")`, "Host(`a.test`)"},
		{"a back-quote in a text", V3, HTTP, "Path(\"/a`b\")", "Path(\"/a`b\")"},
		{"carriage return in a raw text", V3, HTTP, "Path(`/a\r\nb`)", "Path(\"/a\\nb\")"},
		{"trailing comma", V3, HTTP, "Host(`a`,)", "Host(`a`)"},
		{"line comment", V3, HTTP, "Host(`a`) // the front page", "Host(`a`)"},
		{"block comment", V3, HTTP, "Host( /* here */ `a`)", "Host(`a`)"},
		{"newline after operator", V3, HTTP, "Host(`a`) &&\n Path(`/`)", "Host(`a`) && Path(`/`)"},
		{"newline before operator", V3, HTTP, "Host(`a`)\n && Path(`/`)\n", "Host(`a`) && Path(`/`)"},
		{"lower-case name", V3, HTTP, "hostregexp(`a`)", "HostRegexp(`a`)"},
		{"upper-case name", V3, HTTP, "PATHPREFIX(`/`)", "PathPrefix(`/`)"},
		{"title-case name", V3, HTTP, "Pathprefix(`/`)", "PathPrefix(`/`)"},
		{"client address", V3, HTTP, "ClientIP(`10.0.0.0/8`)", "ClientIP(`10.0.0.0/8`)"},
		{"header pair", V3, HTTP, "Header(`X-A`, `b`)", "Header(`X-A`, `b`)"},
		{"query alone", V3, HTTP, "Query(`a`) || Query(`a`, `b`)", "Query(`a`) || Query(`a`, `b`)"},
		{"v2 lists", V2, HTTP, "Host(`a`,`b`) && HostHeader(`c`) && Method(`get`,`put`)", "Host(`a`, `b`) && HostHeader(`c`) && Method(`get`, `put`)"},
		{"v2 templates", V2, HTTP, "HostRegexp(`{s:[a-z]{2}}.test`) && Path(`/{id}`)", "HostRegexp(`{s:[a-z]{2}}.test`) && Path(`/{id}`)"},
		{"v2 headers", V2, HTTP, "Headers(`a`,`b`,`c`,`d`)", "Headers(`a`, `b`, `c`, `d`)"},
		{"v2 query", V2, HTTP, "Query(`a=b`, `c`, `d`)", "Query(`a=b`, `c`, `d`)"},
		{"tcp", V3, TCP, "HostSNI(`*.a.test`) && !ALPN(`h2`)", "HostSNI(`*.a.test`) && !ALPN(`h2`)"},
		{"v2 tcp", V2, TCP, "HostSNI(`a.test`, `*`)", "HostSNI(`a.test`, `*`)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, problems := Parse(c.text, c.syntax, c.layer)
			if r == nil || len(problems) > 0 {
				t.Fatalf("problems: %+v", problems)
			}
			if got := r.String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if r.DefaultPriority() != len(c.text) {
				t.Errorf("priority %d, want %d", r.DefaultPriority(), len(c.text))
			}
		})
	}
}

func TestParseProblems(t *testing.T) {
	deep := strings.Repeat("(", MaxDepth+1) + "Host(`a`)" + strings.Repeat(")", MaxDepth+1)
	for _, c := range []struct {
		name   string
		syntax Syntax
		layer  Layer
		text   string
		want   string // offset severity code message (hint); the texts may be cut short
	}{
		{"empty", V3, HTTP, "", "0 error RULE-EMPTY the rule is empty"},
		{"only a comment", V3, HTTP, " // x", "0 error RULE-EMPTY"},
		{"misspelt", V3, HTTP, "Hosts(`a`)", "0 error RULE-MATCHER unknown matcher \"Hosts\" (did you mean \"Host\"?)"},
		{"mixed case", V3, HTTP, "hOst(`a`)", "0 error RULE-MATCHER unknown matcher \"hOst\" (did you mean \"Host\"?)"},
		{"http name in tcp", V3, TCP, "Host(`a`)", "0 error RULE-MATCHER unknown matcher \"Host\" (Host is for HTTP routers: did you mean HostSNI(`a`)?)"},
		{"tcp name in http", V3, HTTP, "ALPN(`h2`)", "0 error RULE-MATCHER unknown matcher \"ALPN\" (ALPN is for TCP routers)"},
		{"v2 name under v3", V3, HTTP, "Headers(`a`, `b`)", "0 error RULE-MATCHER unknown matcher \"Headers\" (under v3 write Header(`a`, `b`))"},
		{"v3 name under v2", V2, HTTP, "PathRegexp(`a`)", "0 error RULE-MATCHER unknown matcher \"PathRegexp\" (PathRegexp belongs to the v3 syntax: remove ruleSyntax)"},
		{"no arguments", V3, HTTP, "Host()", "0 error RULE-ARITY Host takes exactly 1 argument, found 0"},
		{"one of two", V3, HTTP, "Header(`a`)", "0 error RULE-ARITY Header takes exactly 2 arguments, found 1 (write Header(`Name`, `value`))"},
		{"three of two", V3, HTTP, "Query(`a`,`b`,`c`)", "0 error RULE-ARITY Query takes 1 or 2 arguments, found 3"},
		{"list of regexps", V3, HTTP, "HostRegexp(`a`,`b`)", "0 error RULE-ARITY HostRegexp takes exactly 1 argument, found 2 (under v3 write HostRegexp(`a`) || HostRegexp(`b`))"},
		{"odd pairs", V2, HTTP, "Headers(`a`,`b`,`c`)", "0 error RULE-ARITY Headers takes pairs"},
		{"lone v2 query", V2, HTTP, "Query(`a`)", "6 error RULE-ARITY Query takes pairs of name and value (write Query(`name=value`))"},
		{"empty argument", V3, HTTP, "Header(`a`, ``)", "12 error RULE-VALUE an argument of Header is empty"},
		{"list under v3", V3, HTTP, "Host(`a`,`b`)", "0 warning RULE-V2-FORM Host with 2 values is the v2 syntax; it is read as alternatives (write Host(`a`) || Host(`b`))"},
		{"list under v3 in a conjunction", V3, HTTP, "Path(`/`) && Host(`a`,`b`)", "13 warning RULE-V2-FORM Host with 2 values is the v2 syntax; it is read as alternatives (write (Host(`a`) || Host(`b`)))"},
		{"list of server names", V3, TCP, "HostSNI(`a`,`b`)", "0 warning RULE-V2-FORM"},
		{"template path under v3", V3, HTTP, "Path(`/a/{id:[0-9]+}`)", "5 warning RULE-TEMPLATE templates such as `/a/{id:[0-9]+}` belong to the v2 syntax; here the braces are taken literally (write PathRegexp(`^/a/[0-9]+$`))"},
		{"template prefix under v3", V3, HTTP, "PathPrefix(`/{id}`)", "11 warning RULE-TEMPLATE templates such as `/{id}` belong to the v2 syntax; here the braces are taken literally (write PathRegexp(`^/[^/]+`))"},
		{"template host under v3", V3, HTTP, "HostRegexp(`{s:a|b}.x.test`)", "11 warning RULE-TEMPLATE templates such as `{s:a|b}.x.test` belong to the v2 syntax; here the braces are taken literally (write HostRegexp(`^(?:a|b)\\.x\\.test$`))"},
		{"template server name under v3", V3, TCP, "HostSNI(`{s}.x`)", "8 error RULE-VALUE `{s}.x` is not a server name (under v3 write HostSNIRegexp(`^[^.]+\\.x$`))"},
		{"repetition is no template", V3, HTTP, "PathRegexp(`^/[a-z]{2,3}\\p{Greek}$`)", ""},
		{"path without slash", V3, HTTP, "Path(`a`)", "5 error RULE-VALUE path `a` does not begin with a slash (did you mean `/a`?)"},
		{"host not ASCII", V3, HTTP, "Host(`bücher.test`)", "5 error RULE-VALUE host \"bücher.test\" is not ASCII (write the name in its ASCII form"},
		{"bad regexp", V3, HTTP, "PathRegexp(`(`)", "11 error RULE-REGEXP PathRegexp: invalid regular expression `(`: missing closing ): `(`"},
		{"large regexp", V3, HTTP, "PathRegexp(`(abcdefghijklmnopqrstuvwxyz){900}`)", "11 error RULE-LIMIT PathRegexp: the regular expression is too large"},
		{"bad address", V3, HTTP, "ClientIP(`10.0.0.0/33`)", "9 error RULE-VALUE `10.0.0.0/33` is neither an IP address nor a CIDR range"},
		{"open template", V2, HTTP, "Path(`/{a`)", "5 error RULE-TEMPLATE template `/{a`: an opened brace is not closed"},
		{"template that leaves its group", V2, HTTP, "Path(`/{a:x)|(y}`)", "5 error RULE-REGEXP"},
		{"wildcard server name in v2", V2, TCP, "HostSNI(`*.a`)", "8 error RULE-VALUE the v2 syntax has no wildcard server names such as `*.a` (write HostSNIRegexp(`{label:[^.]+}.a`), or the v3 syntax)"},
		{"challenge protocol", V3, TCP, "ALPN(`acme-tls/1`)", "5 error RULE-VALUE ALPN cannot match acme-tls/1"},
		{"not a server name", V3, TCP, "HostSNI(`a b`)", "8 error RULE-VALUE `a b` is not a server name"},
		{"single quotes", V3, HTTP, "Host('a')", "5 error RULE-SYNTAX unexpected character '\\'' (put texts in back-quotes (`) or double quotes (\"))"},
		{"bare word", V3, HTTP, "Host(a)", "5 error RULE-SYNTAX expected a text in back-quotes, found \"a\""},
		{"number", V3, HTTP, "Host(1)", "5 error RULE-SYNTAX a matcher's argument must be a text"},
		{"word operator", V3, HTTP, "Host(`a`) and Path(`/`)", "10 error RULE-SYNTAX expected an operator (&& or ||), found \"and\""},
		{"single ampersand", V3, HTTP, "Host(`a`) & Path(`/`)", "10 error RULE-SYNTAX unexpected character '&' (did you mean \"&&\"?)"},
		{"word not", V3, HTTP, "not Host(`a`)", "0 error RULE-SYNTAX \"not\" has no arguments (did you mean \"!\"?)"},
		{"comparison", V3, HTTP, "Host(`a`) == true", "10 error RULE-SYNTAX unexpected character '='"},
		{"unclosed", V3, HTTP, "(Host(`a`)", "10 error RULE-SYNTAX expected an operator or the parenthesis that closes the one at offset 0, found the end of the rule"},
		{"unclosed text", V3, HTTP, "Host(`a)", "5 error RULE-SYNTAX a text in back-quotes does not end"},
		{"newline in double quotes", V3, HTTP, "Host(\"a\n\")", "5 error RULE-SYNTAX a text in double quotes does not end"},
		{"bad escape", V3, HTTP, `Host("\d")`, "5 error RULE-SYNTAX a double-quoted text has an escape that Go does not know (use back-quotes"},
		{"two commas", V3, HTTP, "Host(`a`,,)", "9 error RULE-SYNTAX expected a text in back-quotes, found \",\""},
		{"dangling operator", V3, HTTP, "Host(`a`) &&", "12 error RULE-SYNTAX expected a matcher such as Host(`example.com`), found the end of the rule"},
		{"too deep", V3, HTTP, deep, "200 error RULE-LIMIT"},
		{"not UTF-8", V3, HTTP, "Path(`/\xff`)", "7 error RULE-SYNTAX the rule is not valid UTF-8"},
		{"too long", V3, HTTP, strings.Repeat(" ", MaxText+1), "0 error RULE-LIMIT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, problems := Parse(c.text, c.syntax, c.layer)
			if c.want == "" {
				if len(problems) > 0 {
					t.Fatalf("got %v, want none", problems)
				}
				return
			}
			if len(problems) != 1 {
				t.Fatalf("got %d problems: %v", len(problems), problems)
			}
			if got := line(problems[0]); !strings.HasPrefix(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if (r == nil) != (problems[0].Severity == diag.Error) {
				t.Errorf("rule %v with severity %v", r, problems[0].Severity)
			}
		})
	}
}

func line(p Problem) string {
	s := fmt.Sprintf("%d %s %s %s", p.Offset, p.Severity, p.Code, p.Message)
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}

func TestParseReportsEveryMatcher(t *testing.T) {
	_, problems := Parse("Hosts(`a`) && Path(`x`) || ClientIP(`y`)", V3, HTTP)
	var at []int
	for _, p := range problems {
		at = append(at, p.Offset)
	}
	if !slices.Equal(at, []int{0, 19, 36}) {
		t.Errorf("problems at %v: %v", at, problems)
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		syntax  Syntax
		layer   Layer
		text    string
		hosts   string
		domains string
	}{
		{V3, HTTP, "Host(`A.test.`) && !Host(`b`) || Host(`a.test`)", "[{a.test 5}]", "[a.test]"},
		{V3, HTTP, "!(Host(`a`) || !Host(`b`))", "[{b 21}]", "[b]"},
		{V3, HTTP, "Host(`*`) || Host(`*.x`) || Host(`*.*.x`)", "[{* 5} {*.x 18} {*.*.x 33}]", "[*.x]"},
		{V3, HTTP, "HostRegexp(`a`)", "[]", "[]"},
		{V2, HTTP, "Host(`a`,`b`) && HostHeader(`c`)", "[{a 5} {b 9}]", "[a b]"},
		{V3, TCP, "HostSNI(`A`) && !HostSNI(`b`)", "[{a 8}]", "[a]"},
	} {
		r := mustParse(t, c.text, c.syntax, c.layer)
		if got := fmt.Sprint(r.Hosts()); got != c.hosts {
			t.Errorf("%s: hosts %s, want %s", c.text, got, c.hosts)
		}
		if got := fmt.Sprint(r.Domains()); got != c.domains {
			t.Errorf("%s: domains %s, want %s", c.text, got, c.domains)
		}
	}
}

func TestCatchAllSNI(t *testing.T) {
	for text, want := range map[string]int{
		"HostSNI(`*`)": -1, "hostsni(\"*\")": -1, "(HostSNI(`*`))": -1, "!HostSNI(`*`)": -1,
		"HostSNI(`*`) && ALPN(`h2`)": 26, "HostSNI(`*`) || HostSNI(`*`)": 28, "HostSNI(`a`)": 12,
	} {
		if got := mustParse(t, text, V3, TCP).DefaultPriority(); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}

func TestCompiledValues(t *testing.T) {
	for _, c := range []struct {
		syntax Syntax
		layer  Layer
		text   string
		want   string
	}{
		{V3, HTTP, "Host(`A.Test.`)", "{Exact a.test}"},
		{V3, HTTP, "Host(`*.Test`)", "{Wildcard test}"},
		{V3, HTTP, "Host(`*`)", "{Any }"},
		{V2, HTTP, "Host(`*`)", "{Exact *}"},
		{V3, HTTP, "Method(`get`)", "{Exact GET}"},
		{V3, HTTP, "Header(`x-a`, `V`)", "{Exact X-A=V}"},
		{V3, HTTP, "ClientIP(`::ffff:10.1.2.3/104`)", "{Net 10.0.0.0/8}"},
		{V3, HTTP, "ClientIP(`10.1.2.3`)", "{Net 10.1.2.3/32}"},
		{V3, HTTP, "PathRegexp(`^/api/v[0-9]`)", "{Regexp ^/api/v[0-9] from /api/v}"},
		{V3, HTTP, "PathRegexp(`(?i)^/api`)", "{Regexp (?i)^/api}"},
		{V3, HTTP, "PathRegexp(`^/a|^/b`)", "{Regexp ^/a|^/b}"},
		{V2, HTTP, "PathPrefix(`/a/{b}/c.d`)", "{Regexp ^/a/(?:[^/]+)/c\\.d from /a/}"},
		{V2, HTTP, "HostRegexp(`{a:x|y}.Test`)", "{Regexp (?i)^(?:x|y)\\.Test$}"},
		{V2, HTTP, "HostRegexp(`plain(`)", "{Regexp (?i)^plain\\($}"},
		{V2, HTTP, "Query(`k=`)", "{First k=^}"},
		{V2, HTTP, "Query(`k={x:[0-9]+}`)", "{First k=^(?:[0-9]+)$}"},
	} {
		r := mustParse(t, c.text, c.syntax, c.layer)
		v := r.Root.Matcher.Values[0]
		form := [...]string{"Exact", "Prefix", "Wildcard", "Any", "Regexp", "Empty", "First", "Net"}[v.Form]
		text := v.Text
		if v.Re != nil {
			text = v.Re.String()
		}
		if v.Form == Net {
			text = v.Net.String()
		}
		if v.Key != "" {
			text = v.Key + "=" + text
		}
		if v.Literal != "" && v.Form == Regexp {
			text += " from " + v.Literal
		}
		if got := "{" + form + " " + text + "}"; got != c.want {
			t.Errorf("%s: got %s, want %s", c.text, got, c.want)
		}
	}
}

func TestLint(t *testing.T) {
	for _, c := range []struct {
		layer Layer
		text  string
		want  string
	}{
		{HTTP, "Host(`www.vm.mydomain.com`) && Path(`/.well-known/acme-challenge/`) && Method(`GET`)",
			"36 warning PATH-NEVER-TOKEN Path(`/.well-known/acme-challenge/`) matches only that exact path and never a token (did you mean PathPrefix?)"},
		{HTTP, "Host(`www.vm.mydomain.com`) && PathPrefix(`/.well-known/acme-challenge/`) && Method(`GET`)", ""},
		{HTTP, "Host(`a.test:8080`)", "5 warning HOST-PORT Host(`a.test:8080`) never matches: names are compared without port (did you mean Host(`a.test`)?)"},
		{HTTP, "Host(`::1`)", ""},
		{HTTP, "Host(`[::1]`)", "5 warning HOST-FORM"},
		{HTTP, "Host(`a*.x`)", "5 warning HOST-FORM"},
		{HTTP, "Host(`*.*.x`)", "5 warning HOST-FORM"},
		{HTTP, "Host(`https://a.test`)", "5 warning HOST-FORM"},
		{HTTP, "Host(`a.test,b.test`)", "5 warning HOST-FORM"},
		{HTTP, "HostRegexp(`^[A-Z]+$`)", "11 warning REGEXP-UPPER"},
		{HTTP, "HostRegexp(`(?i)^A|b`)", ""},
		{HTTP, "HostRegexp(`^[A-Za-z]+$`)", ""},
		{HTTP, "Path(`/a?b=c`)", "5 warning PATH-QUERY"},
		{HTTP, "Path(`/a%20b`)", "5 warning PATH-ESCAPE Path(`/a%20b`) never matches: it is compared with the decoded path (did you mean Path(`/a b`)?)"},
		{HTTP, "Path(`/a%2fb`)", "5 warning PATH-ESCAPE Path(`/a%2fb`) never matches: it is compared with the decoded path (did you mean Path(`/a%2Fb`)?)"},
		{HTTP, "Path(`/a%2Fb`)", ""},
		{HTTP, "PathPrefix(`/admin`)", "11 info PREFIX-BOUNDARY PathPrefix(`/admin`) also matches `/adminmore` (for whole segments write Path(`/admin`) || PathPrefix(`/admin/`))"},
		{HTTP, "PathPrefix(`/`)", ""},
		{HTTP, "Query(`a=b`)", "6 warning QUERY-FORM Query(`a=b`) looks for a parameter of the name `a=b` (write Query(`a`, `b`))"},
		{HTTP, "Query(`a`)", "6 info QUERY-FORM"},
		{HTTP, "Header(`host`, `a`)", "15 warning HEADER-HOST"},
		{HTTP, "ClientIP(`10.1.2.3/8`)", "9 info CLIENTIP-BITS `10.1.2.3/8` means the whole range 10.0.0.0/8"},
		{HTTP, "Host(`a`) && Host(`b`)", "13 warning RULE-NEVER Host(`a`) and Host(`b`) never hold together (did you mean \"||\"?)"},
		{HTTP, "Host(`a`) && Host(`*.a`)", ""},
		{TCP, "HostSNI(`a.test:443`)", "8 warning HOST-PORT"},
		{TCP, "HostSNI(`*`)", ""},
	} {
		var got string
		for _, p := range Lint(mustParse(t, c.text, V3, c.layer)) {
			got += line(p) + "\n"
		}
		got = strings.TrimSpace(got)
		if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) || strings.Contains(got, "\n") {
			t.Errorf("%s:\ngot  %s\nwant %s", c.text, got, c.want)
		}
	}
}

// FuzzParse checks that no text panics, that problems point into the text, and that printing and reading again gives
// the same tree and the same tests.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "Host(`a`)", "Host(`a`, `b`) && !PathPrefix(`/x`)", "HostSNI(`*`)", "!(ALPN(`h2`) || ClientIP(`::1/64`))",
		"Query(`a=b`)", "Headers(`a`,`b`)", "HostRegexp(`{a:[a-z]{2}}.x`)", "Path(`/{id:[0-9]+}`)", "Host(\"\\x61\")",
		"Host(`a`) // c", "/* c */ Host(`a`)", "PathRegexp(`((a{9}){9}){9}`)", "!!((Host(`*.a.b`)))", "Query(`a`,`b`)||Query(`a`)",
		"HostSNIRegexp(`^.+\\.x$`)", "Host('a')", "Method(`get`,)", "Host(`a`)\n&& Path(`/`)",
	} {
		f.Add(s, false, false)
		f.Add(s, true, false)
		f.Add(s, false, true)
		f.Add(s, true, true)
	}
	f.Fuzz(func(t *testing.T, text string, v2, tcp bool) {
		syntax, layer := V3, HTTP
		if v2 {
			syntax = V2
		}
		if tcp {
			layer = TCP
		}
		r, problems := Parse(text, syntax, layer)
		for _, p := range problems {
			if p.Offset < 0 || p.Offset > len(text) || p.Code == "" || p.Message == "" {
				t.Fatalf("bad problem %+v", p)
			}
		}
		if r == nil {
			if len(problems) == 0 {
				t.Fatal("refused without a reason")
			}
			return
		}
		for _, p := range Lint(r) {
			if p.Offset < 0 || p.Offset > len(text) || p.Severity == diag.Error {
				t.Fatalf("bad finding %+v", p)
			}
		}
		r.Domains()
		again, problems := Parse(r.String(), syntax, layer)
		if again == nil {
			t.Fatalf("%q printed as %q: %v", text, r.String(), problems)
		}
		if got, want := dump(again.Root), dump(r.Root); got != want {
			t.Fatalf("%q printed as %q: tree %s, want %s", text, r.String(), got, want)
		}
	})
}

// dump writes a tree without offsets.
func dump(n *Node) string {
	if n.Op == Match {
		s := fmt.Sprint(n.Matcher.Kind, n.Matcher.Name, n.Matcher.All)
		for _, v := range n.Matcher.Values {
			s += fmt.Sprintf("[%d %q %q %v %q %v]", v.Form, v.Key, v.Text, v.Re, v.Literal, v.Net)
		}
		return s
	}
	s := fmt.Sprint(n.Op, "(")
	for _, k := range n.Kids {
		s += dump(k) + ";"
	}
	return s + ")"
}
