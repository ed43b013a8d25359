package predicate

import (
	"fmt"
	"strconv"
	"strings"
)

type kind uint8

const (
	end kind = iota
	name
	number
	quoted
	operator
	strange
)

// lexer cuts an expression into words.
type lexer struct {
	text string
	pos  int // behind the current word
	// The current word.
	kind kind
	word string
	at   int
}

// next reads the next word.
func (l *lexer) next() {
	for l.pos < len(l.text) && strings.IndexByte(" \t\r\n", l.text[l.pos]) >= 0 {
		l.pos++
	}
	l.at = l.pos
	if l.pos == len(l.text) {
		l.kind, l.word = end, ""
		return
	}
	switch c := l.text[l.pos]; {
	case letter(c):
		l.kind = name
		l.span(func(c byte) bool { return letter(c) || digit(c) })
	case digit(c):
		// Letters too, so that 5x is one wrong word and not two.
		l.kind = number
		l.span(func(c byte) bool { return letter(c) || digit(c) || c == '.' })
	case c == '"' || c == '`' || c == '\'':
		l.quote()
	default:
		l.kind = operator
		for _, op := range [...]string{"&&", "||", "==", "!=", "<=", ">=", "<", ">", "(", ")", ",", "!"} {
			if strings.HasPrefix(l.text[l.pos:], op) {
				l.pos += len(op)
				l.word = op
				return
			}
		}
		l.kind = strange
		l.pos++
		l.word = l.text[l.at:l.pos]
	}
}

func (l *lexer) span(in func(byte) bool) {
	for l.pos < len(l.text) && in(l.text[l.pos]) {
		l.pos++
	}
	l.word = l.text[l.at:l.pos]
}

// quote reads a text with its quotes; one that has no end is strange.
func (l *lexer) quote() {
	mark := l.text[l.pos]
	for i := l.pos + 1; i < len(l.text); i++ {
		switch {
		case l.text[i] == mark:
			l.pos = i + 1
			l.kind, l.word = quoted, l.text[l.at:l.pos]
			return
		case l.text[i] == '\\' && mark != '`':
			i++
		}
	}
	l.pos = len(l.text)
	l.kind, l.word = strange, l.text[l.at:]
}

func letter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' }
func digit(c byte) bool  { return '0' <= c && c <= '9' }

func (l *lexer) is(op string) bool { return l.kind == operator && l.word == op }

func (l *lexer) errorf(format string, args ...any) error {
	return fmt.Errorf("character %d: "+format, append([]any{l.at + 1}, args...)...)
}

func (l *lexer) unexpected(want string) error {
	switch l.kind {
	case end:
		return l.errorf("the expression ends where %s should be", want)
	default:
		return l.errorf("%q stands where %s should be", l.word, want)
	}
}

// literal reads a literal of type t.
func (l *lexer) literal(t Type) (v Value, err error) {
	word := l.word
	switch t {
	case Int:
		if l.kind == number && strings.Contains(word, ".") {
			return v, l.errorf("%s is not a whole number, which is wanted here", word)
		}
		if l.kind == number {
			v.Int, err = strconv.ParseInt(word, 10, 64)
		}
	case Float:
		if l.kind == number && !strings.Contains(word, ".") {
			return v, l.errorf("%s has no point, which is wanted here: write %s.0", word, word)
		}
		if l.kind == number {
			v.Float, err = strconv.ParseFloat(word, 64)
		}
	case String:
		if l.kind == quoted {
			if word[0] == '\'' {
				return v, l.errorf("a text stands in double quotes or backquotes")
			}
			v.String, err = strconv.Unquote(word)
		}
	}
	if wanted := map[Type]kind{Int: number, Float: number, String: quoted}[t]; l.kind != wanted {
		return v, l.unexpected(t.String())
	}
	if err != nil {
		return v, l.errorf("%s is not %s", word, t)
	}
	l.next()
	return v, nil
}
