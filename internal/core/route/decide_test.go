package route

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sluice/internal/core/rule"
)

// entryPoint builds one from lines: "plain RULE", "pass RULE", "term RULE", "https NAME".
func entryPoint(t testing.TB, lines ...string) *EntryPoint {
	t.Helper()
	e := &EntryPoint{DefaultOptions: 99}
	var plain, tls []Entry
	var hosts []HTTPSHost
	for i, line := range lines {
		kind, text, _ := strings.Cut(line, " ")
		if kind == "https" {
			if !slices.ContainsFunc(hosts, func(h HTTPSHost) bool { return h.Name == text }) {
				hosts = append(hosts, HTTPSHost{text, i})
			}
			continue
		}
		r := parse(t, text, rule.V3, rule.TCP)
		entry := Entry{Rule: r, Priority: r.DefaultPriority(), Tie: fmt.Sprint(i)}
		if kind == "plain" {
			plain = append(plain, entry)
			continue
		}
		tls = append(tls, entry)
		e.Passthrough = append(e.Passthrough, kind == "pass")
	}
	if plain != nil {
		e.Plain = CompileTCP(nil, plain)
	}
	if tls != nil {
		e.TLS = CompileTCP(nil, tls)
	}
	if hosts != nil {
		e.HTTPS = e.HTTPS.Change(nil, hosts)
	}
	return e
}

func TestDecide(t *testing.T) {
	hello := func(sni string, alpn ...string) Conn { return Conn{Opening: TLSHello, SNI: sni, ALPN: alpn} }
	client := netip.MustParseAddr("10.0.0.1")
	for _, c := range []struct {
		name  string
		lines []string
		conn  Conn
		want  Decision
	}{
		{"server speaks first", []string{"plain HostSNI(`*`)"}, Conn{}, Decision{Action: PlainTCPSilent}},
		{"server speaks first for some clients", []string{"plain ClientIP(`10.0.0.0/8`)"}, Conn{Client: client}, Decision{Action: PlainTCPSilent}},
		{"not for others", []string{"plain ClientIP(`10.0.0.0/8`)"}, Conn{}, Decision{Action: NeedBytes}},
		{"not beside TLS routers", []string{"plain HostSNI(`*`)", "pass HostSNI(`a`)"}, Conn{}, Decision{Action: NeedBytes}},
		{"not beside HTTPS routers", []string{"plain HostSNI(`*`)", "https a"}, Conn{}, Decision{Action: NeedBytes}},
		{"nothing at all", nil, Conn{}, Decision{Action: NeedBytes}},
		{"plain router", []string{"plain HostSNI(`*`)", "https a"}, Conn{Opening: NotTLS}, Decision{Action: PlainTCP}},
		{"plain HTTP", []string{"plain ClientIP(`10.0.0.0/8`)"}, Conn{Opening: NotTLS}, Decision{Action: PlainHTTP}},
		{"postgres", []string{"pass HostSNI(`a`)"}, Conn{Opening: PostgresRequest}, Decision{Action: AnswerPostgres}},
		{"postgres passthrough", []string{"https a", "pass HostSNI(`a`)"}, Conn{Opening: PostgresHello, SNI: "a"}, Decision{Action: TLSPassthrough}},
		{"postgres catch-all", []string{"term HostSNI(`*`)"}, Conn{Opening: PostgresHello, SNI: "a"}, Decision{Action: TLSTerminate}},
		{"postgres without a router", []string{"plain HostSNI(`*`)", "https *"}, Conn{Opening: PostgresHello, SNI: "a"}, Decision{Action: Close}},
		{"sslv2", []string{"pass HostSNI(`*`)"}, Conn{Opening: SSLv2Hello}, Decision{Action: Close}},
		{"HTTPS host before TCP", []string{"https a.x", "pass HostSNI(`a.x`)"}, hello("A.x."), Decision{Action: HTTPS, Options: 0}},
		{"HTTPS wildcard before TCP", []string{"https *.x", "pass HostSNI(`a.x`)"}, hello("a.x"), Decision{Action: HTTPS, Options: 0}},
		{"exact before wildcard", []string{"https *.x", "https a.x"}, hello("a.x"), Decision{Action: HTTPS, Options: 1}},
		{"wildcard is one label", []string{"https *.x"}, hello("a.b.x"), Decision{Action: HTTPS, Options: 99}},
		{"specific TCP before HTTPS catch-all", []string{"https *", "pass HostSNI(`a.x`)"}, hello("a.x"), Decision{Action: TLSPassthrough}},
		{"regexp is specific", []string{"https *", "term HostSNIRegexp(`.*`)"}, hello("a.x"), Decision{Action: TLSTerminate}},
		{"combined catch-all is specific", []string{"https *", "pass HostSNI(`*`) && ALPN(`h2`)"}, hello("a.x", "h2"), Decision{Action: TLSPassthrough}},
		{"HTTPS catch-all before TCP catch-all", []string{"https *", "pass HostSNI(`*`)"}, hello("a.x"), Decision{Action: HTTPS, Options: 0}},
		{"TCP catch-all before default", []string{"pass HostSNI(`*`)", "https b"}, hello("a.x"), Decision{Action: TLSPassthrough}},
		{"no server name", []string{"pass HostSNI(`a`)", "https *"}, hello(""), Decision{Action: HTTPS, Options: 1}},
		{"default", []string{"https b"}, hello("a"), Decision{Action: HTTPS, Options: 99}},
		{"nothing configured", nil, hello("a"), Decision{Action: HTTPS, Options: 99}},
		{"our challenge", []string{"pass HostSNI(`ours`)"}, hello("OURS", "acme-tls/1"), Decision{Action: ChallengeTLS}},
		{"the owner's challenge", []string{"pass HostSNI(`vm`)"}, hello("vm", "acme-tls/1"), Decision{Action: TLSPassthrough}},
		{"no challenge offered", []string{"pass HostSNI(`ours`)"}, hello("ours", "h2"), Decision{Action: TLSPassthrough}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := entryPoint(t, c.lines...).Decide(&c.conn, func(name string) bool { return name == "ours" })
			if got.Reason == "" {
				t.Error("no reason")
			}
			if got.Reason = ""; got != c.want {
				t.Errorf("got %s %+v, want %s %+v", got.Action, got, c.want.Action, c.want)
			}
		})
	}
}

