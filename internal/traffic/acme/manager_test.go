package acme

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/secret"
	"sluice/internal/core/static"
	"sluice/internal/traffic/acme/authority"
	"sluice/internal/traffic/acme/schedule"
	"sluice/internal/traffic/acme/storage"
)

func material(text []byte) dynamic.Material {
	return dynamic.Material{Content: secret.New(string(text))}
}

const day = 24 * time.Hour

// TestBackoff: what fails is tried again by the table, over restarts, and arrives by itself when it can.
func TestBackoff(t *testing.T) {
	fake(t, func(t *testing.T) {
		ca := newFakeCA(t, 90*day)
		ca.failing(refusal)
		s := setup{ca: ca, path: filepath.Join(t.TempDir(), "acme.json"), wants: []Want{want("a.example.com")}, quick: true}
		w := begin(t, s)
		time.Sleep(2 * time.Hour)
		for range 50 { // a crash loop
			w.stop()
			w = begin(t, s)
			time.Sleep(time.Second)
		}
		time.Sleep(22 * time.Hour)
		for i := range len(ca.attempts()) - 1 {
			if gap, least := ca.attempts()[i+1].Sub(ca.attempts()[i]), schedule.Retry(i+1, 0, 0); gap < least || gap > least*13/10+time.Minute {
				t.Errorf("pause %d is %s, want about %s", i+1, gap, least)
			}
		}
		if n := len(ca.attempts()); n < 7 || n > 9 {
			t.Errorf("%d attempts in a day", n)
		}
		got := w.status("a.example.com")
		if got.State != StateFailed || got.Problem == nil || got.Problem.Kind != "dns" || got.Failures != len(ca.attempts()) || !got.Next.After(time.Now()) {
			t.Errorf("status %+v %+v", got, got.Problem)
		}
		ca.failing(nil)
		time.Sleep(10 * time.Hour)
		if w.served("a.example.com") == nil {
			t.Error("it healed, and there is no certificate")
		}
		if got := w.status("a.example.com"); got.State != StateValid || got.Problem != nil || got.Failures != 0 {
			t.Errorf("status %+v %+v", got, got.Problem)
		}
	})
}

// TestOutage: the CA is down for ten minutes at the start. Nothing waits for it, few questions are asked however many
// certificates are wanted, and all arrive soon after its return.
func TestOutage(t *testing.T) {
	fake(t, func(t *testing.T) {
		ca := newFakeCA(t, 90*day)
		ca.failing(unreachable)
		var wants []Want
		for i := range 40 {
			wants = append(wants, want(fmt.Sprintf("h%d.example.com", i)))
		}
		w := begin(t, setup{ca: ca, path: filepath.Join(t.TempDir(), "acme.json"), wants: wants, quick: true})
		time.Sleep(10 * time.Minute)
		if n := len(ca.attempts()); n < 15 || n > 30 {
			t.Errorf("%d attempts while the CA was down", n)
		}
		orders, _ := ca.counts()
		if orders != 0 {
			t.Errorf("%d orders", orders)
		}
		if s := w.status("h0.example.com"); s.State != StateFailed && s.State != StateWaiting {
			t.Errorf("state %s", s.State)
		}
		ca.failing(nil)
		time.Sleep(time.Minute)
		w.orders(40)
		for i := range 40 {
			if w.served(fmt.Sprintf("h%d.example.com", i)) == nil {
				t.Errorf("h%d has no certificate", i)
			}
		}
	})
}

// TestRestarts: however often it starts, what is there is not ordered again.
func TestRestarts(t *testing.T) {
	for _, path := range []string{"acme.json", "shared/"} {
		t.Run(path, func(t *testing.T) {
			dir := t.TempDir()
			fake(t, func(t *testing.T) {
				ca := newFakeCA(t, 90*day)
				s := setup{ca: ca, path: dir + "/" + path, wants: []Want{want("a.example.com"), want("b.example.com", "c.example.com")}, quick: true}
				for range 100 {
					w := begin(t, s)
					synctest.Wait()
					time.Sleep(100 * time.Millisecond)
					w.stop()
				}
				w := begin(t, s)
				w.orders(2)
				if ca.accounts != 1 {
					t.Errorf("%d accounts", ca.accounts)
				}
			})
		})
	}
}

