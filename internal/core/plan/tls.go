package plan

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// TLSOptions are named demands on connections that we terminate.
type TLSOptions struct {
	Node
	Config *dynamic.TLSOptions
	// Identity changes with the content.
	Identity *Identity
}

func (o *TLSOptions) identity() *Identity {
	if o == nil {
		return nil
	}
	return o.Identity
}

// Certificate is a certificate of the configuration, with its origin for findings.
type Certificate struct {
	// Node is named by the position in the fragment.
	Node
	Config *dynamic.Certificate
}

// Store is the certificate store called default.
type Store struct {
	Node
	Config *dynamic.TLSStore
}

// TLS is the part of a plan about terminated connections.
type TLS struct {
	// Options by name. The one called default has no provider in its name and always exists.
	Options Set[*TLSOptions]
	// Certificates in the order of providers and fragments.
	Certificates []*Certificate
	// Default is the default store; nil when nobody defines it.
	Default *Store
}

// DefaultOptions is the name of the TLS options of routers that name none. It is never qualified.
var DefaultOptions = Name{Local: dynamic.DefaultName}

// optionsName resolves a reference to TLS options.
func optionsName(ref, provider string) Name {
	if ref == "" || ref == dynamic.DefaultName {
		return DefaultOptions
	}
	return Resolve(ref, provider)
}

const kindTLSOptions = "tls.options"

// buildTLS builds the TLS options, and takes stock of certificates and stores where a fragment that has some came or went.
func (b *builder) buildTLS() {
	if at, ok := b.tlsOptions.find(DefaultOptions); !ok {
		b.tlsOptions.insert(at, &entry[dynamic.TLSOptions]{Node: Node{Name: DefaultOptions, Kind: kindTLSOptions, written: dynamic.DefaultName},
			config: dynamic.BuiltinTLSOptions()})
	}
	for _, at := range b.tlsOptions.todo {
		e := b.tlsOptions.entries[at]
		o := &TLSOptions{Node: e.start(), Config: e.config}
		checkTLSOptions(o)
		was := b.previous.TLS.Options.Get(e.Name)
		o.Identity = identify(b, was, was != nil && was.Status == o.Status && sameConfig(was.Config, o.Config))
		b.tlsOptions.nodes[at] = o
	}
	b.plan.TLS = b.base.TLS
	b.plan.TLS.Options = b.tlsOptions.nodes
	b.plan.loose = b.base.loose
	hasTLS := func(s source) bool { return s.fragment.Config.TLS != nil }
	if b.base.sources == nil || slices.ContainsFunc(b.gone, hasTLS) || slices.ContainsFunc(b.fresh, hasTLS) {
		b.plan.TLS.Certificates, b.plan.TLS.Default, b.plan.loose = nil, nil, b.loopingRedirections()
		b.certificates()
		b.stores()
	}
	replace(b, b.tlsOptions.gone)
}

// checkTLSOptions disables options that cannot be honoured, so that their connections are refused, not weakened.
func checkTLSOptions(o *TLSOptions) {
	c := o.Config
	versions := dynamic.TLSVersions()
	low, high := slices.Index(versions, c.MinVersion), slices.Index(versions, c.MaxVersion)
	known(o, "TLS version", []string{c.MinVersion}, versions, "minVersion")
	known(o, "TLS version", []string{c.MaxVersion}, versions, "maxVersion")
	known(o, "cipher suite", c.CipherSuites, dynamic.CipherSuites(), "cipherSuites")
	known(o, "curve", c.CurvePreferences, dynamic.Curves(), "curvePreferences")
	if high >= 0 && high < low {
		o.report(diag.Error, CodeBadValue, "maxVersion is below minVersion", "", "maxVersion")
	}
	if a := c.ClientAuth; a != nil {
		known(o, "clientAuthType", []string{a.ClientAuthType}, dynamic.ClientAuthTypes(), "clientAuth", "clientAuthType")
		needsCAs := a.ClientAuthType == dynamic.ClientAuthVerifyIfGiven || a.ClientAuthType == dynamic.ClientAuthRequireAndVerify
		if needsCAs && len(a.CAFiles) == 0 {
			o.report(diag.Error, CodeBadValue, "clientAuthType "+a.ClientAuthType+" needs caFiles", "", "clientAuth", "caFiles")
		}
	}
}

