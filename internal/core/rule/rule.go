// Package rule reads the rule language of routers: which requests (HTTP) or connections (TCP) a router takes.
//
// A rule is a boolean expression of matchers: Host(`a.test`) && (PathPrefix(`/api`) || !Method(`GET`)). Parse turns its
// text into a tree whose matchers are checked and compiled (regular expressions, addresses, templates of the v2
// syntax), and collects every problem with its byte offset. The tree says what must hold; package route says how it is
// found among thousands, and has the only code that evaluates it.
//
// Everything here is pure, and a Rule is immutable after Parse: it may be shared by any number of goroutines.
package rule

import (
	"net/netip"
	"regexp"

	"sluice/internal/core/diag"
)

// Syntax is the dialect of a rule.
type Syntax uint8

// The two dialects. V3 is the default of routers and entry points.
const (
	V3 Syntax = iota
	V2
)

// SyntaxOf returns the dialect that a `ruleSyntax` value selects: only the exact text "v2" selects V2.
func SyntaxOf(s string) Syntax {
	if s == "v2" {
		return V2
	}
	return V3
}

// String returns "v3" or "v2".
func (s Syntax) String() string {
	if s == V2 {
		return "v2"
	}
	return "v3"
}

// Layer is what a rule is about.
type Layer uint8

// HTTP rules look at requests, TCP rules at connections.
const (
	HTTP Layer = iota
	TCP
)

// String returns "HTTP" or "TCP".
func (l Layer) String() string {
	if l == TCP {
		return "TCP"
	}
	return "HTTP"
}

// Limits of a rule. They are far above what people write and keep hostile labels from costing memory or stack.
const (
	// MaxText is the longest rule text in bytes.
	MaxText = 256 << 10
	// MaxDepth is how deep parentheses and negations may nest.
	MaxDepth = 200
	// MaxProgram bounds the compiled size of one regular expression, and of all in one rule, in instructions.
	MaxProgram = 20_000
)

// Rule is a parsed rule.
type Rule struct {
	// Text is the rule as written.
	Text   string
	Syntax Syntax
	Layer  Layer
	// Root is the top of the tree, never nil.
	Root *Node
}

// Op says what a node of the tree is.
type Op uint8

// Kinds of nodes.
const (
	// Match is a leaf with a Matcher.
	Match Op = iota
	// And holds when all Kids hold; evaluation stops at the first that does not.
	And
	// Or holds when one of Kids holds; evaluation stops at the first that does.
	Or
	// Not holds when its only kid does not.
	Not
)

// Node is a part of the tree. A chain of equal operators is one node with many kids, so depth comes only from
// parentheses and negations and is at most MaxDepth.
type Node struct {
	Op   Op
	Kids []*Node
	// Offset is the byte offset in the text of the operator's first operand, of `!`, or of the matcher's name.
	Offset  int
	Matcher *Matcher
}

// Kind is what a matcher looks at.
type Kind uint8

// Kinds of matchers. v2 names share the kind of their v3 counterpart; the differences are in Values.
const (
	Host Kind = iota
	HostRegexp
	Path
	PathPrefix
	PathRegexp
	Method
	Header
	HeaderRegexp
	Query
	QueryRegexp
	ClientIP
	HostSNI
	HostSNIRegexp
	ALPN
)

// Matcher is one call of the rule, checked and compiled.
type Matcher struct {
	Kind Kind
	// Name is the canonical spelling of the name that was written, such as PathPrefix, or HostHeader in v2.
	Name string
	// Args are the arguments as written, unquoted.
	Args []Arg
	// Values are the compiled tests. The matcher holds when one of them does, or all of them if All is set (the pairs
	// of v2's Headers, HeadersRegexp and Query).
	Values []Value
	All    bool
}

// Arg is a string literal of the rule.
type Arg struct {
	Value string
	// Offset is where the literal's quote stands in the text.
	Offset int
}

// Form is how a Value compares.
type Form uint8

// Forms of comparison.
const (
	// Exact compares with Text.
	Exact Form = iota
	// Prefix is PathPrefix: the path begins with Text, not necessarily at a segment boundary.
	Prefix
	// Wildcard is *.Text: exactly one label before Text.
	Wildcard
	// Any is Host(`*`) or HostSNI(`*`): everything, no name included.
	Any
	// Regexp matches Re anywhere in the subject, as the expression says.
	Regexp
	// Empty is Query with one argument: the parameter Key is there with an empty value.
	Empty
	// First is v2's Query: Re on the first value of the parameter Key.
	First
	// Net is ClientIP: the address lies in Net.
	Net
)

// Value is one test of a matcher.
type Value struct {
	Form Form
	// Key is the header field (canonical spelling) or query parameter looked at; empty for other matchers.
	Key string
	// Text is what is compared, in the form of the subject: hosts lower-case without final dot, methods upper-case.
	// For Wildcard it is what follows "*.".
	Text string
	// Re is set for Regexp and First.
	Re *regexp.Regexp
	// Literal is a prefix that every subject matched by Re has; it is empty where none is known.
	Literal string
	// Net is set for ClientIP, masked, IPv4 never in its IPv6-mapped form.
	Net netip.Prefix
	// Offset is where the argument that the value came from stands in the text.
	Offset int
}

// Problem is something wrong with, or worth saying about, a rule.
type Problem struct {
	// Offset is the byte in the rule's text where the problem is, from 0 to len(text).
	Offset int
	// Severity is diag.Error when the rule cannot be used.
	Severity diag.Severity
	// Code is stable, such as RULE-SYNTAX.
	Code string
	// Message says what is wrong, Hint what would be right; Hint may be empty.
	Message string
	Hint    string
}

// Codes of problems that Parse reports. Those of Lint stand beside it.
const (
	CodeEmpty    = "RULE-EMPTY"
	CodeSyntax   = "RULE-SYNTAX"
	CodeMatcher  = "RULE-MATCHER"
	CodeArity    = "RULE-ARITY"
	CodeValue    = "RULE-VALUE"
	CodeRegexp   = "RULE-REGEXP"
	CodeLimit    = "RULE-LIMIT"
	CodeV2Form   = "RULE-V2-FORM"
	CodeTemplate = "RULE-TEMPLATE"
)

// Parse reads text. The rule is nil exactly when a problem has severity Error. Problems come in order of offset.
func Parse(text string, syntax Syntax, layer Layer) (*Rule, []Problem) {
	p := parser{lex: lexer{text: text}, text: text, syntax: syntax, layer: layer}
	root := p.parse()
	sortProblems(p.problems)
	for _, pr := range p.problems {
		if pr.Severity == diag.Error {
			return nil, p.problems
		}
	}
	return &Rule{Text: text, Syntax: syntax, Layer: layer, Root: root}, p.problems
}

// DefaultPriority is the priority of a router that names none: the length of the rule's text in bytes, or -1 for a
// TCP rule that is only HostSNI(`*`).
func (r *Rule) DefaultPriority() int {
	if r.IsCatchAllSNI() {
		return -1
	}
	return len(r.Text)
}

// IsCatchAllSNI reports whether the rule is nothing but HostSNI(`*`), however parenthesised or negated.
func (r *Rule) IsCatchAllSNI() bool {
	n := r.Root
	for n.Op == Not {
		n = n.Kids[0]
	}
	return n.Op == Match && n.Matcher.Kind == HostSNI && len(n.Matcher.Values) == 1 && n.Matcher.Values[0].Form == Any
}
