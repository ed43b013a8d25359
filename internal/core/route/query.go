package route

import "strings"

// maxPairs is how many parameters of a query rules see; those behind are as if absent.
const maxPairs = 10_000

// query is the parsed query of a request. Its memory is used again for the next one.
type query struct {
	read  bool
	pairs []pair
	// decoded holds the names and values that had escapes.
	decoded []byte
}

type pair struct{ name, value string }

// parse reads raw once per lookup, and only if a rule asks. Parameters with a broken percent code are left out, '+' is a
// space.
func (q *query) parse(raw string) {
	if q.read {
		return
	}
	q.read = true
	q.pairs = q.pairs[:0]
	// Decoding never lengthens, so this memory is not moved while pairs point into it.
	if cap(q.decoded) < len(raw) {
		q.decoded = make([]byte, 0, len(raw))
	}
	q.decoded = q.decoded[:0]
	for raw != "" && len(q.pairs) < maxPairs {
		part := raw
		if end := strings.IndexAny(raw, "&;"); end >= 0 {
			part, raw = raw[:end], raw[end+1:]
		} else {
			raw = ""
		}
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		n, ok1 := q.unescape(name)
		v, ok2 := q.unescape(value)
		if ok1 && ok2 {
			q.pairs = append(q.pairs, pair{n, v})
		}
	}
}

func (q *query) unescape(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s, true
	}
	start := len(q.decoded)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '+':
			q.decoded = append(q.decoded, ' ')
		case '%':
			if i+2 >= len(s) || unhex(s[i+1]) < 0 || unhex(s[i+2]) < 0 {
				return "", false
			}
			q.decoded = append(q.decoded, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
			i += 2
		default:
			q.decoded = append(q.decoded, c)
		}
	}
	return text(q.decoded[start:]), true
}
