package decode

// Codes of the findings that this package reports. They are stable: scripts filter on them and docs/findings.md
// explains each.
const (
	// CodeUnknownKey: no option has this name.
	CodeUnknownKey = "UNKNOWN-KEY"
	// CodeWrongType: the value has a form that the option does not take.
	CodeWrongType = "WRONG-TYPE"
	// CodeBadDuration: neither whole seconds nor a Go duration.
	CodeBadDuration = "BAD-DURATION"
	// CodeSyntax: the text is not TOML, YAML, a flag or a label at all.
	CodeSyntax = "SYNTAX"
	// CodeDuplicateKey: a key is given twice in one table.
	CodeDuplicateKey = "DUPLICATE-KEY"
	// CodeDeprecated: the option still works and has a better successor.
	CodeDeprecated = "DEPRECATED"
	// CodeEmpty: something is present without content, and that probably does not mean what its author thinks.
	CodeEmpty = "EMPTY"
	// CodeTooLarge: a limit on size, depth or number was passed.
	CodeTooLarge = "TOO-LARGE"
	// CodeFile: a file that is named in the configuration cannot be read.
	CodeFile = "FILE"
	// CodeTwoSpellings: an option is given in both spellings (sluice and traefik); the native one wins.
	CodeTwoSpellings = "TWO-SPELLINGS"
	// CodeNotRead: a source or value was given but has no effect, because another one is used instead.
	CodeNotRead = "NOT-READ"
	// CodeFlagSyntax: the command line cannot be understood. The process exits with status 2.
	CodeFlagSyntax = "FLAG-SYNTAX"
)
