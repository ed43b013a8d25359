// Package claims has what middlewares do with the claims of a token (RFC 7519 section 4): it finds them by path, shows them
// as the text of a header, and decides by conditions over them.
//
// The package does not know where claims come from and whether they are true: its callers have verified that.
package claims

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Source is where claims are found.
type Source interface {
	// Find returns the claim at a path.
	Find(p Path) (v any, ok bool)
}

// Set is the claims of one token as encoding/json reads them, numbers as json.Number. It is read only.
type Set map[string]any

// Decode reads the JSON object of a token. It keeps numbers as they are written.
func Decode(payload []byte) (Set, error) {
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	var s Set
	if err := d.Decode(&s); err != nil || s == nil {
		return nil, errors.New("the claims are no JSON object")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something stands behind the claims")
	}
	return s, nil
}

// Find implements Source.
func (s Set) Find(p Path) (any, bool) {
	v := any(map[string]any(s))
	for _, key := range p {
		object, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = object[key]; !ok {
			return nil, false
		}
	}
	return v, len(p) > 0
}

// String returns the claim of a name at the top if it is a string.
func (s Set) String(name string) string {
	text, _ := s[name].(string)
	return text
}

// Path is where a claim stands: the keys of nested objects, outermost first.
type Path []string

// maxKeys bounds how deep a path reaches.
const maxKeys = 32

// ParsePath reads keys with dots between them. A backslash takes the dot or backslash behind it as part of a key.
func ParsePath(text string) (Path, error) {
	var p Path
	var key strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text) && (text[i+1] == '.' || text[i+1] == '\\'):
			i++
			key.WriteByte(text[i])
		case c == '\\':
			return nil, errors.New(`a \ stands before . or \ only`)
		case c == '.':
			p = append(p, key.String())
			key.Reset()
		default:
			key.WriteByte(c)
		}
	}
	p = append(p, key.String())
	for _, key := range p {
		if key == "" {
			return nil, errors.New("the name of a claim is empty")
		}
	}
	if len(p) > maxKeys {
		return nil, fmt.Errorf("the path has more than %d names", maxKeys)
	}
	return p, nil
}

// Text is a claim as a header shows it: a text, number or boolean as it is, the entries of a list with commas between them,
// an object as JSON. A comma inside an entry and what may not stand in a header are percent-encoded, so that nobody who
// chooses the content of a claim can make another entry or line of it. null is empty.
func Text(v any) string {
	switch v := v.(type) {
	case []any:
		entries := make([]string, len(v))
		for i, e := range v {
			entries[i] = encode(scalarOrJSON(e), ',')
		}
		return strings.Join(entries, ",")
	default:
		return encode(scalarOrJSON(v), 0)
	}
}

// scalar returns the text of a value that is neither list nor object.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		if v {
			return "true", true
		}
		return "false", true
	}
	return "", false
}

func scalarOrJSON(v any) string {
	if text, ok := scalar(v); ok || v == nil {
		return text
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "" // what was decoded from JSON can be encoded
	}
	return string(text)
}

// encode percent-encodes control characters, a further character, and blanks at the ends.
func encode(text string, further byte) string {
	bad := func(i int) bool {
		c := text[i]
		return c < ' ' || c == 0x7f || further != 0 && c == further || c == ' ' && (i == 0 || i == len(text)-1)
	}
	for i := range len(text) {
		if !bad(i) {
			continue
		}
		var out strings.Builder
		for j := range len(text) {
			if bad(j) {
				fmt.Fprintf(&out, "%%%02X", text[j])
			} else {
				out.WriteByte(text[j])
			}
		}
		return out.String()
	}
	return text
}