func TestDecideBrokenOptions(t *testing.T) {
	e := &EntryPoint{HTTPS: (*HTTPSHosts)(nil).Change(nil, []HTTPSHost{{"a", RefuseTLS}, {"*.x", 3}}), DefaultOptions: RefuseTLS}
	for name, want := range map[string]Action{"a": Close, "b.x": HTTPS, "other": Close} {
		if got := e.Decide(&Conn{Opening: TLSHello, SNI: name}, nil); got.Action != want {
			t.Errorf("%s: %s, want %s", name, got.Action, want)
		}
	}
}

// TestDecideAgreesWithTheList compares with the numbered list of the order, done naively by scans.
func TestDecideAgreesWithTheList(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	names := []string{"a.x", "b.x", "*.x", "c.b.x", "*"}
	snis := []string{"", "a.x", "b.x", "q.x", "c.b.x", "zz"}
	for range 5_000 {
		var lines []string
		for range r.IntN(6) {
			switch r.IntN(4) {
			case 0:
				lines = append(lines, "https "+pick(r, names))
			case 1:
				lines = append(lines, "plain "+pick(r, []string{"HostSNI(`*`)", "ClientIP(`10.0.0.0/8`)"}))
			default:
				lines = append(lines, pick(r, []string{"pass ", "term "})+pick(r, []string{
					"HostSNI(`*`)", "HostSNI(`a.x`)", "HostSNI(`*.x`)", "HostSNIRegexp(`b`)", "ALPN(`h2`)", "HostSNI(`*`) && ALPN(`h2`)",
				}))
			}
		}
		e := entryPoint(t, lines...)
		c := randomConn(r)
		c.SNI = pick(r, snis)
		c.Opening = Opening(r.IntN(int(SSLv2Hello) + 1))
		got := e.Decide(c, nil)
		got.Reason = ""
		if want := listed(e, lines, c); got != want {
			t.Fatalf("%q %+v: got %s %+v, want %s %+v", lines, c, got.Action, got, want.Action, want)
		}
	}
}

func listed(e *EntryPoint, lines []string, c *Conn) Decision {
	plain := func(a Action) (Decision, bool) {
		i, ok := e.Plain.Scan(&Conn{Client: c.Client})
		return Decision{Action: a, Router: i}, ok
	}
	tls := func() (d Decision, all, ok bool) {
		i, ok := e.TLS.Scan(c)
		if !ok {
			return Decision{}, false, false
		}
		d = Decision{Action: TLSTerminate, Router: i}
		if e.Passthrough[i] {
			d.Action = TLSPassthrough
		}
		n := 0
		for _, line := range lines {
			if kind, text, _ := strings.Cut(line, " "); kind == "pass" || kind == "term" {
				if n == i {
					return d, text == "HostSNI(`*`)", true
				}
				n++
			}
		}
		panic("no such router")
	}
	switch c.Opening {
	case Silent:
		for _, line := range lines {
			if !strings.HasPrefix(line, "plain") {
				return Decision{Action: NeedBytes}
			}
		}
		if d, ok := plain(PlainTCPSilent); ok {
			return d
		}
		return Decision{Action: NeedBytes}
	case NotTLS:
		if d, ok := plain(PlainTCP); ok {
			return d
		}
		return Decision{Action: PlainHTTP}
	case PostgresRequest:
		return Decision{Action: AnswerPostgres}
	case PostgresHello:
		if d, _, ok := tls(); ok {
			return d
		}
		return Decision{Action: Close}
	case SSLv2Hello:
		return Decision{Action: Close}
	}
	options := map[string]int{}
	for i, line := range lines {
		if name, ok := strings.CutPrefix(line, "https "); ok {
			if _, dup := options[name]; !dup {
				options[name] = i
			}
		}
	}
	_, after, _ := strings.Cut(c.SNI, ".")
	for _, name := range []string{c.SNI, "*." + after} {
		if o, ok := options[name]; ok {
			return Decision{Action: HTTPS, Options: o}
		}
	}
	d, all, ok := tls()
	if ok && !all {
		return d
	}
	if o, has := options["*"]; has {
		return Decision{Action: HTTPS, Options: o}
	}
	if ok {
		return d
	}
	return Decision{Action: HTTPS, Options: e.DefaultOptions}
}

