package app

import (
	"context"

	"sluice/internal/core/dynamic"
	"sluice/internal/intake/provider"
)

// fixed is a provider that says one thing.
type fixed struct {
	name     string
	fragment *dynamic.Fragment
}

// Fixed returns providers for configuration that does not change: of the demo, and of tests.
func Fixed(name string, fragment *dynamic.Fragment) []provider.Provider {
	return []provider.Provider{fixed{name, fragment}}
}

// Name implements provider.Provider.
func (f fixed) Name() string { return f.name }

// Run implements provider.Provider.
func (f fixed) Run(_ context.Context, publish func(dynamic.Snapshot)) error {
	publish(dynamic.Snapshot{Fragments: []*dynamic.Fragment{f.fragment}})
	return nil
}
