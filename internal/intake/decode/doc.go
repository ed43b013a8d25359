// Package decode turns what people write (TOML and YAML files, command-line flags, environment variables, container
// labels) into the typed configuration of core/static and core/dynamic.
//
// Every front door builds the same tree of named values (node), each with the place where it was written; one schema
// walk (walker) then fills Go structs from that tree by reflection. So a duration, a list or an unknown key is treated
// alike wherever it comes from. The walk never stops at the first mistake: it reports a diag.Finding for each and goes
// on, and in dynamic configuration it notes which named element (router, service, middleware ...) is broken by it.
//
// Field names come from `json` tags and are compared without regard to case; names that users choose keep their case.
// The tag `sluice:"section"` marks a pointer to a struct that may be switched on by a bare word, `true`, or an empty
// table, and off by any other text. Types with a SetDefaults method get it called when they come into being, before
// anything written is applied.
//
// The only effects are those of the ReadFile function that a caller passes in. All exported functions may be called
// concurrently.
package decode
