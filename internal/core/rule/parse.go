package rule

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"sluice/internal/core/diag"
)

// parser is a recursive descent over: or = and {"||" and}; and = not {"&&" not}; not = "!" not | "(" or ")" | call.
type parser struct {
	lex    lexer
	text   string
	syntax Syntax
	layer  Layer

	depth    int
	patterns int // bytes of all regular expressions so far
	program  int // their instructions
	failed   bool
	problems []Problem
}

func (p *parser) parse() *Node {
	switch {
	case len(p.text) > MaxText:
		p.fail(0, CodeLimit, fmt.Sprintf("the rule is longer than %d bytes", MaxText), "")
		return nil
	case !utf8.ValidString(p.text):
		p.fail(invalidAt(p.text), CodeSyntax, "the rule is not valid UTF-8", "")
		return nil
	case strings.IndexByte(p.text, 0) >= 0:
		p.fail(strings.IndexByte(p.text, 0), CodeSyntax, "the rule holds a NUL character", "")
		return nil
	}
	p.lex.next()
	if p.lex.kind == tokEnd {
		p.fail(0, CodeEmpty, "the rule is empty", "")
		return nil
	}
	n := p.or()
	if !p.failed && p.lex.kind != tokEnd {
		p.unexpected("an operator (&& or ||)")
	}
	if p.failed {
		return nil
	}
	p.adviseV3(n, false)
	return n
}

func (p *parser) or() *Node {
	return p.chain(tokOr, Or, func() *Node { return p.chain(tokAnd, And, p.not) })
}

func (p *parser) chain(tok token, op Op, operand func() *Node) *Node {
	first := operand()
	if p.failed || p.lex.kind != tok {
		return first
	}
	n := &Node{Op: op, Offset: first.Offset, Kids: []*Node{first}}
	for p.lex.kind == tok {
		p.lex.next()
		k := operand()
		if p.failed {
			return nil
		}
		n.Kids = append(n.Kids, k)
	}
	return n
}

func (p *parser) not() *Node {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > MaxDepth {
		p.fail(p.lex.start, CodeLimit, fmt.Sprintf("parentheses and negations nest deeper than %d", MaxDepth), "")
		return nil
	}
	start := p.lex.start
	switch p.lex.kind {
	case tokNot:
		p.lex.next()
		k := p.not()
		if p.failed {
			return nil
		}
		return &Node{Op: Not, Offset: start, Kids: []*Node{k}}
	case tokOpen:
		p.lex.next()
		n := p.or()
		if p.failed {
			return nil
		}
		if p.lex.kind != tokClose {
			p.unexpected("an operator or the parenthesis that closes the one at offset " + fmt.Sprint(start))
			return nil
		}
		p.lex.next()
		return n
	case tokName:
		return p.call()
	default:
		p.unexpected("a matcher such as " + p.example())
		return nil
	}
}

// call reads Name(`arg`, ...). Wrong names and arguments are problems that do not stop the reading.
func (p *parser) call() *Node {
	name, start := p.lex.value, p.lex.start
	p.lex.next()
	if p.lex.kind != tokOpen {
		if p.lex.kind == tokBad {
			p.unexpected("")
		} else {
			hint := fmt.Sprintf("a matcher is written %s", p.example())
			switch strings.ToLower(name) {
			case "and":
				hint = `did you mean "&&"?`
			case "or":
				hint = `did you mean "||"?`
			case "not":
				hint = `did you mean "!"?`
			}
			p.fail(start, CodeSyntax, fmt.Sprintf("%q has no arguments", name), hint)
		}
		return nil
	}
	p.lex.next()
	var args []Arg
	for p.lex.kind != tokClose {
		if p.lex.kind != tokString {
			p.unexpected("a text in back-quotes")
			return nil
		}
		args = append(args, Arg{Value: p.lex.value, Offset: p.lex.start})
		p.lex.next()
		if p.lex.kind == tokComma {
			p.lex.next()
		} else if p.lex.kind != tokClose {
			p.unexpected(`"," or ")"`)
			return nil
		}
	}
	p.lex.next()
	return &Node{Op: Match, Offset: start, Matcher: p.matcher(name, start, args)}
}

func (p *parser) example() string {
	if p.layer == TCP {
		return "HostSNI(`example.com`)"
	}
	return "Host(`example.com`)"
}

// unexpected reports the current token where want should stand, and ends the reading.
func (p *parser) unexpected(want string) {
	if p.failed {
		return
	}
	l := &p.lex
	if l.kind == tokBad {
		p.fail(l.start, CodeSyntax, l.message, l.hint)
		return
	}
	p.fail(l.start, CodeSyntax, fmt.Sprintf("expected %s, found %s", want, clip(l.describe())), "")
}

// fail reports a problem after which nothing more can be read.
func (p *parser) fail(offset int, code, message, hint string) {
	p.failed = true
	p.report(offset, diag.Error, code, message, hint)
}

func (p *parser) report(offset int, s diag.Severity, code, message, hint string) {
	p.problems = append(p.problems, Problem{Offset: offset, Severity: s, Code: code, Message: message, Hint: hint})
}

func sortProblems(list []Problem) {
	slices.SortStableFunc(list, func(a, b Problem) int { return cmp.Compare(a.Offset, b.Offset) })
}

func invalidAt(s string) int {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return i
			}
		}
	}
	return 0
}

// clip shortens a text of the user's for a message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	cut := most
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}
