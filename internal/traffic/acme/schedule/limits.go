package schedule

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"sluice/internal/traffic/acme/storage"
)

// Limits are how much of a CA's patience we use. Zero rates are without limit.
type Limits struct {
	// Orders are new orders per account; Certificates those per registered domain; Sets certificates with the same names;
	// Failures failed validations per name.
	Orders, Certificates, Sets, Failures Rate
}

const (
	hour = time.Hour
	week = 7 * 24 * time.Hour
)

// letsEncrypt stays below what Let's Encrypt publishes: 300 orders in 3 hours, 50 certificates per registered domain and 5
// for the same names in a week, 5 failed validations per name in an hour. Other public CAs have looser limits, or tell none.
var letsEncrypt = Limits{
	Orders: Rate{250, 3 * hour}, Certificates: Rate{45, week}, Sets: Rate{4, week}, Failures: Rate{4, hour},
}

// publicDomains are the domains that directories of public CAs stand under.
var publicDomains = []string{
	"letsencrypt.org", "zerossl.com", "pki.goog", "goog", "buypass.com", "buypass.no", "ssl.com", "sectigo.com", "digicert.com",
	"globalsign.com", "actalis.com", "entrust.net", "google.com", "googleapis.com",
}

// Public reports whether a directory is that of a public CA. For others no budget is kept, and names are not looked at.
func Public(directory string) bool {
	u, err := url.Parse(directory)
	if err != nil {
		return false
	}
	host := strings.ToLower(u.Hostname())
	return slices.ContainsFunc(publicDomains, func(d string) bool { return host == d || strings.HasSuffix(host, "."+d) })
}

// LimitsOf returns the limits that are kept with a CA.
func LimitsOf(directory string) Limits {
	if Public(directory) {
		return letsEncrypt
	}
	return Limits{}
}

// Registered returns the registered domain of a name, which limits count by: example.co.uk for www.example.co.uk. An
// address, or a name without one, counts by itself.
func Registered(name string) string {
	name = strings.TrimPrefix(name, "*.")
	if _, err := netip.ParseAddr(name); err == nil {
		return name
	}
	if d, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
		return d
	}
	return name
}

// special are the endings of names that no public CA issues for (RFC 6761, RFC 6762, RFC 7686, RFC 8375, RFC 9476 and the
// reserved .internal).
var special = strings.Fields("localhost local test invalid example onion alt internal home.arpa lan home corp intranet private")

// CheckPublic says why no public CA will issue for a name; nil where it may.
func CheckPublic(name string) error {
	host := strings.TrimPrefix(name, "*.")
	if a, err := netip.ParseAddr(host); err == nil {
		if !a.IsGlobalUnicast() || a.IsPrivate() || shared.Contains(a) {
			return fmt.Errorf("%s is not a public address", name)
		}
		return nil
	}
	for _, s := range special {
		if host == s || strings.HasSuffix(host, "."+s) {
			return fmt.Errorf("names under .%s are not public", s)
		}
	}
	if !strings.Contains(host, ".") {
		return fmt.Errorf("%q is not a full name", name)
	}
	if suffix, icann := publicsuffix.PublicSuffix(host); !icann && !strings.Contains(suffix, ".") {
		return fmt.Errorf(".%s is not a public ending of names", suffix)
	}
	return nil
}

// shared is the address space between providers and customers (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

// Reason is why an order waits.
type Reason struct {
	// Until is when it need not wait any more; zero when nothing stands in its way.
	Until time.Time
	// Text tells what is spent.
	Text string
}

// Allow says whether names may be ordered now. A renewal of the same names counts for fewer limits, as CAs have it.
func (l Limits) Allow(s *storage.Spent, names []string, renewal bool, now time.Time) Reason {
	var worst Reason
	check := func(r Rate, times []time.Time, what string) {
		if until := r.wait(times, now); until.After(now) && until.After(worst.Until) {
			worst = Reason{until, fmt.Sprintf("our budget of %s is spent: %s", what, r)}
		}
	}
	check(l.Orders, s.Orders, "orders of this account")
	check(l.Sets, s.Sets[storage.ID(names)], "certificates for the same names")
	for _, n := range names {
		check(l.Failures, s.Failures[n], "failed validations of "+n)
	}
	if renewal {
		return worst
	}
	for _, d := range domains(names) {
		check(l.Certificates, s.Certificates[d], "certificates for "+d)
		if until := now.Add(underWay); worst.Until.Before(until) && !l.room(s, d, storage.ID(names), now) {
			worst = Reason{until, fmt.Sprintf("orders under way may spend our budget of certificates for %s: %s", d, l.Certificates)}
		}
	}
	return worst
}

// Orders under way hold a part of the budget until they end, or for reserved where nobody says so. Others that need it
// look again after underWay.
const (
	underWay = 10 * time.Minute
	reserved = 24 * time.Hour
)

// room reports whether the certificates of a domain, and the orders under way other than that for id, leave room for one.
func (l Limits) room(s *storage.Spent, domain, id string, now time.Time) bool {
	if l.Certificates.N <= 0 {
		return true
	}
	n := len(within(s.Certificates[domain], now, l.Certificates.Window))
	for other, r := range s.Reserved {
		if other != id && now.Sub(r.At) < reserved && slices.Contains(r.Domains, domain) {
			n++
		}
	}
	return n < l.Certificates.N
}

// domains are the registered domains of names, each once.
func domains(names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, Registered(n))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Ordered, Issued and Failed count what happened and forget what no limit counts any more. An order that is no renewal
// reserves what its certificate will count for, until Issued or Released.
func (l Limits) Ordered(s *storage.Spent, names []string, renewal bool, now time.Time) {
	if l.Orders.N > 0 {
		s.Orders = append(within(s.Orders, now, l.Orders.Window), now)
	}
	maps.DeleteFunc(s.Reserved, func(_ string, r storage.Reservation) bool { return now.Sub(r.At) >= reserved })
	if l.Certificates.N > 0 && !renewal {
		if s.Reserved == nil {
			s.Reserved = map[string]storage.Reservation{}
		}
		s.Reserved[storage.ID(names)] = storage.Reservation{At: now, Domains: domains(names)}
	}
}

// Released gives back what an order reserved that has ended without a certificate.
func (l Limits) Released(s *storage.Spent, names []string) { delete(s.Reserved, storage.ID(names)) }

// Issued counts a certificate.
func (l Limits) Issued(s *storage.Spent, names []string, now time.Time) {
	l.Released(s, names)
	s.Sets = count(s.Sets, []string{storage.ID(names)}, l.Sets, now)
	s.Certificates = count(s.Certificates, domains(names), l.Certificates, now)
}

// Failed counts failed validations.
func (l Limits) Failed(s *storage.Spent, names []string, now time.Time) {
	s.Failures = count(s.Failures, names, l.Failures, now)
}

func count(times map[string][]time.Time, keys []string, r Rate, now time.Time) map[string][]time.Time {
	if r.N <= 0 {
		return times
	}
	out := map[string][]time.Time{}
	for k, list := range times {
		if list = within(list, now, r.Window); len(list) > 0 {
			out[k] = list
		}
	}
	for _, k := range keys {
		out[k] = append(out[k], now)
	}
	return out
}