// known reports each non-empty value that is not among those allowed.
func known(o *TLSOptions, what string, values, allowed []string, field ...string) {
	for _, v := range values {
		if v != "" && !slices.Contains(allowed, v) {
			o.report(diag.Error, CodeBadValue, fmt.Sprintf("unknown %s %q", what, v), diag.DidYouMean(v, allowed), field...)
		}
	}
}

func (b *builder) certificates() {
	for _, s := range b.sources {
		if s.fragment.Config.TLS == nil {
			continue
		}
		for i, c := range s.fragment.Config.TLS.Certificates {
			n := Node{Name: Name{fmt.Sprintf("%s[%d]", s.fragment.Name, i), s.provider}, Kind: "tls.certificates", source: s.fragment, written: fmt.Sprint(i)}
			n.broken()
			if n.Status != Disabled {
				b.plan.TLS.Certificates = append(b.plan.TLS.Certificates, &Certificate{Node: n, Config: c})
			}
		}
	}
}

func (b *builder) stores() {
	var stores draft[dynamic.TLSStore, *Store]
	all := *b
	all.gone, all.fresh = nil, b.sources
	collect(&all, &stores, nil, nil, "tls.stores", func(c *dynamic.Config) map[string]*dynamic.TLSStore { return cmp.Or(c.TLS, &dynamic.TLS{}).Stores })
	for _, e := range stores.entries {
		n := e.start()
		b.plan.loose = append(b.plan.loose, e.beside...)
		switch {
		case e.Name.Local != dynamic.DefaultName:
			n.report(diag.Warning, CodeBadName, "only the store called default is used", "move its content to tls.stores.default")
			b.plan.loose = append(b.plan.loose, n.Findings[n.inherited:]...)
		case b.plan.TLS.Default != nil:
			b.plan.loose.Add(n.finding(diag.Error, CodeDuplicate, "the store called default is defined by two providers; this definition has no effect", "keep one of the definitions"))
		default:
			b.plan.TLS.Default = &Store{Node: n, Config: e.config}
		}
	}
}

// stricter returns options for a name that routers with different options claim: the default ones, but with the
// strongest demand on client certificates and with sniStrict where any of them has it, so that a conflict never opens
// what one author had closed. ok is false when two of them trust different authorities: no demand is the stricter one
// then, and the name's connections are refused.
func stricter(base *dynamic.TLSOptions, claims []*dynamic.TLSOptions) (merged *dynamic.TLSOptions, ok bool) {
	out := *base
	for _, c := range claims {
		out.SNIStrict = out.SNIStrict || c.SNIStrict
		if verifies(out.ClientAuth) && verifies(c.ClientAuth) && !reflect.DeepEqual(out.ClientAuth.CAFiles, c.ClientAuth.CAFiles) {
			return nil, false
		}
		if authRank(c.ClientAuth) > authRank(out.ClientAuth) {
			out.ClientAuth = c.ClientAuth
		}
	}
	return &out, true
}

// verifies reports whether client certificates are checked against authorities.
func verifies(a *dynamic.ClientAuth) bool {
	return authRank(a) >= slices.Index(dynamic.ClientAuthTypes(), dynamic.ClientAuthVerifyIfGiven)
}

// authRank orders demands on client certificates from none upwards.
func authRank(a *dynamic.ClientAuth) int {
	if a == nil {
		return 0
	}
	kind := a.ClientAuthType
	if kind == "" && len(a.CAFiles) > 0 {
		kind = dynamic.ClientAuthRequireAndVerify
	}
	return max(slices.Index(dynamic.ClientAuthTypes(), kind), 0)
}
