// Package diag holds findings about configuration: where something is wrong, how badly, and what would be right.
//
// A finding never stops anything by itself. Whoever reads configuration collects findings in a List and goes on; the
// list is then printed by `sluice check`, logged once per change and shown by the API. Traffic has its own vocabulary
// in package fault.
package diag

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity says what a finding means for the element that it is about.
type Severity uint8

const (
	// Info is style or deprecation: the element works as meant.
	Info Severity = iota
	// Warning means that the element is served, but probably not as its author meant.
	Warning
	// Error means that the element is not read, not served, or refused.
	Error
)

// String returns the lower-case name used in messages and JSON.
func (s Severity) String() string {
	switch s {
	case Error:
		return "error"
	case Warning:
		return "warning"
	default:
		return "info"
	}
}

// MarshalText lets a severity stand in JSON as its name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Place is where a value was written. The zero Place is unknown.
type Place struct {
	// Source names the origin: a file path as the user gave it, `flag --a.b`, `env TRAEFIK_A_B` or
	// `container web label traefik.http.routers.r.rule`.
	Source string `json:"source,omitempty"`
	// Line and Col count from 1; 0 where the source has no lines (flags, environment, labels).
	Line int `json:"line,omitempty"`
	Col  int `json:"column,omitempty"`
}

// IsZero reports whether nothing is known about the place.
func (p Place) IsZero() bool { return p == Place{} }

// String returns source:line:col, leaving out what is unknown.
func (p Place) String() string {
	switch {
	case p.Line == 0:
		return p.Source
	case p.Col == 0:
		return fmt.Sprintf("%s:%d", p.Source, p.Line)
	default:
		return fmt.Sprintf("%s:%d:%d", p.Source, p.Line, p.Col)
	}
}

// Finding is one remark about configuration.
type Finding struct {
	Place Place `json:"place"`
	// Severity decides the exit code of `sluice check` and the log level.
	Severity Severity `json:"severity"`
	// Key is the dotted path of the value in file spelling, such as http.routers.api.rule. Names of elements that come
	// from a known provider are plain (api) inside Key; the provider is told by Place.
	Key string `json:"key,omitempty"`
	// Code is stable, upper-case, and explained in docs/findings.md, such as UNKNOWN-KEY.
	Code string `json:"code"`
	// Message says what is wrong, lower case, no final stop.
	Message string `json:"message"`
	// Hint says what would be right, such as `did you mean "rule"?`; empty where there is nothing to say.
	Hint string `json:"hint,omitempty"`
}

// String prints the finding as `place: severity: key: message (hint) [CODE]`, leaving out empty parts. Control
// characters of user input are escaped, so that one finding is always one line.
func (f Finding) String() string {
	var b strings.Builder
	if !f.Place.IsZero() {
		b.WriteString(f.Place.String())
		b.WriteString(": ")
	}
	b.WriteString(f.Severity.String())
	b.WriteString(": ")
	if f.Key != "" {
		b.WriteString(f.Key)
		b.WriteString(": ")
	}
	b.WriteString(f.Message)
	if f.Hint != "" {
		b.WriteString(" (" + f.Hint + ")")
	}
	if f.Code != "" {
		b.WriteString(" [" + f.Code + "]")
	}
	return Escape(b.String())
}

// Escape replaces control characters (and the escape character of terminals) by their Go escapes.
func Escape(s string) string {
	bad := func(r rune) bool { return r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == '\uFFFD' }
	if strings.IndexFunc(s, bad) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if bad(r) {
			q := fmt.Sprintf("%q", r)
			b.WriteString(q[1 : len(q)-1])
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// List collects findings. The zero List is empty and ready to use. It is not safe for concurrent use.
type List []Finding

// Add appends f.
func (l *List) Add(f Finding) { *l = append(*l, f) }

// Has reports whether a finding of at least severity s is in the list.
func (l List) Has(s Severity) bool {
	return slices.ContainsFunc(l, func(f Finding) bool { return f.Severity >= s })
}

// Count returns how many findings have exactly severity s.
func (l List) Count(s Severity) int {
	n := 0
	for _, f := range l {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// Compare orders findings by source, line, column, key and code; it is 0 only for equal ones.
func (f Finding) Compare(g Finding) int {
	if c := cmp.Compare(f.Place.Source, g.Place.Source); c != 0 {
		return c
	}
	if c := cmp.Or(cmp.Compare(f.Place.Line, g.Place.Line), cmp.Compare(f.Place.Col, g.Place.Col)); c != 0 {
		return c
	}
	if c := cmp.Compare(f.Key, g.Key); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(f.Code, g.Code), cmp.Compare(f.Message, g.Message), cmp.Compare(f.Hint, g.Hint), cmp.Compare(f.Severity, g.Severity))
}

// Sort puts the list in the order of Compare, so that output is the same at every run.
func (l List) Sort() { slices.SortFunc(l, Finding.Compare) }

// Nearest returns the candidate closest to word by edit distance, or "" when none is near enough to be a slip of the
// keyboard (a third of the word's length, at least one and at most three edits). Comparison ignores ASCII case.
func Nearest(word string, candidates []string) string {
	limit := min(max(len(word)/3, 1), 3)
	best, bestDist := "", limit+1
	lower := strings.ToLower(word)
	for _, c := range candidates {
		if d := distance(lower, strings.ToLower(c), bestDist); d < bestDist {
			best, bestDist = c, d
		}
	}
	return best
}

// DidYouMean returns the usual hint for a misspelt word, or "" when no candidate is near.
func DidYouMean(word string, candidates []string) string {
	if c := Nearest(word, candidates); c != "" {
		return fmt.Sprintf("did you mean %q?", c)
	}
	return ""
}

// distance is the edit distance with transpositions of neighbours, given up at limit.
func distance(a, b string, limit int) int {
	if abs(len(a)-len(b)) >= limit {
		return limit
	}
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return min(prev[len(b)], limit)
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}
