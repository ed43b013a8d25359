package dynamic

import "sluice/internal/core/secret"

// Material is a certificate, key or token that is written either as the path of a file or as the content itself.
//
// Decoding sets Written only. Intake then looks whether a file of that name exists and fills Content and, for a file,
// Path. Formatting and JSON show the path, or that something is there, but never content: inline keys are content too.
type Material struct {
	// Written is the text as configured, path or content. It may be secret: do not print it.
	Written string `json:"-"`
	// Content is the resolved content; empty as long as, or because, it could not be resolved.
	Content secret.String `json:"-"`
	// Path is the file that Content was read from; empty for inline content.
	Path string `json:"-"`
}

// IsZero reports whether nothing was written; encoding/json's omitzero asks it.
func (m Material) IsZero() bool { return m.Written == "" && m.Content.IsZero() }

// String implements fmt.Stringer without showing content.
func (m Material) String() string {
	switch {
	case m.Path != "":
		return m.Path
	case m.IsZero():
		return ""
	default:
		return secret.Redacted
	}
}

// GoString implements fmt.GoStringer without showing content.
func (m Material) GoString() string { return m.String() }

// MarshalText lets Material stand in JSON as its path, or as the redaction mark.
func (m Material) MarshalText() ([]byte, error) { return []byte(m.String()), nil }
