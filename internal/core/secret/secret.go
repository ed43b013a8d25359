// Package secret has a string type that never prints itself: not in logs, JSON, error texts or dumps.
package secret

// Redacted is what a secret shows instead of its content.
const Redacted = "REDACTED"

// String holds a password, token or key. Only Reveal gives the content; formatting, JSON and text encoding show
// Redacted (or nothing, when empty). Comparison with == is allowed and is not constant-time.
type String struct{ s string }

// New wraps s.
func New(s string) String { return String{s} }

// Reveal returns the content. Call it only at the point of use.
func (s String) Reveal() string { return s.s }

// IsZero reports whether the secret is empty; encoding/json's omitzero asks it.
func (s String) IsZero() bool { return s.s == "" }

// String implements fmt.Stringer.
func (s String) String() string {
	if s.s == "" {
		return ""
	}
	return Redacted
}

// GoString implements fmt.GoStringer, so that %#v does not show the content.
func (s String) GoString() string { return s.String() }

// MarshalText implements encoding.TextMarshaler for JSON, TOML and YAML writers.
func (s String) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
