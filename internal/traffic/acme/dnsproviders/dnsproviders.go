// Package dnsproviders knows the DNS providers by which dns-01 challenges are answered, under the codes and aliases that
// Traefik's users have in dnsChallenge.provider. They are lego's packages, and take their credentials from the same
// environment variables. A provider is made when its first challenge comes, so that what it reads then costs nobody else
// anything.
//
// Google's is added by the build tag gcloud. Left out are providers whose packages bring a large vendor SDK along, or one that cannot be had; for those, exec and httpreq call a program or a
// server of one's own.
package dnsproviders

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-acme/lego/v5/challenge"

	"sluice/internal/core/diag"
)

// row is one provider.
type row struct {
	code string
	make func() (challenge.Provider, error)
}

// from turns the constructor of a provider into one of any.
func from[P challenge.Provider](make func() (P, error)) func() (challenge.Provider, error) {
	return func() (challenge.Provider, error) { return make() }
}

// left names the providers that lego has and we leave out, to say so.
var left = strings.Fields(`
alidns aliesa azion azuredns baiducloud bindman desec designate dnsimple edgedns edgeone exoscale fastdns
huaweicloud ibmcloud iijdpf jdcloud lightsail linode linodev4 myra oraclecloud regfish sakuracloud selectelv2
tencentcloud ucloud ultradns vkcloud volcengine yandexcloud
`)

// Builder returns what makes the provider of a code. The function fails for a code that is not known, and where variables of
// the environment are missing.
func Builder(code string) func() (challenge.Provider, error) {
	return func() (challenge.Provider, error) {
		rows := table()
		if i := slices.IndexFunc(rows, func(r row) bool { return r.code == code }); i >= 0 {
			return rows[i].make()
		}
		return nil, unknown(code)
	}
}

// Check says why a code cannot be used; nil where it can. It looks at no credentials.
func Check(code string) error {
	if slices.Contains(Codes(), code) {
		return nil
	}
	return unknown(code)
}

func unknown(code string) error {
	if code == "gcloud" {
		return errors.New("the DNS provider gcloud is not part of this build: build with -tags gcloud")
	}
	if slices.Contains(left, code) {
		return fmt.Errorf("the DNS provider %s is not part of this build, as it needs its vendor's SDK; exec or httpreq can stand in", code)
	}
	text := fmt.Sprintf("there is no DNS provider called %q", code)
	if hint := diag.DidYouMean(code, Codes()); hint != "" {
		text += " (" + hint + ")"
	}
	return errors.New(text)
}

// Codes returns all codes, in order.
func Codes() []string {
	var out []string
	for _, r := range table() {
		out = append(out, r.code)
	}
	slices.Sort(out)
	return out
}