// TestHTTPSHostsChange changes a table many times and compares it with one made from nothing, and each with its own state
// after it was changed.
func TestHTTPSHostsChange(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	var table *HTTPSHosts
	hosts := map[string]int{}
	for step := range 400 {
		var gone []string
		var set []HTTPSHost
		for range r.IntN(4) {
			name := pick(r, []string{"*", fmt.Sprintf("a%d.x", r.IntN(60)), fmt.Sprintf("*.a%d.x", r.IntN(60))})
			if r.IntN(3) == 0 {
				gone = append(gone, name)
				delete(hosts, name)
				set = slices.DeleteFunc(set, func(h HTTPSHost) bool { return h.Name == name })
			} else {
				set = append(set, HTTPSHost{name, step})
				hosts[name] = step
			}
		}
		before := table.Len()
		next := table.Change(gone, set)
		if table.Len() != before {
			t.Fatalf("step %d: the old table has %d names, had %d", step, table.Len(), before)
		}
		var all []HTTPSHost
		for name, options := range hosts {
			all = append(all, HTTPSHost{name, options})
		}
		fresh := (*HTTPSHosts)(nil).Change(nil, all)
		if next.Len() != len(hosts) || fresh.Len() != len(hosts) {
			t.Fatalf("step %d: %d and %d names, want %d", step, next.Len(), fresh.Len(), len(hosts))
		}
		for i := range 60 {
			for _, name := range []string{fmt.Sprintf("a%d.x", i), fmt.Sprintf("q.a%d.x", i)} {
				o1, s1, k1 := next.Lookup(name)
				o2, s2, k2 := fresh.Lookup(name)
				if o1 != o2 || s1 != s2 || k1 != k2 {
					t.Fatalf("step %d, %s: %d %v %v, want %d %v %v", step, name, o1, s1, k1, o2, s2, k2)
				}
			}
		}
		table = next
	}
}

func TestOwner(t *testing.T) {
	for _, c := range []struct {
		text string
		host string
		want bool
	}{
		{"Host(`a.test`)", "a.test", true},
		{"Host(`*.test`)", "a.test", true},
		{"Host(`*`)", "a.test", false},
		{"PathPrefix(`/`)", "a.test", false},
		{"!Host(`b.test`)", "a.test", false},
		{"!!Host(`a.test`)", "a.test", true},
		{"!(!Host(`a.test`) || Method(`POST`))", "a.test", true},
		{"Host(`a.test`) && PathPrefix(`/api`)", "a.test", false},
		{"Host(`a.test`) && PathPrefix(`/.well-known/acme-challenge/`)", "a.test", true},
		{"Host(`a.test`) && Path(`/x`) || Method(`GET`)", "a.test", false},
		{"Host(`a.test`) || PathPrefix(`/`)", "a.test", true},
		{"Host(`a.test`) || PathPrefix(`/`)", "b.test", false},
		{"HostRegexp(`^.+$`)", "a.test", false},
		{"HostRegexp(`^[a-z]+\\.test$`)", "a.test", true},
		{"HostRegexp(`^.+\\.com$`)", "a.com", false},
		{"HostRegexp(`^[^.]+\\.[^.]+$`)", "a.test", false},
	} {
		table := CompileHTTP(nil, []Entry{{Rule: parse(t, c.text, rule.V3, rule.HTTP)}})
		r := &Request{Host: []byte(c.host), Path: []byte("/.well-known/acme-challenge/token"), Method: []byte("GET")}
		if _, got := table.LookupOwner(r); got != c.want {
			t.Errorf("%s with %s: %v, want %v", c.text, c.host, got, c.want)
		}
		if got := table.Explain(r)[0].Owns; got != c.want {
			t.Errorf("%s with %s: explained as %v, want %v", c.text, c.host, got, c.want)
		}
	}
}

