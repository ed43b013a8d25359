package plan

import (
	"fmt"
	"math"
	"slices"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/route"
	"sluice/internal/core/rule"
	"sluice/internal/core/static"
)

// MaxUserPriority is the highest priority that a router of the configuration may have; those above are ours.
const MaxUserPriority = math.MaxInt - 1000

// Router is an HTTP router with its references resolved. A router on several entry points of which some add something of
// their own is split: each of those entry points gets a copy called ENTRYPOINT-NAME.
type Router struct {
	Node
	Config *dynamic.Router
	// EntryPoints are the existing entry points that it listens on; children have none.
	EntryPoints []string
	// Rule is nil when it cannot be read: the router is absent then.
	Rule     *rule.Rule
	Priority int
	// Middlewares are those of the entry point, then the router's own.
	Middlewares []*Middleware
	// Service is nil when it does not exist, and for routers with children.
	Service *Service
	// Children are the routers below this one, by falling precedence, and Table finds that of a request; both are nil for
	// others. Disabled ones among them refuse what they would have taken.
	Children []*Router
	Table    *route.HTTPTable
	// Parents are the routers that it names as those above it, every copy of a split one, whether they exist or not.
	Parents []Name
	// TLS is the router's own section or the entry point's; nil for routers in the clear.
	TLS *dynamic.RouterTLS
	// Options are the TLS options that connections for its hosts need; nil without TLS, or when they do not exist.
	Options *TLSOptions
	// Observability is the router's own, filled from the entry point.
	Observability dynamic.RouterObservability
	// Redirection marks a router that an entry point's http.redirections made.
	Redirection bool
	// Identity changes with everything that decides what the router does with a request it has got.
	Identity *Identity

	// asked are the options that were named, where Options are the default ones instead.
	asked  *TLSOptions
	parsed *parsed
	tie    string
	// reached tells that a child stands below a root.
	reached bool
	// order is what competition does to the children.
	order order
	// password is a middleware of the router, or of one below it, that asks for a password; nil where there is none.
	password *Middleware
	// redirect is the redirectRegex that requests come to first; nil where there is none.
	redirect *Middleware
}

// Routed reports whether the router takes part in routing on entry points. A disabled router that is routed refuses its requests.
func (r *Router) Routed() bool { return r.Rule != nil && len(r.EntryPoints) > 0 }

func (r *Router) identity() *Identity {
	if r == nil {
		return nil
	}
	return r.Identity
}

// family is what becomes of one router of the configuration: itself, and copies for entry points that add something.
type family struct{ nodes []*Router }

func (b *builder) buildRouters() {
	d := &b.routers
	d.dropIf(b.staleFamily)
	b.stackLayers()
	for _, at := range d.todo {
		b.family(at)
	}
	b.nameParents()
	byWritten := func(x, y *family) int { return compareElements(x.nodes[0], y.nodes[0]) }
	b.plan.layered = edited(b.base.layered, chosen(d.gone, (*family).layered), chosen(d.fresh(), (*family).layered), byWritten)
	b.plan.HTTP.Routers = edited(b.base.HTTP.Routers, members(d.gone), members(d.fresh()), compareElements)
}

func members(list []*family) (out []*Router) {
	for _, f := range list {
		out = append(out, f.nodes...)
	}
	return out
}

func (b *builder) staleFamily(f *family) bool {
	return slices.ContainsFunc(f.nodes, func(r *Router) bool {
		return r.unsettled || lost(&b.replaced, r.Service) || lost(&b.replaced, r.Middlewares...) || lost(&b.replaced, r.Options, r.asked)
	})
}

