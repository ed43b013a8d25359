package static

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/url"
	"strings"

	"sluice/internal/core/diag"
)

// checkACMEDetails looks at values of a resolver that would fail at the CA only, when the first certificate is wanted.
func (v *validation) checkACMEDetails(p keyPath, a *ACME) {
	if server := effectiveACME(a).CAServer; !isHTTPS(server) {
		v.warn(p.at("caServer"), CodeBadValue, fmt.Sprintf("%q is not an https URL: no certificate is got", server), "")
	}
	if e := a.EAB; e != nil {
		if e.KID == "" || e.HMACEncoded.IsZero() {
			v.warn(p.at("eab"), CodeMissing, "kid and hmacEncoded go together: the account cannot be registered", "")
		} else if _, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(e.HMACEncoded.Reveal(), "=")); err != nil {
			v.warn(p.at("eab", "hmacEncoded"), CodeBadValue, "it is not base64url: the account cannot be registered", "copy it from the CA as it is")
		}
	}
	if a.Email != "" && (strings.Count(a.Email, "@") != 1 || strings.ContainsAny(a.Email, " \t,;<>")) {
		v.warn(p.at("email"), CodeBadValue, fmt.Sprintf("%q is not one address: CAs refuse it", a.Email), "")
	}
	if d := a.DNSChallenge; d != nil {
		for i, server := range d.Resolvers {
			if host, _, err := net.SplitHostPort(server); err == nil && host == "" || strings.ContainsAny(server, " /") {
				v.warn(p.at("dnsChallenge", "resolvers", fmt.Sprint(i)), CodeBadValue, fmt.Sprintf("%q is not host:port", server), "such as 1.1.1.1:53")
			}
		}
	}
	if o := a.OnDemand; o != nil && o.Ask != "" {
		if u, err := url.Parse(o.Ask); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			v.err(p.at("onDemand", "ask"), CodeBadValue, fmt.Sprintf("%q is not the URL of an http server", o.Ask), "")
		}
		if a.HTTPChallenge == nil && a.TLSChallenge == nil && a.DNSChallenge == nil {
			v.add(diag.Warning, p.at("onDemand"), CodeMissing, "without a challenge nothing is issued", "")
		}
	}
}

func isHTTPS(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "https" && u.Host != ""
}
