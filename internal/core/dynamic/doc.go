// Package dynamic is the dynamic configuration as plain data: routers, services, middlewares, transports and TLS, for
// HTTP, TCP and UDP, with every option that users of this family of routers write.
//
// The structs hold what was written, nothing derived. Nobody writes into a value after intake has published it; whoever
// needs another value makes a copy. Values may then be read from any number of goroutines.
//
// # How the structs are read
//
// Package intake/decode fills them by reflection, from files, labels, flags and key-value trees alike, so their shape is
// the schema:
//
//   - The json tag is the key in file spelling; keys are compared without regard to case. A field tagged "-" cannot be
//     written by users; a provider sets it.
//   - A struct with defaults has SetDefaults. Whoever creates the struct calls it once, before reading what was written.
//     A list that is written replaces a list of defaults. SetDefaults reaches into struct values and into the pointers
//     that it sets itself, so nothing is to be called for those.
//   - A nil pointer means absent. Pointers to scalars exist where absent differs from the zero value.
//   - Named things are maps to pointers. map[string]string and map[string]int keep dots in their keys. Free-form
//     values are map[string]any.
//   - A nil slice is absent; where an empty list means something else than an absent one, the field says so.
//
// The sluice tag adds, separated by commas:
//
//   - section: the scalar true or an empty text means "present with its defaults", any other text means absent. An empty
//     table is accepted for every struct, with or without this word.
//   - label=NAME: labels write NAME, in the singular and without an index, for the one element of this list.
//   - filesonly: labels lack the field.
//   - labelonly: only labels have the field; elsewhere the key is unknown.
//   - plugin=NAME: in a middleware, the field may also be written as plugin.NAME.
//   - v2: a leftover of older configurations. It is read and, unless its comment says otherwise, does nothing.
package dynamic