// TestLifetimes: certificates are renewed at two thirds of their life, whatever that is, and never end.
func TestLifetimes(t *testing.T) {
	for _, life := range []time.Duration{12 * time.Hour, 6 * day, 45 * day, 90 * day} {
		t.Run(life.String(), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "acme.json")
			fake(t, func(t *testing.T) {
				ca := newFakeCA(t, life)
				w := begin(t, setup{ca: ca, path: path, wants: []Want{want("a.example.com", "192.0.2.1")}})
				for range 40 {
					time.Sleep(life / 10)
					if c := w.served("a.example.com"); c == nil || !time.Now().Before(c.NotAfter) {
						t.Fatal("no valid certificate")
					}
				}
				for i := range len(ca.times) - 1 {
					share := float64(ca.times[i+1].Sub(ca.times[i])) / float64(life)
					if share < 0.64 || share > 0.67+float64(time.Hour)/float64(life) {
						t.Errorf("renewed after %.3f of the life", share)
					}
				}
				if n := len(ca.times); n < 5 || n > 7 {
					t.Errorf("%d orders in four lives", n)
				}
				if w.served("192.0.2.1") == nil {
					t.Error("no certificate for the address")
				}
			})
		})
	}
}

// TestFailedRenewal: while a renewal fails, the certificate serves; attempts fit into what is left of it.
func TestFailedRenewal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "acme.json")
	fake(t, func(t *testing.T) {
		ca := newFakeCA(t, 6*day)
		w := begin(t, setup{ca: ca, path: path, wants: []Want{want("a.example.com")}})
		time.Sleep(time.Minute)
		ca.failing(refusal)
		time.Sleep(5 * day)
		if s := w.status("a.example.com"); s.State != StateRenewalFailed || s.Pair == nil {
			t.Errorf("status %+v", s)
		}
		if n := len(ca.attempts()); n < 8 {
			t.Errorf("%d attempts in a day before the end", n)
		}
		time.Sleep(20 * time.Hour)
		ca.failing(nil)
		time.Sleep(2 * time.Hour)
		if c := w.served("a.example.com"); c == nil || time.Until(c.NotAfter) < 5*day {
			t.Error("it was not renewed in time")
		}
	})
}

// TestWindow: the CA's word counts, and is asked for again.
func TestWindow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "acme.json")
	fake(t, func(t *testing.T) {
		ca := newFakeCA(t, 90*day)
		var revoked atomic.Bool
		var asked atomic.Int64
		ca.window = func(leaf *x509.Certificate) (authority.Window, error) {
			asked.Add(1)
			if revoked.Load() && leaf.SerialNumber.Int64() == 1001 {
				return authority.Window{Begin: leaf.NotBefore, End: leaf.NotBefore.Add(time.Hour), After: 6 * time.Hour}, nil
			}
			return authority.Window{Begin: leaf.NotBefore.Add(10 * day), End: leaf.NotBefore.Add(11 * day), After: 6 * time.Hour}, nil
		}
		w := begin(t, setup{ca: ca, path: path, wants: []Want{want("a.example.com")}})
		time.Sleep(5 * day)
		w.orders(1)
		if n := asked.Load(); n < 15 || n > 25 {
			t.Errorf("asked %d times in five days", n)
		}
		revoked.Store(true) // the window moves into the past
		time.Sleep(8 * time.Hour)
		w.orders(2)
		time.Sleep(12 * day)
		w.orders(3)
		if d := ca.ordered(2).Sub(ca.ordered(1)); d < 10*day || d > 11*day+2*time.Hour {
			t.Errorf("renewed after %s", d)
		}
	})
}

