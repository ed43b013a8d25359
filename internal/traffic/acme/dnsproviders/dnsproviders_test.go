package dnsproviders

import (
	"slices"
	"strings"
	"testing"
)

func TestCodes(t *testing.T) {
	codes := Codes()
	if n := len(slices.Compact(slices.Clone(codes))); n != len(codes) {
		t.Errorf("%d codes, %d different", len(codes), n)
	}
	for _, want := range strings.Fields(`cloudflare digitalocean duckdns exec hetzner httpreq godaddy namecheap netcup rfc2136 acme-dns manual route53 ovh
		porkbun acmedns dnsupdate inwx namesilo namedotcom ns1 scaleway transip vultr bunny auroradns freemyip mailinabox metaname nodion
		vegadns infoblox domainnameshop webnames ionos gandiv5 pdns`) {
		if err := Check(want); err != nil {
			t.Error(err)
		}
	}
	for _, l := range left {
		if slices.Contains(codes, l) {
			t.Errorf("%s is there and said to be left out", l)
		}
	}
}

func TestUnknown(t *testing.T) {
	for code, want := range map[string]string{"cloudflair": "cloudflare", "azuredns": "not part of this build", "": "no DNS provider"} {
		_, err := Builder(code)()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", code, err)
		}
		if err := Check(code); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", code, err)
		}
	}
}

// TestLazy: knowing the providers needs no credentials, making one does, and says which.
func TestLazy(t *testing.T) {
	_, err := Builder("digitalocean")()
	if err == nil || !strings.Contains(err.Error(), "DO_AUTH_TOKEN") {
		t.Errorf("got %v", err)
	}
	t.Setenv("DO_AUTH_TOKEN", "x")
	if p, err := Builder("digitalocean")(); err != nil || p == nil {
		t.Errorf("got %v, %v", p, err)
	}
}
