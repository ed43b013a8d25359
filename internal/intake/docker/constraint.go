package docker

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// constraint is a condition on the labels of a container.
type constraint func(labels map[string]string) bool

// maxConstraint bounds the text of an expression, in bytes, and so the depth of its parentheses.
const maxConstraint = 16 << 10

// parseConstraint reads an expression of Label and LabelRegex with &&, ||, ! and parentheses. An empty one is met by
// every container.
func parseConstraint(text string) (c constraint, err error) {
	if strings.TrimSpace(text) == "" {
		return func(map[string]string) bool { return true }, nil
	}
	if len(text) > maxConstraint {
		return nil, fmt.Errorf("the expression has %d bytes, at most %d are read", len(text), maxConstraint)
	}
	p := &constraintParser{text: text}
	c, err = p.or(0)
	if err == nil {
		if p.space(); p.at < len(p.text) {
			err = p.errorf("unexpected %q", clip(p.text[p.at:]))
		}
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// maxNesting bounds parentheses and negations.
const maxNesting = 100

type constraintParser struct {
	text string
	at   int
}

func (p *constraintParser) errorf(format string, args ...any) error {
	return fmt.Errorf("at character %d: %s", p.at+1, fmt.Sprintf(format, args...))
}

func (p *constraintParser) space() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// take moves past s if it comes next.
func (p *constraintParser) take(s string) bool {
	p.space()
	if strings.HasPrefix(p.text[p.at:], s) {
		p.at += len(s)
		return true
	}
	return false
}

func (p *constraintParser) or(depth int) (constraint, error) {
	left, err := p.and(depth)
	for err == nil && p.take("||") {
		var right constraint
		if right, err = p.and(depth); err == nil {
			a, b := left, right
			left = func(l map[string]string) bool { return a(l) || b(l) }
		}
	}
	return left, err
}

func (p *constraintParser) and(depth int) (constraint, error) {
	left, err := p.not(depth)
	for err == nil && p.take("&&") {
		var right constraint
		if right, err = p.not(depth); err == nil {
			a, b := left, right
			left = func(l map[string]string) bool { return a(l) && b(l) }
		}
	}
	return left, err
}

func (p *constraintParser) not(depth int) (constraint, error) {
	if depth > maxNesting {
		return nil, p.errorf("nested deeper than %d levels", maxNesting)
	}
	switch {
	case p.take("!"):
		c, err := p.not(depth + 1)
		if err != nil {
			return nil, err
		}
		return func(l map[string]string) bool { return !c(l) }, nil
	case p.take("("):
		c, err := p.or(depth + 1)
		if err != nil {
			return nil, err
		}
		if !p.take(")") {
			return nil, p.errorf("a parenthesis is not closed")
		}
		return c, nil
	}
	return p.call()
}

func (p *constraintParser) call() (constraint, error) {
	p.space()
	start := p.at
	for p.at < len(p.text) && (p.text[p.at] >= 'a' && p.text[p.at] <= 'z' || p.text[p.at] >= 'A' && p.text[p.at] <= 'Z') {
		p.at++
	}
	name := p.text[start:p.at]
	if name != "Label" && name != "LabelRegex" {
		p.at = start
		switch {
		case name == "":
			return nil, p.errorf("Label or LabelRegex is missing")
		default:
			return nil, p.errorf("unknown function %q, known are Label and LabelRegex", clip(name))
		}
	}
	if !p.take("(") {
		return nil, p.errorf("%s needs two arguments in parentheses", name)
	}
	key, err := p.word()
	if err != nil {
		return nil, err
	}
	if !p.take(",") {
		return nil, p.errorf("%s needs two arguments", name)
	}
	p.space()
	second := p.at
	value, err := p.word()
	if err != nil {
		return nil, err
	}
	if !p.take(")") {
		return nil, p.errorf("a parenthesis is not closed after two arguments")
	}
	if name == "Label" {
		return func(l map[string]string) bool { return l[key] == value }, nil
	}
	re, err := regexp.Compile(value)
	if err != nil {
		// Taken as one that nothing matches, it would let everybody in behind a negation.
		p.at = second
		return nil, p.errorf("the expression of LabelRegex cannot be read: %v", err)
	}
	return func(l map[string]string) bool { return re.MatchString(l[key]) }, nil
}

// word reads a text in backquotes or double quotes.
func (p *constraintParser) word() (string, error) {
	p.space()
	if p.at == len(p.text) {
		return "", p.errorf("an argument is missing")
	}
	quote := p.text[p.at]
	if quote != '`' && quote != '"' {
		return "", p.errorf("an argument stands in backquotes or double quotes")
	}
	for end := p.at + 1; end < len(p.text); end++ {
		if p.text[end] == '\\' && quote == '"' {
			end++
			continue
		}
		if p.text[end] == quote {
			s, err := strconv.Unquote(p.text[p.at : end+1])
			if err != nil {
				return "", p.errorf("%s cannot be read", clip(p.text[p.at:end+1]))
			}
			p.at = end + 1
			return s, nil
		}
	}
	return "", p.errorf("a quote is not closed")
}

// clip shortens foreign text for messages.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
