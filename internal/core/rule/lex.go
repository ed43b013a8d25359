package rule

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// token is a kind of lexical element.
type token uint8

const (
	tokEnd token = iota
	tokName
	tokString
	tokAnd
	tokOr
	tokNot
	tokOpen
	tokClose
	tokComma
	tokBad
)

// lexer cuts a rule into tokens: names, Go string literals, operators. White space, line breaks and Go comments
// separate tokens and mean nothing, wherever they stand.
type lexer struct {
	text string
	pos  int

	// The current token: its kind, where it begins, its text (names) or value (strings), and for tokBad what is wrong.
	kind    token
	start   int
	value   string
	message string
	hint    string
}

func (l *lexer) next() {
	l.value, l.message, l.hint = "", "", ""
	if !l.skip() {
		return
	}
	l.start = l.pos
	if l.pos == len(l.text) {
		l.kind = tokEnd
		return
	}
	rest := l.text[l.pos:]
	switch c := rest[0]; {
	case strings.HasPrefix(rest, "&&"):
		l.take(tokAnd, 2)
	case strings.HasPrefix(rest, "||"):
		l.take(tokOr, 2)
	case c == '!':
		l.take(tokNot, 1)
	case c == '(':
		l.take(tokOpen, 1)
	case c == ')':
		l.take(tokClose, 1)
	case c == ',':
		l.take(tokComma, 1)
	case c == '`':
		end := strings.IndexByte(rest[1:], '`')
		if end < 0 {
			l.bad("a text in back-quotes does not end", "")
			return
		}
		l.value = strings.ReplaceAll(rest[1:end+1], "\r", "") // as Go reads raw strings
		l.take(tokString, end+2)
	case c == '"':
		l.quoted(rest)
	case letter(c):
		n := 1
		for n < len(rest) && (letter(rest[n]) || '0' <= rest[n] && rest[n] <= '9') {
			n++
		}
		l.value = rest[:n]
		l.take(tokName, n)
	default:
		l.strange(rest)
	}
}

func (l *lexer) take(kind token, n int) {
	l.kind = kind
	l.pos += n
}

func (l *lexer) bad(message, hint string) {
	l.kind, l.message, l.hint = tokBad, message, hint
}

// skip moves over white space and comments; it is false where a comment does not end.
func (l *lexer) skip() bool {
	for l.pos < len(l.text) {
		rest := l.text[l.pos:]
		switch {
		case strings.IndexByte(" \t\r\n", rest[0]) >= 0:
			l.pos++
		case strings.HasPrefix(rest, "//"):
			if end := strings.IndexByte(rest, '\n'); end >= 0 {
				l.pos += end + 1
			} else {
				l.pos = len(l.text)
			}
		case strings.HasPrefix(rest, "/*"):
			end := strings.Index(rest[2:], "*/")
			if end < 0 {
				l.start = l.pos
				l.bad("a comment does not end", "")
				return false
			}
			l.pos += end + 4
		default:
			return true
		}
	}
	return true
}

// quoted reads a double-quoted string with Go escapes.
func (l *lexer) quoted(rest string) {
	for i := 1; i < len(rest) && rest[i] != '\n'; i++ {
		switch rest[i] {
		case '\\':
			i++
		case '"':
			v, err := strconv.Unquote(rest[:i+1])
			if err != nil {
				l.bad("a double-quoted text has an escape that Go does not know", "use back-quotes, where a backslash is a backslash")
				return
			}
			l.value = v
			l.take(tokString, i+1)
			return
		}
	}
	l.bad("a text in double quotes does not end", "")
}

// strange explains a character that cannot begin a token.
func (l *lexer) strange(rest string) {
	r, _ := utf8.DecodeRuneInString(rest)
	switch {
	case r == '\'' || strings.ContainsRune("\u2018\u2019\u201c\u201d\u00b4", r):
		l.bad(fmt.Sprintf("unexpected character %q", r), "put texts in back-quotes (`) or double quotes (\")")
	case r == '&' || r == '|':
		l.bad(fmt.Sprintf("unexpected character %q", r), fmt.Sprintf("did you mean %q?", string(r)+string(r)))
	case '0' <= r && r <= '9':
		l.bad("a matcher's argument must be a text", "put it in back-quotes (`)")
	default:
		l.bad(fmt.Sprintf("unexpected character %+q", r), "")
	}
}

// describe names the current token for messages.
func (l *lexer) describe() string {
	switch l.kind {
	case tokEnd:
		return "the end of the rule"
	case tokName:
		return fmt.Sprintf("%q", l.value)
	case tokString:
		return "the text " + quote(l.value)
	default:
		return fmt.Sprintf("%q", l.text[l.start:l.pos])
	}
}

func letter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' }

// quote writes s as a string literal of the language, in back-quotes where that is possible.
func quote(s string) string {
	if strconv.CanBackquote(s) {
		return "`" + s + "`"
	}
	return strconv.Quote(s)
}