// TestOrphans: what nobody wants is kept, shown, not renewed, and removed in the end; unless somebody wants it again.
func TestOrphans(t *testing.T) {
	path := filepath.Join(t.TempDir(), "acme.json")
	fake(t, func(t *testing.T) {
		ca := newFakeCA(t, 90*day)
		w := begin(t, setup{ca: ca, path: path, wants: []Want{want("a.example.com"), want("b.example.com")}})
		time.Sleep(time.Hour)
		w.m.Update([]Want{want("b.example.com")}, given(t))
		time.Sleep(20 * day)
		if s := w.status("a.example.com"); s.State != StateOrphaned || s.Orphaned.IsZero() {
			t.Errorf("status %+v", s)
		}
		if w.served("a.example.com") == nil {
			t.Error("it is not served any more")
		}
		w.m.Update([]Want{want("a.example.com"), want("b.example.com")}, given(t))
		time.Sleep(time.Hour)
		if s := w.status("a.example.com"); s.State != StateValid || !s.Orphaned.IsZero() {
			t.Errorf("wanted again: %+v", s)
		}
		w.orders(2)
		w.m.Update([]Want{want("b.example.com")}, given(t))
		time.Sleep(32 * day)
		if s := w.status("a.example.com"); s.State != "" {
			t.Errorf("after the grace time: %+v", s)
		}
		w.stop()
		st, err := storage.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		c, err := st.Load("le")
		if err != nil || len(c.Certificates) != 1 || len(c.Sets) != 1 {
			t.Errorf("stored: %+v %v", c, err)
		}
	})
}

// TestProduction: from staging to production a new certificate is ordered while the old one serves; the account of the way
// back is not lost.
func TestProduction(t *testing.T) {
	path := filepath.Join(t.TempDir(), "acme.json")
	fake(t, func(t *testing.T) {
		ca := newFakeCA(t, 90*day)
		s := setup{ca: ca, path: path, wants: []Want{want("a.example.com")}, quick: true}
		server := func(name string) func(*static.ACME) {
			return func(c *static.ACME) { c.CAServer = "https://" + name + "/directory" }
		}
		s.more = server("staging.internal")
		w := begin(t, s)
		time.Sleep(time.Minute)
		old := w.served("a.example.com")
		w.stop()
		ca.failing(refusal)
		s.more = server("production.internal")
		w = begin(t, s)
		time.Sleep(time.Minute)
		if c := w.served("a.example.com"); c == nil || !c.Equal(old) {
			t.Error("the old certificate does not serve")
		}
		ca.failing(nil)
		time.Sleep(10 * time.Minute)
		if c := w.served("a.example.com"); c == nil || c.Equal(old) {
			t.Error("there is no new certificate")
		}
		w.stop()
		if ca.accounts != 2 {
			t.Errorf("%d accounts", ca.accounts)
		}
		st, _ := storage.Open(path)
		if c, _ := st.Load("le"); c.Former["staging.internal"] == nil {
			t.Error("the staging account is lost")
		}
	})
}

// TestBridge: a name that is added to a rule and cannot be validated does not cost the others their certificate.
func TestBridge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "acme.json")
	fake(t, func(t *testing.T) {
		ca := newFakeCA(t, 6*day)
		w := begin(t, setup{ca: ca, path: path, wants: []Want{want("a.example.com")}})
		time.Sleep(time.Minute)
		ca.failing(func(names []string) error {
			if strings.Contains(strings.Join(names, " "), "bad") {
				return refusal([]string{"bad.example.com"})
			}
			return nil
		})
		w.m.Update([]Want{want("a.example.com", "bad.example.com")}, given(t))
		for range 12 {
			time.Sleep(day)
			if c := w.served("a.example.com"); c == nil || !time.Now().Before(c.NotAfter) {
				t.Fatal("the certificate ended")
			}
		}
		ca.failing(nil)
		time.Sleep(9 * time.Hour)
		if w.served("bad.example.com") == nil {
			t.Error("it healed, and there is no certificate")
		}
	})
}

