package middleware

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"net"
	"net/url"
	"slices"
	"testing"
	"time"

	"sluice/internal/core/dynamic"
)

func clientCert() *x509.Certificate {
	u, _ := url.Parse("spiffe://a/b")
	name := pkix.Name{Country: []string{"FR", "US"}, Province: []string{"Some"}, Locality: []string{"Town"}, Organization: []string{"Org, Inc"},
		OrganizationalUnit: []string{"Unit"}, SerialNumber: "42", CommonName: `ann";Issuer="CN=root`,
		Names: []pkix.AttributeTypeAndValue{{Type: oidDomainComponent, Value: "org"}, {Type: oidDomainComponent, Value: "example"}}}
	issuer := name
	issuer.CommonName = "ca"
	return &x509.Certificate{Raw: []byte{0xfb, 0xff, 1, 2}, Subject: name, Issuer: issuer, SerialNumber: big.NewInt(1 << 40),
		NotBefore: time.Unix(1000, 0), NotAfter: time.Unix(2000, 0), DNSNames: []string{"a.test", "b.test"}, EmailAddresses: []string{"a@b.test"},
		IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1)}, URIs: []*url.URL{u}}
}

func TestPassTLSClientCert(t *testing.T) {
	all := &dynamic.ClientCertInfo{NotAfter: true, NotBefore: true, SANs: true, SerialNumber: true,
		Subject: &dynamic.ClientCertSubject{Country: true, Province: true, Locality: true, Organization: true, OrganizationalUnit: true,
			CommonName: true, SerialNumber: true, DomainComponent: true},
		Issuer: &dynamic.ClientCertIssuer{Country: true, Province: true, Locality: true, Organization: true, CommonName: true, SerialNumber: true, DomainComponent: true}}
	const dn = `DC=org,DC=example,C=FR,C=US,ST=Some,L=Town,O=Org, Inc`
	info := `Subject="` + dn + `,OU=Unit,SN=42,CN=ann\";Issuer=\"CN=root";Issuer="` + dn + `,SN=42,CN=ca";SerialNumber="1099511627776";NB="1000";NA="2000";SAN="a.test,b.test,a@b.test,10.0.0.1,spiffe://a/b"`
	cert := clientCert()
	raw := base64.StdEncoding.EncodeToString(cert.Raw)
	forged := []string{"X-Forwarded-Tls-Client-Cert: forged", "x_forwarded_tls_client_cert-info: forged", "X-FORWARDED-TLS-CLIENT-CERT-INFO: forged"}
	for _, c := range []struct {
		name  string
		p     dynamic.PassTLSClientCert
		certs []*x509.Certificate
		want  []string
	}{
		{"pem", dynamic.PassTLSClientCert{PEM: true}, []*x509.Certificate{cert}, []string{"X-Forwarded-Tls-Client-Cert: " + raw}},
		{"pem of a chain", dynamic.PassTLSClientCert{PEM: true}, []*x509.Certificate{cert, cert}, []string{"X-Forwarded-Tls-Client-Cert: " + raw + "," + raw}},
		{"info", dynamic.PassTLSClientCert{Info: all}, []*x509.Certificate{cert}, []string{"X-Forwarded-Tls-Client-Cert-Info: " + url.QueryEscape(info)}},
		{"info of a chain", dynamic.PassTLSClientCert{Info: &dynamic.ClientCertInfo{NotAfter: true}}, []*x509.Certificate{cert, cert},
			[]string{"X-Forwarded-Tls-Client-Cert-Info: " + url.QueryEscape(`NA="2000",NA="2000"`)}},
		{"nothing in the certificate", dynamic.PassTLSClientCert{Info: &dynamic.ClientCertInfo{SANs: true}}, []*x509.Certificate{{}}, nil},
		{"FLD-08 no certificate", dynamic.PassTLSClientCert{PEM: true, Info: all}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := &origin{}
			h := build(t, Env{}, o, &dynamic.Middleware{PassTLSClientCert: &c.p})
			x := ask{tls: true, fields: forged}.exchange(t)
			x.TLS = &tls.ConnectionState{PeerCertificates: c.certs}
			finish(x, h)
			if !slices.Equal(o.fields, c.want) {
				t.Errorf("got\n%q, want\n%q", o.fields, c.want)
			}
			o.fields = nil
			if serve(t, h, ask{fields: forged}); o.fields != nil {
				t.Errorf("FLD-08 in the clear: got %q", o.fields)
			}
		})
	}
	empty := &dynamic.Middleware{PassTLSClientCert: &dynamic.PassTLSClientCert{Info: &dynamic.ClientCertInfo{Subject: &dynamic.ClientCertSubject{}}}}
	if l := checkPassTLSClientCert(empty); len(l) != 1 || Refusal(l) != nil {
		t.Errorf("got %v", l)
	}
}