// router builds the node or, for a split router, the nodes of one entry.
func (b *builder) router(at int, e *entry[dynamic.Router]) *family {
	base := &Router{Node: e.start(), Config: e.config, Redirection: e.Name.Provider == Internal && b.redirections[e.Name.Local]}
	base.EntryPoints = b.entryPoints(&base.Node, e.config.EntryPoints, b.defaults, b.tcp)
	if len(base.EntryPoints) <= 1 {
		var model *model
		if len(base.EntryPoints) == 1 {
			model = b.models[base.EntryPoints[0]]
		}
		b.finish(at, base, model)
		return &family{[]*Router{base}}
	}
	f := &family{}
	var plain []string
	for _, ep := range base.EntryPoints {
		m := b.models[ep]
		if m == nil {
			plain = append(plain, ep)
			continue
		}
		split := *base
		split.Name.Local = ep + "-" + base.Name.Local
		split.EntryPoints = []string{ep}
		split.Findings = slices.Clone(base.Findings)
		b.finish(at, &split, m)
		f.nodes = append(f.nodes, &split)
	}
	if len(plain) > 0 {
		base.EntryPoints = plain
		b.finish(at, base, nil)
		f.nodes = append(f.nodes, base)
	}
	return f
}

// entryPoints checks a router's list against those that exist for its kind; an empty list stands for defaults. Unknown ones
// are left out.
func (b *builder) entryPoints(n *Node, refs, defaults, exist []string) []string {
	if len(refs) == 0 {
		return defaults
	}
	var out, unknown []string
	for _, ref := range refs {
		switch {
		case slices.Contains(out, ref):
		case b.static == nil || slices.Contains(exist, ref):
			out = append(out, ref)
		default:
			unknown = append(unknown, ref)
		}
	}
	for _, ref := range unknown {
		severity := diag.Warning
		if len(out) == 0 {
			severity = diag.Error
		}
		n.report(severity, CodeEntryPoint, fmt.Sprintf("entryPoint %q does not exist", ref), b.entryPointHint(ref, exist), "entryPoints")
	}
	slices.Sort(out)
	return out
}

// entryPointHint tells what is wrong with a name that no entry point of a router's kind has.
func (b *builder) entryPointHint(ref string, exist []string) string {
	ep := b.static.EntryPoints[ref]
	if ep == nil {
		return diag.DidYouMean(ref, exist)
	}
	if address, err := static.ParseAddress(ep.Address); err == nil && address.UDP {
		return "it takes UDP, which needs a router under udp"
	}
	return `it takes TCP: a UDP one has an address that ends in "/udp"`
}

// finish resolves everything but the entry points, and registers the node.
func (b *builder) finish(at int, r *Router, m *model) {
	was := b.previous.HTTP.Routers.counterpart(&r.Node)
	c := r.Config
	r.tie = b.tie(&r.Node)
	syntax := c.RuleSyntax
	if syntax == "" && !c.DefaultRule {
		syntax = b.defaultSyntax
	}
	if c.RuleSyntax != "" {
		r.report(diag.Info, CodeDeprecated, "ruleSyntax is deprecated", "write the rule in the v3 syntax", "ruleSyntax")
	}
	if was != nil {
		r.parsed = was.parsed
	}
	r.parsed = r.parsed.of(c.Rule, rule.SyntaxOf(syntax), rule.HTTP)
	r.Rule = r.parsed.rule
	r.parsed.report(&r.Node)
	r.Priority = b.priority(&r.Node, c.Priority, r.Rule)
	var middlewares []string
	if m != nil {
		middlewares = m.middlewares
	}
	r.Middlewares = b.references(&r.Node, append(slices.Clip(middlewares), c.Middlewares...), "middlewares")
	b.stack(at, r, was)
	if !r.Child() {
		r.TLS = c.TLS
	}
	if m != nil {
		if r.TLS == nil {
			r.TLS = m.tls
		}
		r.Observability = m.observability(c.Observability)
	} else if c.Observability != nil {
		r.Observability = *c.Observability
	}
	if r.TLS != nil {
		r.Options = b.routerOptions(&r.Node, r.TLS.Options)
		if r.Routed() && r.Options != nil && r.Options.Name != DefaultOptions && len(r.parsed.hosts) == 0 {
			r.report(diag.Warning, CodeTLSHostless, "the TLS options cannot apply, since the rule names no host: default options are used",
				"add Host(`...`) to the rule", "tls", "options")
			r.asked, r.Options = r.Options, b.plan.TLS.Options.Get(DefaultOptions)
		}
		b.resolver(&r.Node, r.TLS.CertResolver)
	}
	r.Identity = identify(b, was, was != nil && was.Status == r.Status && sameConfig(was.Config, c) &&
		sameNodes(was.Middlewares, r.Middlewares) && was.Service.identity() == r.Service.identity() && sameNodes(was.Children, r.Children) &&
		was.Redirection == r.Redirection && slices.Equal(was.EntryPoints, r.EntryPoints))
	b.lintRouter(r)
}

