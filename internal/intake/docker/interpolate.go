package docker

import (
	"fmt"
	"strings"
)

// interpolation puts values of variables into texts, as compose does: $NAME, ${NAME}, ${NAME:-default}, ${NAME-default},
// ${NAME:?message}, ${NAME?message}, ${NAME:+other}, ${NAME+other}, and $$ for the sign itself.
type interpolation struct {
	env func(string) (string, bool)
	// report hears of variables that are not set and have no default.
	report func(name string)
}

// maxExpansion bounds what one text may become, in bytes.
const maxExpansion = 1 << 20

// all goes through a document. Keys are left alone.
func (in *interpolation) all(v any) any {
	switch v := v.(type) {
	case string:
		return in.text(v, 0)
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[key] = in.all(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = in.all(value)
		}
		return out
	}
	return v
}

// text replaces the variables in one text. Defaults may hold variables themselves.
func (in *interpolation) text(s string, depth int) string {
	if !strings.Contains(s, "$") || depth > 10 {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s) && out.Len() < maxExpansion; i++ {
		if s[i] != '$' || i+1 == len(s) {
			out.WriteByte(s[i])
			continue
		}
		switch next := s[i+1]; {
		case next == '$':
			out.WriteByte('$')
			i++
		case next == '{':
			end := closing(s, i+2)
			if end < 0 {
				out.WriteString(s[i:])
				return out.String()
			}
			out.WriteString(in.braced(s[i+2:end], depth))
			i = end
		case isNameByte(next) && (next < '0' || next > '9'):
			end := i + 1
			for end < len(s) && isNameByte(s[end]) {
				end++
			}
			out.WriteString(in.value(s[i+1 : end]))
			i = end - 1
		default:
			out.WriteByte('$')
		}
	}
	return out.String()
}

// closing finds the brace that ends what begins at from, -1 if there is none.
func closing(s string, from int) int {
	depth := 1
	for i := from; i < len(s); i++ {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

func isNameByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func (in *interpolation) value(name string) string {
	v, ok := in.env(name)
	if !ok {
		in.report(name)
	}
	return v
}

// braced is the value of what stands in braces.
func (in *interpolation) braced(s string, depth int) string {
	end := 0
	for end < len(s) && isNameByte(s[end]) {
		end++
	}
	name, rest := s[:end], s[end:]
	if name == "" {
		return fmt.Sprintf("${%s}", s)
	}
	v, set := in.env(name)
	whenEmpty := strings.HasPrefix(rest, ":")
	rest = strings.TrimPrefix(rest, ":")
	missing := !set || whenEmpty && v == ""
	switch {
	case rest == "":
		return in.value(name)
	case rest[0] == '-':
		if missing {
			return in.text(rest[1:], depth+1)
		}
		return v
	case rest[0] == '+':
		if missing {
			return ""
		}
		return in.text(rest[1:], depth+1)
	case rest[0] == '?':
		if missing {
			in.report(name)
		}
		return v
	}
	return fmt.Sprintf("${%s}", s)
}
