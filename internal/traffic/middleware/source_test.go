package middleware

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"sluice/internal/core/dynamic"
	"sluice/internal/wire/httpmsg"
)

func TestClient(t *testing.T) {
	depth := func(n int) *dynamic.IPStrategy { return &dynamic.IPStrategy{Depth: n} }
	without := func(ips ...string) *dynamic.IPStrategy { return &dynamic.IPStrategy{ExcludedIPs: ips} }
	for _, c := range []struct {
		name, peer, forwarded string
		s                     *dynamic.IPStrategy
		addr                  string // "" is none
		ok                    bool
	}{
		{"peer", "10.0.0.1:1", "1.1.1.1", nil, "10.0.0.1", true},
		{"empty strategy", "10.0.0.1:1", "1.1.1.1", &dynamic.IPStrategy{}, "10.0.0.1", true},
		{"XFF-05 mapped peer", "[::ffff:10.0.0.1]:1", "", nil, "10.0.0.1", true},
		{"peer with zone", "[fe80::1%eth0]:1", "", nil, "fe80::1", true},
		{"peer in subnet", "[2001:db8::1:2]:1", "", &dynamic.IPStrategy{IPv6Subnet: new(64)}, "2001:db8::", true},
		{"subnet leaves IPv4", "10.0.0.1:1", "", &dynamic.IPStrategy{IPv6Subnet: new(64)}, "10.0.0.1", true},
		{"depth 1", "10.0.0.1:1", "1.1.1.1, 2.2.2.2", depth(1), "2.2.2.2", true},
		{"depth 2", "10.0.0.1:1", "1.1.1.1,2.2.2.2", depth(2), "1.1.1.1", true},
		{"depth beyond", "10.0.0.1:1", "1.1.1.1, 2.2.2.2", depth(3), "", false},
		{"depth without field", "10.0.0.1:1", "", depth(1), "", false},
		{"depth and junk", "10.0.0.1:1", "1.1.1.1, junk", depth(1), "", false},
		{"depth and mapped", "10.0.0.1:1", "::ffff:1.1.1.1", depth(1), "1.1.1.1", true},
		{"depth in subnet", "10.0.0.1:1", "2001:db8::1", &dynamic.IPStrategy{Depth: 1, IPv6Subnet: new(32)}, "2001:db8::", true},
		{"depth wins over excluded", "10.0.0.1:1", "1.1.1.1, 2.2.2.2", &dynamic.IPStrategy{Depth: 1, ExcludedIPs: []string{"2.2.2.2"}}, "2.2.2.2", true},
		{"excluded", "10.0.0.1:1", "1.1.1.1, 2.2.2.2, 3.3.3.3", without("3.3.3.3", "2.2.2.0/24"), "1.1.1.1", true},
		{"excluded none", "10.0.0.1:1", "1.1.1.1, 2.2.2.2", without("3.3.3.3"), "2.2.2.2", true},
		{"excluded all", "10.0.0.1:1", "2.2.2.2", without("2.2.2.2"), "", false},
		{"excluded without field", "10.0.0.1:1", "", without("2.2.2.2"), "", false},
		{"excluded mapped", "10.0.0.1:1", "1.1.1.1, ::ffff:2.2.2.2", without("2.2.2.2"), "1.1.1.1", true},
		{"XFF-03 blanks", "10.0.0.1:1", ", 1.1.1.1 ,, 2.2.2.2 , ", without("2.2.2.2"), "1.1.1.1", true},
		{"XFF-03 junk stops the walk", "10.0.0.1:1", "1.1.1.1, junk, 2.2.2.2", without("2.2.2.2"), "2.2.2.2", false},
		{"XFF-03 port", "10.0.0.1:1", "1.1.1.1:99", depth(1), "1.1.1.1", true},
		{"XFF-03 IPv6 with port", "10.0.0.1:1", "[2001:db8::1]:99", depth(1), "2001:db8::1", true},
		{"XFF-03 zone", "10.0.0.1:1", "fe80::1%eth0", depth(1), "fe80::1", true},
		{"XFF-03 leading zero", "10.0.0.1:1", "010.0.0.1", depth(1), "", false},
		{"XFF-03 ten thousand entries", "10.0.0.1:1", strings.Repeat("9.9.9.9,", 10000) + "2.2.2.2", without("9.9.9.9", "2.2.2.2"), "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, err := NewClient(c.s)
			if err != nil {
				t.Fatal(err)
			}
			x := ask{peer: c.peer}.exchange(t)
			if c.forwarded != "" {
				x.Req.Header.AddID(httpmsg.HdrXForwardedFor, httpmsg.Text(c.forwarded))
			}
			got, ok := client.Addr(x)
			if want, _ := netip.ParseAddr(c.addr); got != want || ok != c.ok {
				t.Errorf("got %v %v, want %v %v", got, ok, c.addr, c.ok)
			}
		})
	}
}

