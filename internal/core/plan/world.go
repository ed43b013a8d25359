package plan

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
)

// world is what follows from the static side alone. It is made once for a static configuration.
type world struct {
	static *static.Config
	// own holds the elements that Sluice makes itself, redirections the routers among them that redirect a whole entry
	// point; own is nil without a static side.
	own          *dynamic.Fragment
	redirections map[string]bool
	models       map[string]*model
	// defaults are the entry points of routers that name none; tcp and udp are all of either kind.
	defaults, tcp, udp []string
	// redirected are the priorities of those redirections, by entry point.
	redirected map[string]int
	// listens are the addresses of TCP entry points, by name. Those whose port the system picks are left out.
	listens map[string]static.Address
	// providers are the configured ones, in lower case.
	providers     []string
	defaultSyntax string
	precedence    []string
}

func newWorld(s *static.Config) *world {
	w := &world{static: s, precedence: static.ProviderNames()}
	if s == nil {
		return w
	}
	w.own, w.redirections = internalFragment(s)
	w.models = models(s)
	w.defaults = static.DefaultEntryPoints(s.EntryPoints)
	w.udp = static.UDPEntryPoints(s.EntryPoints)
	w.redirected, w.listens = map[string]int{}, map[string]static.Address{}
	for _, name := range slices.Sorted(maps.Keys(s.EntryPoints)) {
		if slices.Contains(w.udp, name) {
			continue
		}
		w.tcp = append(w.tcp, name)
		if a, err := static.ParseAddress(s.EntryPoints[name].Address); err == nil && a.Port != 0 {
			w.listens[name] = a
		}
	}
	for name := range w.redirections {
		r := w.own.Config.HTTP.Routers[name]
		w.redirected[r.EntryPoints[0]] = r.Priority
	}
	if p := s.Providers; p != nil {
		if len(p.Precedence) > 0 {
			w.precedence = p.Precedence
		}
		v := reflect.ValueOf(*p)
		for i := range v.NumField() {
			f := v.Field(i)
			if k := f.Kind(); (k == reflect.Pointer || k == reflect.Map) && !f.IsNil() {
				w.providers = append(w.providers, strings.ToLower(v.Type().Field(i).Name))
			}
		}
	}
	if s.Core != nil {
		w.defaultSyntax = s.Core.DefaultRuleSyntax
	}
	return w
}

// config returns the static configuration of an entry point; nil without a static side.
func (w *world) config(entryPoint string) *static.EntryPoint {
	if w.static == nil {
		return nil
	}
	return w.static.EntryPoints[entryPoint]
}
