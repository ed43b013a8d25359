package middleware

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"

	"sluice/internal/core/rule"
)

// maxPattern is the longest regular expression of a middleware, in bytes.
const maxPattern = 16 << 10

var errPatternTooLarge = errors.New("the regular expression is too large")

// Pattern compiles a regular expression of a middleware. Its size is bounded before anything is built from it (PTH-10),
// since a match costs time in proportion to it: at most rule.MaxProgram instructions.
func Pattern(expr string) (*regexp.Regexp, error) {
	if len(expr) > maxPattern {
		return nil, errPatternTooLarge
	}
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("invalid regular expression: %w", err)
	}
	if weight(tree) > rule.MaxProgram {
		return nil, errPatternTooLarge
	}
	return regexp.Compile(expr)
}

// weight estimates the instructions that a tree compiles to. Counted repetitions are what makes small texts large.
func weight(t *syntax.Regexp) int {
	n := 1 + len(t.Rune)
	for _, s := range t.Sub {
		n = min(n+weight(s), rule.MaxProgram+1)
	}
	if t.Op == syntax.OpRepeat {
		n *= max(t.Min, t.Max, 1)
	}
	return n
}
