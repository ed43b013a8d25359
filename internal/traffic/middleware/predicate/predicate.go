// Package predicate reads conditions such as `ResponseCode() == 502 && Attempts() < 3`, in which circuit breakers,
// retries, claims of tokens and policies are written.
//
// The language is a small part of Go's expressions: calls of given functions with literal arguments, a call compared with a
// literal on its right, && binding stronger than ||, and parentheses. Types are strict: a function that yields a float is
// compared with 0.5 or 1.0, never with 1. What names and functions there are, and whether ! negates, is up to the user of
// the package.
package predicate

import (
	"fmt"
	"strings"
)

// Type is that of a value.
type Type uint8

// Types.
const (
	Int Type = iota
	Float
	String
	Bool
)

// String returns the name of the type.
func (t Type) String() string {
	return [...]string{"a whole number", "a number with a point", "a text", "a condition"}[t]
}

// Value is a value of one type, in the field of that type.
type Value struct {
	Int    int64
	Float  float64
	String string
	Bool   bool
}

// Func is a function of the language, over a subject of type S.
type Func[S any] struct {
	// Name is how it is called; letters count.
	Name string
	// Params are the types of its arguments.
	Params []Type
	// Rest says that any number of further arguments may follow, of the type of the last one.
	Rest bool
	// Result is the type of its value. One of type Bool is a condition by itself.
	Result Type
	// Check, if set, says what is wrong with arguments of the right types.
	Check func(args []Value) error
	// Call computes the value.
	Call func(subject S, args []Value) Value
	// Bind, for results of type Bool, takes the place of Call: it is called once, while the text is read, after Check.
	Bind func(args []Value) Test[S]
}

// Test is a condition that has been read. It is immutable.
type Test[S any] func(subject S) bool

const (
	maxText  = 4096
	maxDepth = 64
)

// Parse reads text, which has no !. An error tells what is wrong and at which character.
func Parse[S any](text string, funcs []Func[S]) (Test[S], error) {
	return (&parser[S]{lexer: lexer{text: text}, funcs: funcs}).whole()
}

// ParseLogic is Parse for languages in which ! in front of a condition or a parenthesis negates it.
func ParseLogic[S any](text string, funcs []Func[S]) (Test[S], error) {
	return (&parser[S]{lexer: lexer{text: text}, funcs: funcs, negates: true}).whole()
}

type parser[S any] struct {
	lexer
	funcs   []Func[S]
	negates bool
	depth   int
}

func (p *parser[S]) whole() (Test[S], error) {
	if len(p.text) > maxText {
		return nil, fmt.Errorf("the expression is longer than %d characters", maxText)
	}
	p.next()
	t, err := p.or()
	if err == nil && p.kind != end {
		err = p.unexpected("&&, || or the end")
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (p *parser[S]) or() (Test[S], error) {
	left, err := p.and()
	for err == nil && p.is("||") {
		p.next()
		var right Test[S]
		if right, err = p.and(); err == nil {
			a := left
			left = func(s S) bool { return a(s) || right(s) }
		}
	}
	return left, err
}

func (p *parser[S]) and() (Test[S], error) {
	left, err := p.term()
	for err == nil && p.is("&&") {
		p.next()
		var right Test[S]
		if right, err = p.term(); err == nil {
			a := left
			left = func(s S) bool { return a(s) && right(s) }
		}
	}
	return left, err
}

// term reads a parenthesis, a condition, or a comparison.
func (p *parser[S]) term() (Test[S], error) {
	switch {
	case p.is("("):
		if err := p.deeper(); err != nil {
			return nil, err
		}
		t, err := p.or()
		if err != nil {
			return nil, err
		}
		if !p.is(")") {
			return nil, p.unexpected(")")
		}
		p.depth--
		p.next()
		return t, nil
	case p.is("!") && p.negates:
		if err := p.deeper(); err != nil {
			return nil, err
		}
		t, err := p.term()
		if err != nil {
			return nil, err
		}
		p.depth--
		return func(s S) bool { return !t(s) }, nil
	case p.is("!"):
		return nil, p.errorf("there is no !: turn the comparison around")
	case p.kind != name:
		return nil, p.unexpected("the name of a function")
	}
	f, args, err := p.call()
	if err != nil {
		return nil, err
	}
	call := f.Call
	if f.Result == Bool {
		if p.kind == operator && compares(p.word) {
			return nil, p.errorf("%s() is a condition already, there is nothing to compare", f.Name)
		}
		if f.Bind != nil {
			return f.Bind(args), nil
		}
		return func(s S) bool { return call(s, args).Bool }, nil
	}
	op := p.word
	if p.kind != operator || !compares(op) {
		return nil, p.unexpected("a comparison of " + f.Name + "()")
	}
	if f.Result == String && op != "==" && op != "!=" {
		return nil, p.errorf("a text can only be == or !=")
	}
	p.next()
	want, err := p.literal(f.Result)
	if err != nil {
		return nil, err
	}
	switch f.Result {
	case Int:
		return func(s S) bool { return holds(op, call(s, args).Int, want.Int) }, nil
	case Float:
		return func(s S) bool { return holds(op, call(s, args).Float, want.Float) }, nil
	default:
		return func(s S) bool { return holds(op, call(s, args).String, want.String) }, nil
	}
}

// deeper steps behind a word that something nested follows.
func (p *parser[S]) deeper() error {
	if p.depth++; p.depth > maxDepth {
		return p.errorf("the expression is nested deeper than %d", maxDepth)
	}
	p.next()
	return nil
}

// call reads name(literal, ...).
func (p *parser[S]) call() (*Func[S], []Value, error) {
	var f *Func[S]
	var known []string
	for i := range p.funcs {
		if known = append(known, p.funcs[i].Name); p.funcs[i].Name == p.word {
			f = &p.funcs[i]
		}
	}
	if f == nil {
		return nil, nil, p.errorf("there is no function %q, only %s", p.word, strings.Join(known, ", "))
	}
	at := p.at
	p.next()
	if !p.is("(") {
		return nil, nil, p.unexpected("( behind " + f.Name)
	}
	p.next()
	var args []Value
	takes := fmt.Sprintf("%s takes %d arguments", f.Name, len(f.Params))
	if f.Rest {
		takes = fmt.Sprintf("%s takes at least %d arguments", f.Name, len(f.Params))
	}
	for i := 0; i < len(f.Params) || f.Rest && p.is(","); i++ {
		if i > 0 {
			if !p.is(",") {
				return nil, nil, p.unexpected("a comma: " + takes)
			}
			p.next()
		}
		v, err := p.literal(f.Params[min(i, len(f.Params)-1)])
		if err != nil {
			return nil, nil, err
		}
		args = append(args, v)
	}
	if !p.is(")") {
		return nil, nil, p.unexpected("): " + takes)
	}
	if f.Check != nil {
		if err := f.Check(args); err != nil {
			p.at = at
			return nil, nil, p.errorf("%s: %w", f.Name, err)
		}
	}
	p.next()
	return f, args, nil
}

func compares(op string) bool {
	switch op {
	case "==", "!=", "<", "<=", ">", ">=":
		return true
	}
	return false
}

func holds[V int64 | float64 | string](op string, a, b V) bool {
	switch op {
	case "==":
		return a == b
	case "!=":
		return a != b
	case "<":
		return a < b
	case "<=":
		return a <= b
	case ">":
		return a > b
	default:
		return a >= b
	}
}