// parsed is a rule with the problems that reading it gave. It is kept from plan to plan, since reading rules is most of
// the work of a build.
type parsed struct {
	text     string
	syntax   rule.Syntax
	rule     *rule.Rule
	problems []rule.Problem
	// hosts are the names that the rule speaks for. clauses are its alternatives, for the lints.
	hosts   []string
	clauses []clause
}

// of returns p if it is the reading of text already, else a new reading. p may be nil.
func (p *parsed) of(text string, syntax rule.Syntax, layer rule.Layer) *parsed {
	if p != nil && p.text == text && p.syntax == syntax {
		return p
	}
	r, problems := rule.Parse(text, syntax, layer)
	if r == nil {
		return &parsed{text: text, syntax: syntax, problems: problems}
	}
	p = &parsed{text: text, syntax: syntax, rule: r, problems: append(problems, rule.Lint(r)...), clauses: clausesOf(r)}
	for _, h := range r.Hosts() {
		p.hosts = append(p.hosts, h.Name)
	}
	return p
}

func (p *parsed) report(n *Node) {
	for _, pr := range p.problems {
		if n.Name.Provider == Internal {
			continue // our own rules are what they are
		}
		n.report(pr.Severity, pr.Code, pr.Message+offsetNote(p.text, pr.Offset), pr.Hint, "rule")
	}
}

// offsetNote tells where in a rule a problem is, when it is not at the beginning.
func offsetNote(text string, offset int) string {
	if offset <= 0 || offset > len(text) {
		return ""
	}
	return fmt.Sprintf(", at character %d", len([]rune(text[:offset]))+1)
}

func (b *builder) priority(n *Node, configured int, r *rule.Rule) int {
	switch {
	case configured > MaxUserPriority && n.Name.Provider != Internal:
		n.report(diag.Error, CodePriority, fmt.Sprintf("the router priority %d exceeds the max user-defined priority %d", configured, MaxUserPriority), "", "priority")
		return MaxUserPriority
	case configured != 0 || r == nil:
		return configured
	default:
		return r.DefaultPriority()
	}
}

// routerOptions resolves the TLS options of a router; nil when they do not exist.
func (b *builder) routerOptions(n *Node, ref string) *TLSOptions {
	name := optionsName(ref, n.Name.Provider)
	o := b.plan.TLS.Options.Get(name)
	switch {
	case o == nil:
		message, hint := missing(b, n, "TLS options", name, &b.tlsOptions)
		n.report(diag.Error, CodeMissing, message, hint, "tls", "options")
	case o.Status == Disabled:
		n.report(diag.Error, CodeBrokenReference, fmt.Sprintf("the TLS options %q are disabled: %s", name.Local, firstReason(&o.Node)), "", "tls", "options")
	}
	return o
}

// resolver reports a certificate resolver that does not exist; the router serves all the same.
func (b *builder) resolver(n *Node, ref string) {
	if ref == "" || b.static == nil {
		return
	}
	if _, ok := b.static.CertificatesResolvers[ref]; !ok {
		var names []string
		for name := range b.static.CertificatesResolvers {
			names = append(names, name)
		}
		slices.Sort(names)
		n.remark(diag.Error, CodeResolver, fmt.Sprintf("router uses a nonexistent certificate resolver %q", ref),
			diag.DidYouMean(ref, names), "tls", "certResolver")
	}
}
