package balance

import (
	"strings"
	"testing"

	"sluice/internal/wire/httpmsg"
)

// The sums below were made with sha1sum and sha256sum, not with this package.
func TestCookieName(t *testing.T) {
	for _, c := range []struct{ given, service, want string }{
		{"", "whoami@docker", "_633ff"},
		{"lb", "x", "lb"},
		{"a b;c=d\"é", "x", "a_b_c_d___"},
		{"!#$%&'*+-.^`|~", "x", "!#$%&'*+-.^`|~"},
	} {
		if got := CookieName(c.given, c.service); got != c.want {
			t.Errorf("name of %q in %q is %q, want %q", c.given, c.service, got, c.want)
		}
	}
}

const (
	urlA, urlB = "http://10.0.0.1:8080", "http://10.0.0.2:8080"
)

func stickyPair(o CookieOptions) (*Sticky, []*Endpoint) {
	list := []*Endpoint{{Key: urlA, Weight: 1, State: new(State)}, {Key: urlB, Weight: 1, State: new(State)}}
	s := NewSticky(o, "svc@file")
	s.Update(list)
	return s, list
}

func exchangeWith(cookies ...string) *httpmsg.Exchange {
	x := new(httpmsg.Exchange)
	for _, c := range cookies {
		x.Req.Header.Add("Cookie", c)
	}
	return x
}

func TestStickyLookup(t *testing.T) {
	s, list := stickyPair(CookieOptions{Name: "lb"})
	const valueA = "cc3dd0c247d6ff41"
	for _, c := range []struct {
		name    string
		cookies []string
		want    *Endpoint
		stale   bool
	}{
		{"none", nil, nil, false},
		{"current", []string{"lb=" + valueA}, list[0], false},
		{"among others", []string{"a=1; lb=" + valueA + "; b=2"}, list[0], false},
		{"second line", []string{"a=1", "lb=" + valueA}, list[0], false},
		{"quoted", []string{`lb="` + valueA + `"`}, list[0], false},
		{"other name", []string{"lbx=" + valueA}, nil, false},
		{"other case of the name", []string{"LB=" + valueA}, nil, false},
		{"unknown", []string{"lb=0123456789abcdef"}, nil, false},
		{"empty", []string{"lb="}, nil, false},
		{"no equals sign", []string{"lb"}, nil, false},
		{"legacy: raw URL", []string{"lb=" + urlB}, list[1], true},
		{"legacy: fnv", []string{"lb=" + fnv1(urlB)}, list[1], true},
		{"legacy: fnv of fnv", []string{"lb=" + fnv1(fnv1(urlB))}, list[1], true},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, stale := s.Lookup(exchangeWith(c.cookies...))
			if e != c.want || stale != c.stale {
				t.Errorf("got %v stale=%v, want %v stale=%v", e, stale, c.want, c.stale)
			}
		})
	}
	list[0].State.SetUp(false)
	if e, _ := s.Lookup(exchangeWith("lb=" + valueA)); e != nil {
		t.Error("a cookie reaches an endpoint that is down")
	}
	s.Update(list[1:])
	list[0].State.SetUp(true)
	if e, _ := s.Lookup(exchangeWith("lb=" + valueA)); e != nil {
		t.Error("a cookie reaches an endpoint that was removed")
	}
}

func TestStickyFencedIsReachable(t *testing.T) {
	s, list := stickyPair(CookieOptions{Name: "lb"})
	list[0].Fenced = true
	if e, _ := s.Lookup(exchangeWith("lb=" + s.table.Load().byKey[urlA].current)); e != list[0] {
		t.Error("a fenced endpoint is not reached by its cookie")
	}
}

func TestStickySetCookie(t *testing.T) {
	for _, c := range []struct {
		name string
		o    CookieOptions
		want string
	}{
		{"plain", CookieOptions{Name: "lb"}, "lb=VALUE; Path=/"},
		{"all", CookieOptions{Name: "lb", Secure: true, HTTPOnly: true, SameSite: "LAX", MaxAge: 60, Path: "/app", Domain: "a.test"},
			"lb=VALUE; Path=/app; Domain=a.test; Max-Age=60; HttpOnly; Secure; SameSite=Lax"},
		{"forget", CookieOptions{Name: "lb", MaxAge: -1, SameSite: "none"}, "lb=VALUE; Path=/; Max-Age=0; SameSite=None"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, list := stickyPair(c.o)
			x := exchangeWith()
			s.Stick(x, list[1])
			x.RunEdits()
			value := s.table.Load().byKey[urlB].current
			want := "lb=" + value + c.want[len("lb=VALUE"):]
			if got := x.Res.Header.Get(httpmsg.HdrSetCookie).String(); got != want {
				t.Errorf("Set-Cookie %q, want %q", got, want)
			}
			if len(value) != 16 {
				t.Errorf("value %q has %d digits", value, len(value))
			}
		})
	}
}

func TestStickyOptions(t *testing.T) {
	if err := (&CookieOptions{SameSite: "Strict"}).Validate(); err != nil {
		t.Error(err)
	}
	if err := (&CookieOptions{SameSite: "sometimes"}).Validate(); err == nil {
		t.Error("sameSite sometimes was accepted")
	}
}

func TestStickyAllocatesNothing(t *testing.T) {
	s, list := stickyPair(CookieOptions{Name: "lb"})
	x := exchangeWith("a=b; lb=" + s.table.Load().byKey[urlA].current)
	if n := testing.AllocsPerRun(200, func() {
		s.Lookup(x)
		s.Stick(x, list[0])
		x.Res.Header.Reset()
		x.RunEdits()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzStickyLookup reads foreign Cookie fields: no panic, and an endpoint is found only by one of its own values.
func FuzzStickyLookup(f *testing.F) {
	for _, s := range []string{"", "lb", "lb=", "lb=cc3dd0c247d6ff41", `a=b; lb="cc3dd0c247d6ff41"; lb=x`, "lb=" + urlB, ";;=;lb==", `lb="`} {
		f.Add(s)
	}
	s, list := stickyPair(CookieOptions{Name: "lb"})
	f.Fuzz(func(t *testing.T, cookie string) {
		x := new(httpmsg.Exchange)
		x.Req.Header.Add("Cookie", cookie)
		e, _ := s.Lookup(x)
		if e == nil {
			return
		}
		for _, known := range list {
			old := fnv1(known.Key)
			for _, v := range []string{known.Key, old, fnv1(old), s.table.Load().byKey[known.Key].current} {
				if e == known && strings.Contains(cookie, v) {
					return
				}
			}
		}
		t.Errorf("%q found %s", cookie, e.Key)
	})
}