func TestSourceKey(t *testing.T) {
	key := func(c *dynamic.SourceCriterion, f Fallback, a ask) string {
		t.Helper()
		s, err := NewSource(c, f)
		if err != nil {
			t.Fatal(err)
		}
		return string(s.Key(a.exchange(t), nil))
	}
	byHeader := &dynamic.SourceCriterion{RequestHeaderName: "X-Key"}
	long := strings.Repeat("k", 5000)
	for _, c := range []struct {
		name string
		c    *dynamic.SourceCriterion
		f    Fallback
		a    ask
		want string
	}{
		{"nothing by peer", nil, ByPeer, ask{peer: "1.2.3.4:5"}, "\x01\x02\x03\x04"},
		{"nothing by host", nil, ByHost, ask{host: "a.test:80"}, "a.test:80"},
		{"empty criterion", &dynamic.SourceCriterion{}, ByHost, ask{host: "a.test"}, "a.test"},
		{"empty strategy is the peer", &dynamic.SourceCriterion{IPStrategy: &dynamic.IPStrategy{}}, ByHost, ask{peer: "1.2.3.4:5"}, "\x01\x02\x03\x04"},
		{"host in one spelling", &dynamic.SourceCriterion{RequestHost: true}, ByPeer, ask{host: "A.Test.:80"}, "a.test:80"},
		{"header", byHeader, ByPeer, ask{fields: []string{"x-key: 1", "X-Key: 2"}}, "1"},
		{"header missing", byHeader, ByPeer, ask{}, ""},
		{"no address", &dynamic.SourceCriterion{IPStrategy: &dynamic.IPStrategy{Depth: 1}}, ByPeer, ask{}, ""},
		{"subnet beside excluded", &dynamic.SourceCriterion{IPStrategy: &dynamic.IPStrategy{ExcludedIPs: []string{"1.1.1.1"}, IPv6Subnet: new(16)}}, ByPeer,
			ask{fields: []string{"X-Forwarded-For: 2001:db8::1"}}, "\x20\x01" + strings.Repeat("\x00", 14)},
	} {
		if got := key(c.c, c.f, c.a); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	one, two := key(byHeader, ByPeer, ask{fields: []string{"X-Key: " + long}}), key(byHeader, ByPeer, ask{fields: []string{"X-Key: " + long + "x"}})
	if len(one) > MaxKey || one == two {
		t.Error("INV-6: long values are not told apart in little room")
	}
	for _, c := range []struct {
		key string
		c   dynamic.SourceCriterion
	}{
		{"k", dynamic.SourceCriterion{RequestHost: true, RequestHeaderName: "X"}},
		{"k.requestHeaderName", dynamic.SourceCriterion{RequestHeaderName: "a b"}},
		{"k.ipStrategy.depth", dynamic.SourceCriterion{IPStrategy: &dynamic.IPStrategy{Depth: -1}}},
		{"k.ipStrategy.excludedIPs", dynamic.SourceCriterion{IPStrategy: &dynamic.IPStrategy{ExcludedIPs: []string{""}}}},
		{"k.ipStrategy.ipv6Subnet", dynamic.SourceCriterion{IPStrategy: &dynamic.IPStrategy{IPv6Subnet: new(129)}}},
	} {
		if l := CheckSource("k", &c.c); len(l) != 1 || l[0].Key != c.key {
			t.Errorf("%s: got %v", c.key, l)
		}
		if _, err := NewSource(&c.c, ByPeer); err == nil {
			t.Errorf("%s was built", c.key)
		}
	}
}

func TestSourceKeyAllocations(t *testing.T) {
	for _, c := range []*dynamic.SourceCriterion{
		nil,
		{RequestHost: true},
		{RequestHeaderName: "X-Forwarded-For"},
		{IPStrategy: &dynamic.IPStrategy{Depth: 2, IPv6Subnet: new(64)}},
		{IPStrategy: &dynamic.IPStrategy{ExcludedIPs: []string{"10.0.0.0/8", "2001:db8::/32"}}},
	} {
		s, err := NewSource(c, ByPeer)
		if err != nil {
			t.Fatal(err)
		}
		x := ask{host: "A.test", fields: []string{"X-Forwarded-For: 2001:db9::1, 10.1.2.3"}}.exchange(t)
		buf := make([]byte, 0, MaxKey)
		if n := testing.AllocsPerRun(100, func() { s.Key(x, buf[:0]) }); n > 0 && !raceEnabled {
			t.Errorf("%+v: %v allocations", c, n)
		}
	}
}

// TestRangesOracle compares the set with a scan of its blocks.
func TestRangesOracle(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var texts []string
		var prefixes []netip.Prefix
		for range 1 + rng.IntN(20) {
			a := randomAddr(rng)
			p := netip.PrefixFrom(a, rng.IntN(a.BitLen()+1))
			prefixes = append(prefixes, p.Masked())
			texts = append(texts, p.String())
		}
		r, err := ParseRanges(texts)
		if err != nil {
			t.Fatal(err)
		}
		for range 200 {
			a := randomAddr(rng)
			want := false
			for _, p := range prefixes {
				want = want || p.Contains(a)
			}
			if r.Contains(a) != want {
				t.Fatalf("%v in %v: got %v", a, texts, !want)
			}
		}
	}
}

