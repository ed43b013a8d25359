package plan

import (
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
	Options map[Name]*TLSOptions
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

func (b *builder) buildTLS() {
	all := collect(b, "tls.options", func(c *dynamic.Config) map[string]*dynamic.TLSOptions {
		if c.TLS == nil {
			return nil
		}
		return c.TLS.Options
	})
	b.tlsOptions = elements[dynamic.TLSOptions]{}
	for _, name := range all.names() {
		e := all[name]
		if name.Local != dynamic.DefaultName {
			b.tlsOptions[name] = e
			continue
		}
		e.Name = DefaultOptions
		if first, taken := b.tlsOptions[DefaultOptions]; taken {
			// Either could be the weaker one: nobody can say which was meant, so connections on default are refused.
			first.report(diag.Error, CodeDuplicate, "the options called default are defined by two providers", "keep one of the definitions")
			b.findings = append(b.findings, diag.Finding{Place: e.Place(), Severity: diag.Error, Key: e.Key(), Code: CodeDuplicate,
				Message: "the options called default are defined by two providers", Hint: "keep one of the definitions"})
			continue
		}
		b.tlsOptions[DefaultOptions] = e
	}
	if _, ok := b.tlsOptions[DefaultOptions]; !ok {
		b.tlsOptions[DefaultOptions] = &entry[dynamic.TLSOptions]{
			Node: Node{Name: DefaultOptions, Kind: "tls.options", written: dynamic.DefaultName}, config: dynamic.BuiltinTLSOptions()}
	}
	for _, name := range b.tlsOptions.names() {
		e := b.tlsOptions[name]
		o := &TLSOptions{Node: e.Node, Config: e.config}
		checkTLSOptions(o)
		was := b.previous.TLS.Options[name]
		if was == nil {
			o.Identity = b.identify(nil, false)
		} else {
			o.Identity = b.identify(was.Identity, was.Status == o.Status && sameConfig(was.Config, o.Config))
		}
		b.plan.TLS.Options[name] = o
	}
	b.certificates()
	b.stores()
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
	for _, s := range b.snapshots {
		for _, f := range s.Fragments {
			if f.Config.TLS == nil {
				continue
			}
			for i, c := range f.Config.TLS.Certificates {
				n := Node{Name: Name{fmt.Sprintf("%s[%d]", f.Name, i), s.Provider}, Kind: "tls.certificates", source: f, written: fmt.Sprint(i)}
				n.broken()
				if n.Status != Disabled {
					b.plan.TLS.Certificates = append(b.plan.TLS.Certificates, &Certificate{Node: n, Config: c})
				}
			}
		}
	}
}

func (b *builder) stores() {
	all := collect(b, "tls.stores", func(c *dynamic.Config) map[string]*dynamic.TLSStore {
		if c.TLS == nil {
			return nil
		}
		return c.TLS.Stores
	})
	for _, name := range all.names() {
		e := all[name]
		switch {
		case name.Local != dynamic.DefaultName:
			e.report(diag.Warning, CodeBadName, "only the store called default is used", "move its content to tls.stores.default")
			b.findings = append(b.findings, e.Findings...)
		case b.plan.TLS.Default != nil:
			b.findings = append(b.findings, diag.Finding{Place: e.Place(), Severity: diag.Error, Key: e.Key(), Code: CodeDuplicate,
				Message: "the store called default is defined by two providers; this definition has no effect", Hint: "keep one of the definitions"})
		default:
			b.plan.TLS.Default = &Store{Node: e.Node, Config: e.config}
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
