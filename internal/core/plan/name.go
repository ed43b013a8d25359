package plan

import "strings"

// Internal is the provider of the elements that Sluice makes itself: redirections, ping, API.
const Internal = "internal"

// Name identifies an element: the name its author chose, and the provider it came from.
type Name struct {
	Local, Provider string
}

// String returns name@provider, the form of API, logs and metrics.
func (n Name) String() string { return n.Local + "@" + n.Provider }

// Resolve reads a reference made by an element of provider from: name@other names another provider's element, a plain
// name one of the same provider.
func Resolve(ref, from string) Name {
	local, provider, qualified := strings.Cut(ref, "@")
	if !qualified {
		return Name{local, from}
	}
	provider, _, _ = strings.Cut(provider, "@")
	return Name{local, provider}
}