func TestOwnerComesBeforeRedirection(t *testing.T) {
	entries := []Entry{
		{Rule: parse(t, "HostRegexp(`^.+$`)", rule.V3, rule.HTTP), Priority: 1 << 40, Tie: "redirect"},
		{Rule: parse(t, "Host(`a.test`)", rule.V3, rule.HTTP), Priority: 10, Tie: "a"},
		{Rule: parse(t, "Host(`a.test`) && Method(`GET`)", rule.V3, rule.HTTP), Priority: 20, Tie: "b"},
	}
	table := CompileHTTP(nil, entries)
	r := &Request{Host: []byte("a.test"), Path: []byte("/.well-known/acme-challenge/token"), Method: []byte("GET")}
	if i, ok := table.Lookup(r); i != 0 || !ok {
		t.Errorf("lookup %d %v", i, ok)
	}
	if i, ok := table.LookupOwner(r); i != 2 || !ok {
		t.Errorf("owner %d %v", i, ok)
	}
	r.Host = []byte("b.test")
	if i, ok := table.LookupOwner(r); ok {
		t.Errorf("owner of another host %d", i)
	}
}

func TestPassthroughOwner(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  int
	}{
		{[]string{"pass HostSNI(`vm.test`)"}, 0},
		{[]string{"pass HostSNI(`*.test`)"}, 0},
		{[]string{"pass HostSNIRegexp(`^vm[.]`)"}, 0},
		{[]string{"pass HostSNI(`*`)"}, -1},
		{[]string{"pass HostSNI(`*`) && ALPN(`h2`)"}, -1},
		{[]string{"pass HostSNIRegexp(`.*`)"}, -1},
		{[]string{"term HostSNI(`vm.test`)"}, -1},
		{[]string{"term HostSNI(`vm.test`) && ALPN(`h2`)", "pass HostSNI(`vm.test`)"}, -1},
		{[]string{"pass HostSNI(`vm.test`)", "https vm.test"}, -1},
		{[]string{"pass HostSNI(`other.test`)", "pass HostSNI(`vm.test`)", "https *"}, 1},
	} {
		i, ok := entryPoint(t, c.lines...).Owner(&Conn{SNI: "VM.test", ALPN: []string{"h2", "http/1.1"}})
		if !ok {
			i = -1
		}
		if i != c.want {
			t.Errorf("%q: %d, want %d", c.lines, i, c.want)
		}
	}
}

func TestDecideDoesNotAllocate(t *testing.T) {
	e := entryPoint(t, "plain ClientIP(`10.0.0.0/8`)", "pass HostSNI(`vm.test`)", "term HostSNIRegexp(`^b`)", "https a.test", "https *.w.test", "https *")
	table := CompileHTTP(nil, []Entry{{Rule: parse(t, "HostRegexp(`^vm`)", rule.V3, rule.HTTP)}})
	r := &Request{Host: []byte("vm.test")}
	vm := &Conn{SNI: "vm.test", ALPN: []string{"h2"}}
	conns := []*Conn{
		{}, {Opening: NotTLS}, {Opening: TLSHello, SNI: "vm.test"}, {Opening: TLSHello, SNI: "b.test"}, {Opening: TLSHello, SNI: "x.w.test"}, {Opening: PostgresHello, SNI: "vm.test"},
	}
	n := testing.AllocsPerRun(100, func() {
		for _, c := range conns {
			e.Decide(c, nil)
		}
		if _, ok := e.Owner(vm); !ok {
			t.Fatal("no owner")
		}
		if _, ok := table.LookupOwner(r); !ok {
			t.Fatal("no owner")
		}
	})
	if n != 0 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			e := &EntryPoint{}
			var tcp []Entry
			var hosts []HTTPSHost
			for i := range n / 2 {
				r := parse(b, fmt.Sprintf("HostSNI(`vm-%d.example.com`)", i), rule.V3, rule.TCP)
				tcp = append(tcp, Entry{Rule: r, Priority: r.DefaultPriority(), Tie: fmt.Sprint(i)})
				hosts = append(hosts, HTTPSHost{fmt.Sprintf("app-%d.example.com", i), 0})
				e.Passthrough = append(e.Passthrough, true)
			}
			e.TLS, e.HTTPS = CompileTCP(nil, tcp), e.HTTPS.Change(nil, hosts)
			conns := make([]Conn, 4096)
			for i := range conns {
				conns[i] = Conn{Opening: TLSHello, SNI: fmt.Sprintf(pick(rand.New(rand.NewPCG(1, uint64(i))), []string{"vm-%d.example.com", "app-%d.example.com"}), i*7919%(n/2))}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				e.Decide(&conns[i%len(conns)], nil)
				i++
			}
		})
	}
}
