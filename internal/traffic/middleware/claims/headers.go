package claims

import (
	"fmt"
	"maps"
	"slices"

	"sluice/internal/core/diag"
	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/httpmsg"
)

// Headers are the request headers that tell a server about claims, as forwardHeaders says. Immutable; nil has none.
type Headers struct {
	names middleware.Names
	paths []Path
}

// CheckHeaders reports what NewHeaders would refuse; key is the path of the option below the middleware.
func CheckHeaders(key string, option map[string]string) diag.List {
	var l diag.List
	for _, name := range slices.Sorted(maps.Keys(option)) {
		if !middleware.Settable(name) {
			l.Add(middleware.Bad(key+"."+name, fmt.Sprintf("%q is no name of a header that can be set", name), ""))
		} else if _, err := ParsePath(option[name]); err != nil {
			l.Add(middleware.Bad(key+"."+name, err.Error(), "write the name of a claim, or names with dots between them"))
		}
	}
	return l
}

// NewHeaders builds the headers of an option: names with the claim that each takes.
func NewHeaders(option map[string]string) (*Headers, error) {
	if err := middleware.Refusal(CheckHeaders("forwardHeaders", option)); err != nil {
		return nil, err
	}
	h := &Headers{}
	for _, name := range slices.Sorted(maps.Keys(option)) {
		p, err := ParsePath(option[name])
		if err != nil {
			return nil, fmt.Errorf("forwardHeaders.%s: %w", name, err)
		}
		h.names, h.paths = append(h.names, name), append(h.paths, p)
	}
	return h, nil
}

// Clear removes the client's copies in every spelling. It comes before anything is decided (FLD-08).
func (h *Headers) Clear(x *httpmsg.Exchange) {
	if len(h.names) > 0 {
		h.names.Remove(&x.Req.Header)
	}
}

// Set adds the headers. One whose claim is absent is empty.
func (h *Headers) Set(x *httpmsg.Exchange, s Source) {
	for i, name := range h.names {
		v, _ := s.Find(h.paths[i])
		x.Req.Header.Add(name, Text(v))
	}
}
