package middleware

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/wire/httpmsg"
)

// passTLSClientCert tells the server about the certificates of the client's connection. Whether they are any good is for
// the TLS options to say.
type passTLSClientCert struct {
	pem  bool
	info *dynamic.ClientCertInfo
	next httpmsg.Handler
}

func checkPassTLSClientCert(c *dynamic.Middleware) diag.List {
	var l diag.List
	if p := c.PassTLSClientCert; !p.PEM && (p.Info == nil || emptyInfo(p.Info)) {
		l.Add(Odd("passTLSClientCert", "nothing is selected, so the server is told nothing", "set pem, or fields of info"))
	}
	return l
}

func emptyInfo(i *dynamic.ClientCertInfo) bool {
	rest := *i
	rest.Subject, rest.Issuer = nil, nil
	return rest == (dynamic.ClientCertInfo{}) && (i.Subject == nil || *i.Subject == dynamic.ClientCertSubject{}) &&
		(i.Issuer == nil || *i.Issuer == dynamic.ClientCertIssuer{})
}

func buildPassTLSClientCert(c *dynamic.Middleware, _ Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	return &passTLSClientCert{pem: c.PassTLSClientCert.PEM, info: c.PassTLSClientCert.Info, next: next}, nil
}

var clientCertNames = Names{httpmsg.HdrXForwardedTLSClientCert.String(), httpmsg.HdrXForwardedTLSClientCertInfo.String()}

// Serve removes what the client says about certificates in any case: a server behind this middleware believes the fields,
// so they speak of this connection or are absent (FLD-08).
func (p *passTLSClientCert) Serve(x *httpmsg.Exchange) error {
	h := &x.Req.Header
	clientCertNames.Remove(h)
	if x.TLS == nil || len(x.TLS.PeerCertificates) == 0 {
		return p.next.Serve(x)
	}
	certs := x.TLS.PeerCertificates
	if p.pem {
		h.AddID(httpmsg.HdrXForwardedTLSClientCert, pemField(x, certs))
	}
	if p.info != nil {
		if v := infoField(certs, p.info); v != "" {
			h.AddID(httpmsg.HdrXForwardedTLSClientCertInfo, httpmsg.Text(v))
		}
	}
	return p.next.Serve(x)
}

// pemField is base64 without the armour and line ends of PEM, certificates separated by commas.
func pemField(x *httpmsg.Exchange, certs []*x509.Certificate) httpmsg.View {
	n := 0
	for _, c := range certs {
		n += base64.StdEncoding.EncodedLen(len(c.Raw)) + 1
	}
	v := x.Scratch(n)[:0]
	for i, c := range certs {
		if i > 0 {
			v = append(v, ',')
		}
		v = base64.StdEncoding.AppendEncode(v, c.Raw)
	}
	return v
}

// infoField is the selected fields of all certificates, escaped for a URL's query.
func infoField(certs []*x509.Certificate, sel *dynamic.ClientCertInfo) string {
	all := make([]string, 0, len(certs))
	for _, c := range certs {
		var f []string
		add := func(key, value string) {
			if value != "" {
				f = append(f, key+`="`+certValue.Replace(value)+`"`)
			}
		}
		if s := sel.Subject; s != nil {
			add("Subject", dnText(&c.Subject, *s))
		}
		if s := sel.Issuer; s != nil {
			add("Issuer", dnText(&c.Issuer, dynamic.ClientCertSubject{Country: s.Country, Province: s.Province, Locality: s.Locality,
				Organization: s.Organization, CommonName: s.CommonName, SerialNumber: s.SerialNumber, DomainComponent: s.DomainComponent}))
		}
		if sel.SerialNumber && c.SerialNumber != nil {
			add("SerialNumber", c.SerialNumber.String())
		}
		if sel.NotBefore {
			add("NB", strconv.FormatInt(c.NotBefore.Unix(), 10))
		}
		if sel.NotAfter {
			add("NA", strconv.FormatInt(c.NotAfter.Unix(), 10))
		}
		if sel.SANs {
			add("SAN", sanText(c))
		}
		if len(f) > 0 {
			all = append(all, strings.Join(f, ";"))
		}
	}
	return url.QueryEscape(strings.Join(all, ","))
}

// certValue keeps a name in a certificate from ending its quotes and adding fields of its own.
var certValue = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

var oidDomainComponent = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}

// dnText returns the selected parts of a name.
func dnText(n *pkix.Name, sel dynamic.ClientCertSubject) string {
	var parts []string
	add := func(on bool, key string, values ...string) {
		for _, v := range values {
			if on && v != "" {
				parts = append(parts, key+"="+v)
			}
		}
	}
	for _, a := range n.Names {
		if v, ok := a.Value.(string); ok && a.Type.Equal(oidDomainComponent) {
			add(sel.DomainComponent, "DC", v)
		}
	}
	add(sel.Country, "C", n.Country...)
	add(sel.Province, "ST", n.Province...)
	add(sel.Locality, "L", n.Locality...)
	add(sel.Organization, "O", n.Organization...)
	add(sel.OrganizationalUnit, "OU", n.OrganizationalUnit...)
	add(sel.SerialNumber, "SN", n.SerialNumber)
	add(sel.CommonName, "CN", n.CommonName)
	return strings.Join(parts, ",")
}

func sanText(c *x509.Certificate) string {
	names := append(append([]string{}, c.DNSNames...), c.EmailAddresses...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	return strings.Join(names, ",")
}
