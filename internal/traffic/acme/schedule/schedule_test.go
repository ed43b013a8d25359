package schedule

import (
	"testing"
	"time"

	"sluice/internal/traffic/acme/storage"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestRetry(t *testing.T) {
	tests := []struct {
		failures int
		left     time.Duration
		chance   float64
		want     time.Duration
	}{
		{0, 0, 0, time.Minute},
		{1, 0, 0, time.Minute},
		{1, 0, 0.999999, 72 * time.Second},
		{4, 0, 0, time.Hour},
		{7, 0, 0, 8 * time.Hour},
		{1000, 0, 0, 8 * time.Hour},
		{7, 20 * time.Hour, 0, 2 * time.Hour},
		{7, time.Second, 0, time.Minute},
	}
	for _, c := range tests {
		if got := Retry(c.failures, c.left, c.chance).Round(time.Millisecond * 100); got != c.want {
			t.Errorf("Retry(%d, %s, %g) = %s, want %s", c.failures, c.left, c.chance, got, c.want)
		}
	}
}

// TestFirstHour: no five attempts fall into any hour, whatever the chance.
func TestFirstHour(t *testing.T) {
	for _, chance := range []float64{0, 0.5, 1} {
		at := []time.Time{noon}
		for n := 1; n < 40; n++ {
			at = append(at, at[n-1].Add(Retry(n, 0, chance)))
		}
		for i := range at[4:] {
			if d := at[i+4].Sub(at[i]); d < time.Hour {
				t.Errorf("chance %g: attempts %d to %d in %s", chance, i, i+4, d)
			}
		}
	}
}

func TestProbe(t *testing.T) {
	now, total := noon, 0
	var last time.Duration
	for n := 1; now.Sub(noon) < probing; n++ {
		last = Probe(n, noon, now, 0)
		if last > longProbe || last < firstProbe {
			t.Fatalf("pause %d is %s", n, last)
		}
		now, total = now.Add(last), n
	}
	if total > 25 {
		t.Errorf("%d attempts in ten minutes", total)
	}
	for i, want := range retries {
		if got := Probe(total+1+i, noon, now, 0); got != want {
			t.Errorf("pause %d behind the ten minutes is %s, want %s", i, got, want)
		}
		now = now.Add(want)
	}
}

func TestRenewal(t *testing.T) {
	for _, days := range []int{1, 6, 45, 90, 365} {
		end := noon.Add(time.Duration(days) * 24 * time.Hour)
		for _, spread := range []float64{0, 0.5, 1} {
			at := Renewal(noon, end, spread)
			share := float64(at.Sub(noon)) / float64(end.Sub(noon))
			if share < 0.64 || share > 0.6667 {
				t.Errorf("%d days are renewed at %.3f of the lifetime", days, share)
			}
		}
	}
}

func TestAskAgain(t *testing.T) {
	tests := []struct{ after, life, want time.Duration }{
		{0, 90 * 24 * time.Hour, 6 * time.Hour},
		{time.Second, 90 * 24 * time.Hour, time.Hour},
		{1000 * time.Hour, 90 * 24 * time.Hour, 24 * time.Hour},
		{0, 6 * time.Hour, time.Hour},
	}
	for _, c := range tests {
		if got := AskAgain(c.after, c.life); got != c.want {
			t.Errorf("AskAgain(%s, %s) = %s, want %s", c.after, c.life, got, c.want)
		}
	}
}

func TestBelieve(t *testing.T) {
	if got := Believe(noon.Add(365*24*time.Hour), noon); !got.Equal(noon.Add(longest)) {
		t.Errorf("a year is believed as %s", got.Sub(noon))
	}
	if got := Believe(noon.Add(time.Hour), noon); !got.Equal(noon.Add(time.Hour)) {
		t.Errorf("an hour is believed as %s", got.Sub(noon))
	}
}

func TestLimits(t *testing.T) {
	l := LimitsOf("https://acme-v02.api.letsencrypt.org/directory")
	var s storage.Spent
	now := noon
	for i := 0; ; i++ {
		name := string(rune('a'+i%26)) + string(rune('a'+i/26)) + ".example.co.uk"
		if r := l.Allow(&s, []string{name}, false, now); !r.Until.IsZero() {
			if i != l.Certificates.N {
				t.Fatalf("order %d waits: %s", i, r.Text)
			}
			if r.Text != "our budget of certificates for example.co.uk is spent: 45 in 7 days" || !r.Until.Equal(noon.Add(week)) {
				t.Errorf("waits until %s: %s", r.Until, r.Text)
			}
			break
		}
		l.Ordered(&s, []string{name}, false, now)
		l.Issued(&s, []string{name}, now)
		now = now.Add(time.Minute)
	}
	if r := l.Allow(&s, []string{"aa.example.co.uk"}, true, now); !r.Until.IsZero() {
		t.Errorf("a renewal waits: %s", r.Text)
	}
	if r := l.Allow(&s, []string{"www.example.org"}, false, now); !r.Until.IsZero() {
		t.Errorf("another domain waits: %s", r.Text)
	}
	for range 4 {
		l.Failed(&s, []string{"bad.example.org"}, now)
	}
	if r := l.Allow(&s, []string{"bad.example.org", "www.example.org"}, true, now); !r.Until.Equal(now.Add(time.Hour)) {
		t.Errorf("a name that fails waits until %s", r.Until)
	}
	now = now.Add(2 * week)
	l.Issued(&s, []string{"x.example.net"}, now)
	l.Failed(&s, []string{"x.example.net"}, now)
	l.Ordered(&s, []string{"y.example.net"}, false, now)
	if len(s.Certificates) != 1 || len(s.Sets) != 1 || len(s.Failures) != 1 || len(s.Orders) != 1 || len(s.Reserved) != 1 {
		t.Errorf("what is too old is kept: %+v", s)
	}
	// A private CA has no limits, and nothing is kept for it.
	var none storage.Spent
	private := LimitsOf("https://ca.internal/dir")
	private.Issued(&none, []string{"a"}, now)
	private.Ordered(&none, []string{"a"}, false, now)
	if len(none.Orders)+len(none.Sets)+len(none.Reserved) != 0 {
		t.Errorf("budget of a private CA: %+v", none)
	}
}

// TestReserved: orders under way hold their part of the budget until they end, or for a day.
func TestReserved(t *testing.T) {
	l := Limits{Certificates: Rate{2, week}}
	a, b, c := []string{"a.example.com"}, []string{"b.example.com", "www.b.example.com"}, []string{"c.example.com"}
	var s storage.Spent
	allowed := func(names []string, renewal bool, now time.Time, want bool) {
		t.Helper()
		r := l.Allow(&s, names, renewal, now)
		if r.Until.IsZero() != want {
			t.Errorf("%s: waits until %s: %s", names, r.Until, r.Text)
		}
	}
	l.Ordered(&s, a, false, noon)
	l.Ordered(&s, []string{"r.example.com"}, true, noon)
	allowed(b, false, noon, true)
	l.Ordered(&s, b, false, noon)
	allowed(c, false, noon, false)
	if r := l.Allow(&s, c, false, noon); !r.Until.Equal(noon.Add(underWay)) {
		t.Errorf("waits until %s", r.Until)
	}
	allowed(b, false, noon, true) // the same order once more
	allowed(c, true, noon, true)
	allowed([]string{"a.example.org"}, false, noon, true)
	l.Released(&s, b)
	allowed(c, false, noon, true)
	l.Issued(&s, a, noon)
	allowed(c, false, noon, true)
	l.Ordered(&s, b, false, noon)
	allowed(c, false, noon, false)
	allowed(c, false, noon.Add(25*time.Hour), true)
	l.Ordered(&s, c, false, noon.Add(25*time.Hour))
	if len(s.Reserved) != 1 {
		t.Errorf("reserved: %v", s.Reserved)
	}
	l.Issued(&s, c, noon.Add(25*time.Hour))
	if r := l.Allow(&s, b, false, noon.Add(25*time.Hour)); !r.Until.Equal(noon.Add(week)) {
		t.Errorf("waits until %s: %s", r.Until, r.Text)
	}
}

func TestCheckPublic(t *testing.T) {
	for name, want := range map[string]bool{
		"example.com": true, "*.example.com": true, "a.b.example.co.uk": true, "münchen.de": true, "8.8.8.8": true, "2606:4700::1111": true,
		"foo.github.io": true,
		"localhost":     false, "whoami.localhost": false, "nas.local": false, "intern": false, "x.test": false, "a.internal": false,
		"10.0.0.1": false, "127.0.0.1": false, "100.64.1.1": false, "fe80::1": false, "host.nosuchtld": false, "router.home.arpa": false,
	} {
		if err := CheckPublic(name); (err == nil) != want {
			t.Errorf("CheckPublic(%q) = %v", name, err)
		}
	}
}

func TestPublic(t *testing.T) {
	for directory, want := range map[string]bool{
		"https://acme-v02.api.letsencrypt.org/directory": true, "https://acme.zerossl.com/v2/DV90": true, "https://dv.acme-v02.api.pki.goog/directory": true,
		"https://127.0.0.1:14000/dir": false, "https://ca.mycompany.com/acme/acme/directory": false, "": false, "https://notletsencrypt.org/": false,
	} {
		if got := Public(directory); got != want {
			t.Errorf("Public(%q) = %t", directory, got)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "1 second", 90 * time.Second: "90 seconds", 3 * time.Minute: "3 minutes", 5 * time.Hour: "5 hours", 72 * time.Hour: "3 days"} {
		if got := Span(d); got != want {
			t.Errorf("Span(%s) = %q, want %q", d, got, want)
		}
	}
}