// randomAddr draws from few addresses, so that blocks meet.
func randomAddr(rng *rand.Rand) netip.Addr {
	b := []byte{10, 0, byte(rng.IntN(4)), byte(rng.IntN(256))}
	if rng.IntN(3) == 0 {
		b = append([]byte{0x20, 1, 13, 0xb8}, append(bytes.Repeat([]byte{0}, 10), b[2:]...)...)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func TestRanges(t *testing.T) {
	r, err := ParseRanges([]string{"10.0.0.77/8", " 192.0.2.1 ", "::ffff:198.51.100.0/120", "2001:db8::/32"})
	if err != nil {
		t.Fatal(err)
	}
	for a, want := range map[string]bool{
		"10.255.0.1": true, "11.0.0.0": false, "192.0.2.1": true, "192.0.2.2": false, "198.51.100.9": true,
		"::ffff:10.1.1.1": true, "2001:db8::1%eth0": true, "2001:db9::": false, "::": false,
	} {
		if got := r.Contains(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: got %v", a, got)
		}
	}
	if r.Contains(netip.Addr{}) || (&Ranges{}).Contains(netip.MustParseAddr("::1")) {
		t.Error("nobody is in the list")
	}
	for _, bad := range []string{"", "10.0.0.256", "10.0.0.0/33", "010.0.0.1", "host", "10.0.0.0/"} {
		if _, err := ParseRanges([]string{"10.0.0.1", bad}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func FuzzClient(f *testing.F) {
	for _, s := range []string{"1.1.1.1, 2.2.2.2", ",,", "[::1]:80, x", "::ffff:1.2.3.4", "1.2.3.4:99999999", "fe80::1%" + strings.Repeat("z", 100), "[", "]:"} {
		f.Add(s, 1)
	}
	f.Fuzz(func(t *testing.T, list string, depth int) {
		for _, s := range []*dynamic.IPStrategy{{Depth: depth & 0xffff}, {ExcludedIPs: []string{"10.0.0.0/8"}}} {
			client, err := NewClient(s)
			if err != nil {
				t.Fatal(err)
			}
			x := ask{}.exchange(t)
			x.Req.Header.AddID(httpmsg.HdrXForwardedFor, httpmsg.Text(list))
			if a, ok := client.Addr(x); ok && (!a.IsValid() || a.Is4In6() || a.Zone() != "") {
				t.Errorf("%q: %v", list, a)
			}
		}
	})
}
