package dynamic

// AddPrefix puts a prefix in front of the path.
type AddPrefix struct {
	// Prefix is joined as it stands, without adding or removing slashes in between. Required.
	Prefix string `json:"prefix,omitempty"`
}

// StripPrefix takes a prefix off the decoded path and tells the server in X-Forwarded-Prefix.
type StripPrefix struct {
	// Prefixes are tried in this order; the first that the path begins with goes.
	Prefixes []string `json:"prefixes,omitempty"`
	// ForceSlash is a leftover without effect.
	ForceSlash *bool `json:"forceSlash,omitempty" sluice:"v2"`
}

// StripPrefixRegex takes a matching prefix off the decoded path and tells the server in X-Forwarded-Prefix.
type StripPrefixRegex struct {
	// Regex holds expressions; the first whose leftmost match is at the start of the path decides.
	Regex []string `json:"regex,omitempty"`
}

// ReplacePath replaces the whole path and tells the server the old one in X-Replaced-Path.
type ReplacePath struct {
	// Path is the new path; it may hold percent-codes.
	Path string `json:"path,omitempty"`
}

// ReplacePathRegex replaces what matches in the escaped path and tells the server the old one in X-Replaced-Path.
type ReplacePathRegex struct {
	// Regex is searched anywhere in the path. Surrounding space is dropped.
	Regex string `json:"regex,omitempty"`
	// Replacement may refer to groups as ${1} or ${name}. Surrounding space is dropped.
	Replacement string `json:"replacement,omitempty"`
}

// RedirectRegex redirects to an address made from the requested one.
type RedirectRegex struct {
	// Regex is searched anywhere in scheme://host[:port]/path?query. Required.
	Regex string `json:"regex,omitempty"`
	// Replacement may refer to groups as ${1} or ${name}. Required.
	Replacement string `json:"replacement,omitempty"`
	// Permanent answers 301 (GET) or 308 (other methods) instead of 302 or 307.
	Permanent bool `json:"permanent,omitempty"`
}

// RedirectScheme redirects to another scheme.
type RedirectScheme struct {
	// Scheme is the new scheme. Required.
	Scheme string `json:"scheme,omitempty"`
	// Port is the new port; the default one of the scheme is left out. Empty: none.
	Port string `json:"port,omitempty"`
	// Permanent answers 301 (GET) or 308 (other methods) instead of 302 or 307.
	Permanent bool `json:"permanent,omitempty"`
}

// EncodedCharacters refuses, with 400, paths that hold percent-codes which are not allowed. All are refused by default,
// other than at the entry point.
type EncodedCharacters struct {
	// AllowEncodedSlash allows %2F.
	AllowEncodedSlash bool `json:"allowEncodedSlash,omitempty"`
	// AllowEncodedBackSlash allows %5C.
	AllowEncodedBackSlash bool `json:"allowEncodedBackSlash,omitempty"`
	// AllowEncodedNullCharacter allows %00.
	AllowEncodedNullCharacter bool `json:"allowEncodedNullCharacter,omitempty"`
	// AllowEncodedSemicolon allows %3B.
	AllowEncodedSemicolon bool `json:"allowEncodedSemicolon,omitempty"`
	// AllowEncodedPercent allows %25.
	AllowEncodedPercent bool `json:"allowEncodedPercent,omitempty"`
	// AllowEncodedQuestionMark allows %3F.
	AllowEncodedQuestionMark bool `json:"allowEncodedQuestionMark,omitempty"`
	// AllowEncodedHash allows %23.
	AllowEncodedHash bool `json:"allowEncodedHash,omitempty"`
}
