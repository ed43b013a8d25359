package claims

import (
	"fmt"
	"slices"
	"strings"

	"sluice/internal/traffic/middleware/predicate"
)

// Condition decides about the claims of a request. Immutable.
type Condition struct {
	test  predicate.Test[Source]
	paths []Path
}

// function is one of the language: key is the first argument, the rest are texts.
type function struct {
	name string
	args int // texts behind the key, at least
	rest bool
	test func(v any, args []predicate.Value) bool
}

// functions of the language. Where a claim is absent none of them holds.
var functions = []function{
	{"Equals", 1, false, func(v any, a []predicate.Value) bool {
		text, ok := scalar(v)
		return ok && text == a[0].String
	}},
	{"Prefix", 1, false, func(v any, a []predicate.Value) bool {
		text, ok := v.(string)
		return ok && strings.HasPrefix(text, a[0].String)
	}},
	{"Contains", 1, false, func(v any, a []predicate.Value) bool {
		if list, ok := v.([]any); ok {
			return slices.ContainsFunc(list, func(e any) bool { return among(e, a) })
		}
		text, ok := v.(string)
		return ok && strings.Contains(text, a[0].String)
	}},
	{"SplitContains", 2, false, func(v any, a []predicate.Value) bool {
		text, ok := v.(string)
		if !ok {
			return false
		}
		for part := range strings.SplitSeq(text, a[0].String) {
			if part == a[1].String {
				return true
			}
		}
		return false
	}},
	{"OneOf", 1, true, func(v any, a []predicate.Value) bool {
		if list, ok := v.([]any); ok {
			return slices.ContainsFunc(list, func(e any) bool { return among(e, a) })
		}
		return among(v, a)
	}},
}

// among reports whether a scalar is one of the texts.
func among(v any, texts []predicate.Value) bool {
	text, ok := scalar(v)
	return ok && slices.ContainsFunc(texts, func(t predicate.Value) bool { return t.String == text })
}

// ParseCondition reads a condition such as Equals(`grp`, `admin`) && !Contains(`areas`, `lab`):
//
//	Equals(key, value)               the text, number or boolean is the value
//	Prefix(key, value)               the text begins with the value
//	Contains(key, value)             the text contains the value, or the list has it as an entry
//	SplitContains(key, sep, value)   the value is one of the parts of the text between separators
//	OneOf(key, value, ...)           the list has one of the values as an entry, or the value itself is one of them
//
// A key is a path as in ParsePath.
func ParseCondition(text string) (*Condition, error) {
	c := &Condition{}
	funcs := make([]predicate.Func[Source], len(functions))
	for i, f := range functions {
		funcs[i] = predicate.Func[Source]{Name: f.name, Params: slices.Repeat([]predicate.Type{predicate.String}, 1+f.args), Rest: f.rest, Result: predicate.Bool,
			Check: func(args []predicate.Value) error {
				p, err := ParsePath(args[0].String)
				if err != nil {
					return fmt.Errorf("the key %q: %w", args[0].String, err)
				}
				c.paths = append(c.paths, p)
				return nil
			},
			Bind: func(args []predicate.Value) predicate.Test[Source] {
				p, _ := ParsePath(args[0].String) // Check has seen it
				return func(s Source) bool {
					v, ok := s.Find(p)
					return ok && f.test(v, args[1:])
				}
			}}
	}
	var err error
	if c.test, err = predicate.ParseLogic(text, funcs); err != nil {
		return nil, err
	}
	return c, nil
}

// Holds reports whether the claims satisfy the condition.
func (c *Condition) Holds(s Source) bool { return c.test(s) }

// Paths are the claims that the condition looks at.
func (c *Condition) Paths() []Path { return c.paths }
