package route

import "strings"

// HTTPSHost binds a name to TLS options.
type HTTPSHost struct {
	// Name is canonical: an exact name, a wildcard of one label such as "*.example.com", or "*" for the catch-all, which
	// every TLS router without a literal host stands for.
	Name string
	// Options is the caller's index of the options, or RefuseTLS.
	Options int
}

// RefuseTLS as options closes the connections that ask for the name, because its options cannot be had.
const RefuseTLS = -1

// HTTPSHosts tells the TLS options of an HTTPS connection by its server name: those of the exact name, else of the
// wildcard, else of the catch-all. It is immutable; a nil one is empty.
type HTTPSHosts struct {
	exact, wild names[int]
	catchAll    int
	hasCatchAll bool
	distinct    int
}

// CompileHTTPS compiles a list of hosts in any order. Of several entries for one name the first counts. prev (or nil) is
// shared where it has the same hosts.
func CompileHTTPS(prev *HTTPSHosts, hosts []HTTPSHost) *HTTPSHosts {
	from := &HTTPSHosts{}
	if prev != nil && prev.within(hosts) {
		from = prev
	}
	h := &HTTPSHosts{}
	exact, wild := from.exact.edit(), from.wild.edit()
	if from != prev {
		n := 0
		for _, host := range hosts {
			if strings.HasPrefix(host.Name, "*.") {
				n++
			}
		}
		exact.reserve(len(hosts) - n)
		wild.reserve(n)
	}
	for _, host := range hosts {
		if host.Name == "*" {
			if !h.hasCatchAll {
				h.hasCatchAll, h.catchAll = true, host.Options
			}
			continue
		}
		e, name := exact, host.Name
		if after, ok := strings.CutPrefix(name, "*."); ok {
			e, name = wild, after
		}
		if e.table.find(name) == nil {
			e.slot(name, true).value = host.Options
		}
	}
	h.exact, h.wild = exact.table, wild.table
	h.distinct = h.exact.n + h.wild.n
	if h.hasCatchAll {
		h.distinct++
	}
	return h
}

// within reports whether every name of h is in hosts with the same options, so that hosts only adds to h.
func (h *HTTPSHosts) within(hosts []HTTPSHost) bool {
	seen := make(map[string]bool, h.Len())
	for _, host := range hosts {
		if seen[host.Name] {
			continue
		}
		options, ok := h.get(host.Name)
		if !ok {
			continue
		}
		if options != host.Options {
			return false
		}
		seen[host.Name] = true
	}
	return len(seen) == h.Len()
}

// get returns the options bound to a name as written, wildcards included.
func (h *HTTPSHosts) get(name string) (int, bool) {
	if name == "*" {
		return h.catchAll, h.hasCatchAll
	}
	table := &h.exact
	if after, ok := strings.CutPrefix(name, "*."); ok {
		table, name = &h.wild, after
	}
	if s := table.find(name); s != nil {
		return s.value, true
	}
	return 0, false
}

// Len returns the number of names.
func (h *HTTPSHosts) Len() int {
	if h == nil {
		return 0
	}
	return h.distinct
}

// Lookup returns the options for a canonical server name, and whether a host other than the catch-all decided; ok is false
// where nothing does.
func (h *HTTPSHosts) Lookup(name string) (options int, specific, ok bool) {
	if h == nil {
		return 0, false, false
	}
	if s := h.exact.find(name); s != nil && name != "" {
		return s.value, true, true
	}
	if after, has := afterLabel(name); has {
		if s := h.wild.find(after); s != nil {
			return s.value, true, true
		}
	}
	return h.catchAll, false, h.hasCatchAll
}