// TestNeed: only what is needed is ordered.
func TestNeed(t *testing.T) {
	tests := map[string]struct {
		wants []Want
		given []string
		want  []string
	}{
		"configured":                     {[]Want{want("a.example.com")}, []string{"a.example.com"}, nil},
		"configured wildcard":            {[]Want{want("a.example.com", "b.example.com")}, []string{"*.example.com"}, nil},
		"partly configured":              {[]Want{want("a.example.com", "b.example.com")}, []string{"a.example.com"}, []string{"b.example.com"}},
		"domains are taken as they are":  {[]Want{{Resolver: "le", Names: []string{"a.example.com", "b.example.com"}}}, []string{"a.example.com"}, []string{"a.example.com b.example.com"}},
		"twice":                          {[]Want{want("a.example.com", "b.example.com"), want("B.example.com.", "a.example.com")}, nil, []string{"a.example.com b.example.com"}},
		"part of another":                {[]Want{want("a.example.com"), want("a.example.com", "b.example.com")}, nil, []string{"a.example.com b.example.com"}},
		"wildcard of another":            {[]Want{want("a.example.com"), {Resolver: "le", Names: []string{"*.example.com", "example.com"}}}, nil, []string{"*.example.com example.com"}},
		"wildcard is not for two labels": {[]Want{want("x.a.example.com"), {Resolver: "le", Names: []string{"*.example.com"}}}, nil, []string{"x.a.example.com", "*.example.com"}},
		"name under an own wildcard":     {[]Want{{Resolver: "le", Names: []string{"*.example.com", "a.example.com"}}}, nil, []string{"*.example.com"}},
		"overlap":                        {[]Want{want("a.example.com", "b.example.com"), want("b.example.com", "c.example.com")}, nil, []string{"a.example.com b.example.com", "b.example.com c.example.com"}},
		"catch-all":                      {[]Want{want("*")}, nil, nil},
		"two stars":                      {[]Want{want("*.*.example.com")}, nil, nil},
		"another resolver":               {[]Want{{Resolver: "nobody", Names: []string{"a.example.com"}}}, nil, nil},
		"IDN":                            {[]Want{want("Müller.example.com")}, nil, []string{"xn--mller-kva.example.com"}},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "acme.json")
			set := given(t, c.given...)
			fake(t, func(t *testing.T) {
				ca := newFakeCA(t, 90*day)
				begin(t, setup{ca: ca, path: path, wants: c.wants, given: set, quick: true,
					more: func(c *static.ACME) { c.DNSChallenge = &static.DNSChallenge{Provider: "manual"} }})
				time.Sleep(time.Minute)
				synctest.Wait()
				got, wanted := map[string]int{}, map[string]int{}
				for _, o := range ca.orders {
					got[o]++
				}
				for _, o := range c.want {
					wanted[o]++
				}
				if fmt.Sprint(got) != fmt.Sprint(wanted) {
					t.Errorf("ordered %v, want %v", got, wanted)
				}
			})
		})
	}
}

// TestRefused: names that a public CA never issues for are not ordered, and it is said.
func TestRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "acme.json")
	fake(t, func(t *testing.T) {
		ca := newFakeCA(t, 90*day)
		w := begin(t, setup{ca: ca, path: path, wants: []Want{want("nas.local"), want("*.example.com"), want("a.example.com")}, quick: true,
			more: func(c *static.ACME) { c.CAServer = static.LetsEncrypt }})
		time.Sleep(time.Minute)
		w.orders(1)
		for _, n := range []string{"nas.local", "*.example.com"} {
			if s := w.status(n); s.State != StateRefused || s.Problem == nil {
				t.Errorf("%s: %+v", n, s)
			}
		}
	})
}

