// Package static is the static configuration as plain data: entry points, providers, certificate resolvers, transports,
// logs, metrics, traces and the API. It is read once at start and never changes afterwards.
//
// The structs hold what was written. Package intake/decode fills them by reflection under the conventions of package
// dynamic (json tags, SetDefaults, the sluice tag). What follows from the written values by itself is computed by
// Effective; what is wrong with them is told by Validate; options of earlier versions that are gone are listed by
// Legacy. All of these are pure: no I/O, no clock, and no writing into their arguments.
package static
