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
}

// Change returns hosts without the names of gone and with those of set, which may be there already; h stays as it is, and
// what did not change is shared with it. h may be nil.
func (h *HTTPSHosts) Change(gone []string, set []HTTPSHost) *HTTPSHosts {
	if h == nil {
		h = &HTTPSHosts{}
	}
	out := *h
	exact, wild := h.exact.edit(), h.wild.edit()
	if h.Len() == 0 {
		n := 0
		for _, host := range set {
			if strings.HasPrefix(host.Name, "*.") {
				n++
			}
		}
		exact.reserve(len(set) - n)
		wild.reserve(n)
	}
	for _, name := range gone {
		if name == "*" {
			out.hasCatchAll, out.catchAll = false, 0
		} else if after, ok := strings.CutPrefix(name, "*."); ok {
			wild.remove(after)
		} else {
			exact.remove(name)
		}
	}
	for _, host := range set {
		if host.Name == "*" {
			out.hasCatchAll, out.catchAll = true, host.Options
		} else if after, ok := strings.CutPrefix(host.Name, "*."); ok {
			wild.slot(after, true).value = host.Options
		} else {
			exact.slot(host.Name, true).value = host.Options
		}
	}
	out.exact, out.wild = exact.table, wild.table
	return &out
}

// Len returns the number of names.
func (h *HTTPSHosts) Len() int {
	if h == nil {
		return 0
	}
	n := h.exact.n + h.wild.n
	if h.hasCatchAll {
		n++
	}
	return n
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