// TestBudget: with a public CA we stay below its limits, whatever is wanted, and go on when they allow.
func TestBudget(t *testing.T) {
	path := filepath.Join(t.TempDir(), "acme.json")
	fake(t, func(t *testing.T) {
		ca := newFakeCA(t, 90*day)
		var wants []Want
		for i := range 60 {
			wants = append(wants, want(fmt.Sprintf("h%d.example.co.uk", i)))
		}
		s := setup{ca: ca, path: path, wants: wants, more: func(c *static.ACME) { c.CAServer = static.LetsEncrypt }}
		w := begin(t, s)
		time.Sleep(day)
		w.orders(45)
		w.stop()
		w = begin(t, s) // the budget survives a restart
		time.Sleep(5 * day)
		w.orders(45)
		waiting := 0
		for _, s := range w.m.Status() {
			if s.Problem != nil && s.Problem.Kind == kindBudget && strings.Contains(s.Problem.Text, "example.co.uk") {
				waiting++
			}
		}
		if waiting != 15 {
			t.Errorf("%d say that they wait for the budget", waiting)
		}
		time.Sleep(2 * day)
		w.orders(60)
	})
}

// TestRateLimited: the CA's time counts.
func TestRateLimited(t *testing.T) {
	path := filepath.Join(t.TempDir(), "acme.json")
	fake(t, func(t *testing.T) {
		ca := newFakeCA(t, 90*day)
		until := time.Now().Add(30 * time.Hour)
		ca.failing(func([]string) error {
			return &authority.Error{Kind: authority.KindRateLimited, Reached: true, Until: until, Text: "too many"}
		})
		w := begin(t, setup{ca: ca, path: path, wants: []Want{want("a.example.com")}})
		time.Sleep(29 * time.Hour)
		if len(ca.attempts()) != 1 {
			t.Errorf("%d attempts before the time that the CA named", len(ca.attempts()))
		}
		ca.failing(nil)
		time.Sleep(3 * time.Hour)
		if w.served("a.example.com") == nil {
			t.Error("no certificate after it")
		}
	})
}

// TestClock: a state from the future, as a clock that was wrong leaves it, does not stop anything for longer than a week.
func TestClock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "acme.json")
	fake(t, func(t *testing.T) {
		st, _ := storage.Open(path)
		if err := st.SaveSet("le", &storage.Set{Names: []string{"a.example.com"}, Failures: 3, Next: time.Now().Add(400 * day)}); err != nil {
			t.Fatal(err)
		}
		st.Close()
		ca := newFakeCA(t, 90*day)
		w := begin(t, setup{ca: ca, path: path, wants: []Want{want("a.example.com")}})
		time.Sleep(time.Minute)
		if s := w.status("a.example.com"); s.Next.After(time.Now().Add(8 * day)) {
			t.Errorf("the next attempt is in %s", time.Until(s.Next))
		}
	})
}

// TestRenewRequest: the command line asks, and gets a new certificate at once, also against the back-off.
func TestRenewRequest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "acme.json")
	fake(t, func(t *testing.T) {
		ca := newFakeCA(t, 90*day)
		ca.failing(refusal)
		w := begin(t, setup{ca: ca, path: path, wants: []Want{want("a.example.com")}, quick: true})
		time.Sleep(12 * time.Hour)
		ca.failing(nil)
		ask := func(name string) []string {
			i := Inspect(w.m.o.Resolvers)
			defer i.Close()
			got, err := i.Renew(name)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		if got := ask("other.example.com"); got != nil {
			t.Errorf("asked %v", got)
		}
		if got := ask("A.example.com"); len(got) != 1 {
			t.Errorf("asked %v", got)
		}
		time.Sleep(5 * time.Second)
		first := w.served("a.example.com")
		if first == nil {
			t.Fatal("no certificate")
		}
		ask("a.example.com")
		time.Sleep(5 * time.Second)
		if c := w.served("a.example.com"); c.Equal(first) {
			t.Error("it was not renewed")
		}
		n, _ := ca.counts()
		time.Sleep(day)
		w.orders(n)
	})
}

// TestCrash: a process that dies at any step of an order costs at most one order more, and never the account.
func TestCrash(t *testing.T) {
	for _, kind := range []string{"acme.json", "shared/"} {
		steps := []string{"before the account", "after the account", "before the order", "before the order is stored", "after the order is stored", "after the issue"}
		for _, at := range steps {
			t.Run(kind+" "+at, func(t *testing.T) {
				before, after := t.TempDir(), t.TempDir()
				fake(t, func(t *testing.T) {
					ca := newFakeCA(t, 90*day)
					ca.step = func(name string) {
						if name == at {
							if err := os.CopyFS(after, os.DirFS(before)); err != nil {
								t.Error(err)
							}
						}
					}
					s := setup{ca: ca, path: before + "/" + kind, wants: []Want{want("a.example.com")}, quick: true}
					w := begin(t, s)
					time.Sleep(time.Minute)
					w.stop()
					ca.step = nil
					accounts := ca.accounts
					s.path = after + "/" + kind
					w = begin(t, s)
					time.Sleep(time.Minute)
					if w.served("a.example.com") == nil {
						t.Fatal("no certificate after the crash")
					}
					orders, now := ca.counts()
					if orders > 2 || at == "after the order is stored" && (orders != 1 || ca.resumed != 1) || at == "after the issue" && orders != 1 {
						t.Errorf("%d orders, %d taken up", orders, ca.resumed)
					}
					if now != accounts && at != "before the account" {
						t.Errorf("%d accounts", now)
					}
				})
			})
		}
	}
}

// TestDiskFull: with nothing to write to, nothing is ordered; a certificate that cannot be stored is served and stored later.
func TestDiskFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "acme.json")
	fake(t, func(t *testing.T) {
		ca := newFakeCA(t, 90*day)
		full := &faulty{errs: map[string]error{"set": syscall.ENOSPC}}
		w := begin(t, setup{ca: ca, path: path, wants: []Want{want("a.example.com")}, quick: true, before: func(m *Manager) {
			full.Store = m.resolvers[0].store
			m.resolvers[0].store = full
		}})
		time.Sleep(time.Minute)
		w.orders(0)
		if s := w.status("a.example.com"); s.Problem == nil || s.Problem.Kind != authority.KindStorage {
			t.Errorf("status %+v", s.Problem)
		}
		full.set("set", nil)
		full.set("certificate", syscall.ENOSPC)
		time.Sleep(2 * time.Minute)
		w.orders(1)
		if w.served("a.example.com") == nil {
			t.Error("what cannot be stored is not served")
		}
		full.set("certificate", nil)
		time.Sleep(2 * time.Minute)
		w.stop()
		st, _ := storage.Open(path)
		if c, err := st.Load("le"); err != nil || len(c.Certificates) != 1 {
			t.Errorf("stored: %+v, %v", c, err)
		}
		w.orders(1)
	})
}

// TestInstances: three instances with one directory and thirty hosts make thirty orders, and one account.
func TestInstances(t *testing.T) {
	dir := t.TempDir() + "/shared/"
	fake(t, func(t *testing.T) {
		ca := newFakeCA(t, 6*day)
		var wants []Want
		for i := range 30 {
			wants = append(wants, want(fmt.Sprintf("h%d.example.com", i)))
		}
		var all []*world
		for range 3 {
			all = append(all, begin(t, setup{ca: ca, path: dir, wants: wants}))
		}
		time.Sleep(time.Hour)
		for _, w := range all {
			for i := range 30 {
				if w.served(fmt.Sprintf("h%d.example.com", i)) == nil {
					t.Errorf("h%d has no certificate in an instance", i)
				}
			}
		}
		all[0].orders(30)
		if ca.accounts != 1 {
			t.Errorf("%d accounts", ca.accounts)
		}
		time.Sleep(4*day + 4*time.Hour) // all are renewed once
		all[0].orders(60)
	})
}
