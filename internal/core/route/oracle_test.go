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

// The words of generated rules and requests are few, so that matches, near misses and contradictions are frequent.
var (
	hostWords   = []string{"a.x", "b.x", "c.b.x", "*.x", "*.b.x", "a.y", "x", "*", "long-name.example.com", "*.example.com"}
	hostRes     = []string{"^a", "x$", "^.+$", "b", "(?i)A\\.X"}
	pathWords   = []string{"/", "/a", "/a/", "/a/b", "/a/bc", "/ab", "/b", "/b/c/d", "/b/c/d/e", "/b/c", "/c1", "/c2", "/c3"}
	pathRes     = []string{"^/a", "^/a/b.*", "c$", "^/(a|b)", "^/b/c/d?", "[0-9]"}
	methodWords = []string{"GET", "POST"}
	clientWords = []string{"10.0.0.0/8", "10.1.0.0/16", "::1", "192.0.2.7"}
	headerWords = []string{"1", "2"}
	reqHosts    = []string{"", "a.x", "b.x", "c.x", "c.b.x", "d.b.x", "x", "a.y", "q.w.e", "long-name.example.com", "www.example.com"}
	reqPaths    = []string{"/", "/a", "/a/", "/a/b", "/a/bc", "/a/bcd", "/ab", "/abc", "/b/c/d/e/f", "/b/c", "/c1", "/c4", "/c3/z", "*", ""}
	reqQueries  = []string{"", "k=1", "k=2&k=1", "k", "j=1;k=%31", "k=1&j"}
)

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

func randomMatcher(r *rand.Rand, layer rule.Layer) string {
	if layer == rule.TCP {
		switch r.IntN(6) {
		case 0, 1, 2:
			return "HostSNI(`" + pick(r, hostWords) + "`)"
		case 3:
			return "HostSNIRegexp(`" + pick(r, hostRes) + "`)"
		case 4:
			return "ALPN(`" + pick(r, []string{"h2", "http/1.1"}) + "`)"
		}
		return "ClientIP(`" + pick(r, clientWords) + "`)"
	}
	switch r.IntN(14) {
	case 0, 1, 2, 3:
		return "Host(`" + pick(r, hostWords) + "`)"
	case 4:
		return "HostRegexp(`" + pick(r, hostRes) + "`)"
	case 5, 6:
		return "Path(`" + pick(r, pathWords) + "`)"
	case 7, 8:
		return "PathPrefix(`" + pick(r, pathWords) + "`)"
	case 9:
		return "PathRegexp(`" + pick(r, pathRes) + "`)"
	case 10:
		return "Method(`" + pick(r, methodWords) + "`)"
	case 11:
		return "Header(`H`, `" + pick(r, headerWords) + "`)"
	case 12:
		return "Query(`k`, `" + pick(r, headerWords) + "`)"
	}
	return "ClientIP(`" + pick(r, clientWords) + "`)"
}

func randomRule(r *rand.Rand, layer rule.Layer, depth int) string {
	if depth == 0 || r.IntN(3) == 0 {
		if r.IntN(6) == 0 {
			return "!" + randomMatcher(r, layer)
		}
		return randomMatcher(r, layer)
	}
	sep := " && "
	if r.IntN(3) == 0 {
		sep = " || "
	}
	parts := make([]string, 2+r.IntN(2))
	for i := range parts {
		parts[i] = randomRule(r, layer, depth-1)
	}
	s := "(" + strings.Join(parts, sep) + ")"
	if r.IntN(8) == 0 {
		return "!" + s
	}
	return s
}

// ruleCache saves most of the time of the property test: rules repeat.
type ruleCache map[string]*rule.Rule

func (c ruleCache) parse(t testing.TB, text string, layer rule.Layer) *rule.Rule {
	if r := c[text]; r != nil {
		return r
	}
	c[text] = parse(t, text, rule.V3, layer)
	return c[text]
}

func randomEntries(t testing.TB, r *rand.Rand, cache ruleCache, layer rule.Layer, n, from int) []Entry {
	out := make([]Entry, n)
	for i := range out {
		e := Entry{Rule: cache.parse(t, randomRule(r, layer, r.IntN(3)), layer), Tie: fmt.Sprintf("r%d", from+i)}
		e.Priority = e.Rule.DefaultPriority()
		if r.IntN(4) == 0 {
			e.Priority = r.IntN(60)
		}
		out[i] = e
	}
	return out
}

func randomRequest(r *rand.Rand) *Request {
	q := &Request{
		Host: []byte(pick(r, reqHosts)), Path: []byte(pick(r, reqPaths)), Method: []byte(pick(r, methodWords)),
		Query: []byte(pick(r, reqQueries)), Client: netip.MustParseAddr(pick(r, []string{"10.1.2.3", "10.2.2.3", "::1", "192.0.2.7"})),
		Header: fields{{"H", pick(r, headerWords)}},
	}
	if r.IntN(8) == 0 {
		q.CNAME = []byte(pick(r, reqHosts))
	}
	return q
}

func randomConn(r *rand.Rand) *Conn {
	c := &Conn{SNI: pick(r, reqHosts), Client: netip.MustParseAddr(pick(r, []string{"10.1.2.3", "::1", "192.0.2.7"}))}
	for _, p := range []string{"h2", "http/1.1"} {
		if r.IntN(2) == 0 {
			c.ALPN = append(c.ALPN, p)
		}
	}
	return c
}

// edited returns entries with some removed, added and moved.
func edited(t testing.TB, r *rand.Rand, cache ruleCache, layer rule.Layer, entries []Entry, from int) []Entry {
	out := slices.Clone(entries)
	for range r.IntN(4) {
		if len(out) > 0 {
			i := r.IntN(len(out))
			out = slices.Delete(out, i, i+1)
		}
	}
	out = append(out, randomEntries(t, r, cache, layer, r.IntN(4), from)...)
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// checkHTTP compares the index with the scan of the same table and with that of a table built from nothing.
func checkHTTP(t testing.TB, table, fresh *HTTPTable, entries []Entry, q *Request) {
	t.Helper()
	got, ok := table.Lookup(q)
	want, wantOK := fresh.Scan(q)
	if got != want || ok != wantOK {
		t.Fatalf("host %q cname %q path %q %s ?%s %v: got %s, want %s", q.Host, q.CNAME, q.Path, q.Method, q.Query, q.Client,
			show(entries, got, ok), show(entries, want, wantOK))
	}
}

func show(entries []Entry, i int, ok bool) string {
	if !ok {
		return "none"
	}
	return fmt.Sprintf("%s (%d %s)", entries[i].Rule.Text, entries[i].Priority, entries[i].Tie)
}

// TestIndexAgreesWithScan compares 100 000 lookups of each layer over generated tables, each of which is then changed
// several times in place of being built, and looked at again after its successors were made.
func TestIndexAgreesWithScan(t *testing.T) {
	rounds, perRound := 500, 200
	if raceEnabled {
		rounds = 50
	}
	r := rand.New(rand.NewPCG(1, 2))
	cache := ruleCache{}
	for range rounds {
		size := pick(r, []int{1, 3, 10, 30, 100})
		entries := randomEntries(t, r, cache, rule.HTTP, size, 0)
		table := CompileHTTP(nil, entries)
		tcpEntries := randomEntries(t, r, cache, rule.TCP, size, 0)
		tcp := CompileTCP(nil, tcpEntries)
		type kept struct {
			table   *HTTPTable
			entries []Entry
		}
		var old []kept
		for step := range 4 {
			fresh, freshTCP := CompileHTTP(nil, entries), CompileTCP(nil, tcpEntries)
			for range perRound / 4 {
				checkHTTP(t, table, fresh, entries, randomRequest(r))
				c := randomConn(r)
				got, ok := tcp.Lookup(c)
				want, wantOK := freshTCP.Scan(c)
				if got != want || ok != wantOK {
					t.Fatalf("%+v: got %s, want %s", c, show(tcpEntries, got, ok), show(tcpEntries, want, wantOK))
				}
			}
			old = append(old, kept{table, entries})
			entries = edited(t, r, cache, rule.HTTP, entries, 1000*(step+1))
			table = CompileHTTP(table, entries)
			tcpEntries = edited(t, r, cache, rule.TCP, tcpEntries, 1000*(step+1))
			tcp = CompileTCP(tcp, tcpEntries)
		}
		for _, k := range old {
			fresh := CompileHTTP(nil, k.entries)
			for range 5 {
				checkHTTP(t, k.table, fresh, k.entries, randomRequest(r))
			}
		}
	}
}

// TestManySmallChanges walks a table from empty to large and back by single changes.
func TestManySmallChanges(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	entry := func(i int) Entry {
		text := fmt.Sprintf("Host(`h%d.x`) && PathPrefix(`/p%d`)", i%50, i*7919%997)
		if i%10 == 0 {
			text = fmt.Sprintf("Host(`*.h%d.x`) || Path(`/q%d`)", i%7, i)
		}
		return Entry{Rule: parse(t, text, rule.V3, rule.HTTP), Priority: i % 13, Tie: fmt.Sprint(i)}
	}
	n := 600
	if raceEnabled {
		n = 100
	}
	var table *HTTPTable
	var entries []Entry
	check := func() {
		fresh := CompileHTTP(nil, entries)
		for range 20 {
			i := r.IntN(n)
			checkHTTP(t, table, fresh, entries, &Request{
				Host: fmt.Appendf(nil, "h%d.x", i%50), Path: fmt.Appendf(nil, pick(r, []string{"/p%d", "/p%dx", "/q%d"}), i*7919%997),
			})
			checkHTTP(t, table, fresh, entries, &Request{Host: fmt.Appendf(nil, "a.h%d.x", i%7), Path: fmt.Appendf(nil, "/q%d", i)})
		}
	}
	for i := range n {
		entries = append(entries, entry(i))
		table = CompileHTTP(table, entries)
		check()
	}
	for len(entries) > 0 {
		i := r.IntN(len(entries))
		entries = slices.Delete(slices.Clone(entries), i, i+1)
		table = CompileHTTP(table, entries)
		check()
	}
	if table.t.hosts.n != 0 || table.t.wilds.n != 0 || table.t.common.n != 0 {
		t.Errorf("an empty table still holds %d hosts, %d wildcards, %d others", table.t.hosts.n, table.t.wilds.n, table.t.common.n)
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	var entries []Entry
	for i, text := range []string{
		"Host(`a.x`) && PathPrefix(`/a`) && Method(`POST`)", "HostRegexp(`^b`) && PathRegexp(`c.*e`)", "Query(`k`, `1 2`)", "Query(`k`) && Header(`h`, `v`)",
		"ClientIP(`10.0.0.0/8`) && HeaderRegexp(`h`, `^w`)", "Host(`*.x`) && !Path(`/q`) && QueryRegexp(`k`, `^3`)", "PathPrefix(`/z`)",
	} {
		entries = append(entries, Entry{Rule: parse(t, text, rule.V3, rule.HTTP), Tie: fmt.Sprint(i)})
	}
	for i := range 30 {
		entries = append(entries, Entry{Rule: parse(t, fmt.Sprintf("Host(`a.x`) && Path(`/p/%d`)", i), rule.V3, rule.HTTP), Tie: fmt.Sprint("p", i)})
	}
	table := CompileHTTP(nil, entries)
	r := &Request{
		Host: []byte("a.x"), CNAME: []byte("b.y"), Path: []byte("/a/ccd"), Method: []byte("GET"), Query: []byte("k=1%203&j=+&k=x"),
		Client: netip.MustParseAddr("::ffff:10.1.1.1"), Header: allocFree{},
	}
	if _, ok := table.Lookup(r); ok {
		t.Fatal("matched, so not every rule was asked")
	}
	if n := testing.AllocsPerRun(200, func() { table.Lookup(r) }); n != 0 && !raceEnabled {
		t.Errorf("%v allocations per lookup", n)
	}
	conn := &Conn{SNI: "a.x", ALPN: []string{"h2"}, Client: netip.MustParseAddr("10.1.1.1")}
	tcp := CompileTCP(nil, []Entry{
		{Rule: parse(t, "HostSNI(`a.x`) && !ALPN(`h2`)", rule.V3, rule.TCP)}, {Rule: parse(t, "HostSNIRegexp(`^c`)", rule.V3, rule.TCP), Tie: "b"},
	})
	if n := testing.AllocsPerRun(200, func() { tcp.Lookup(conn) }); n != 0 && !raceEnabled {
		t.Errorf("%v allocations per connection", n)
	}
}

type allocFree struct{}

var headerValue = []byte("vv")

func (allocFree) HeaderValue(_ string, i int) ([]byte, bool) { return headerValue, i == 0 }

// FuzzLookup reads rules from lines and compares index and scan, and the table compiled in one go with the one compiled
// entry by entry.
func FuzzLookup(f *testing.F) {
	f.Add("Host(`a`)\nPathPrefix(`/x`)", "a", "/x/y", "k=1")
	f.Add("Host(`*.a`) && !Path(`/x`)\nHost(`b.a`) || Query(`k`, `1`)", "b.a", "/x", "k=1")
	f.Add("PathRegexp(`^/a+`)\nPath(`/aa`)\nHost(`*`)", "", "/aa", "")
	f.Add("!(Host(`a`) && Path(`/`))\n!!Host(`a`)", "a", "/", "")
	f.Add("(Host(`a`)||Host(`b`))&&(Path(`/`)||PathPrefix(`/c`))", "b", "/cd", "")
	f.Fuzz(func(t *testing.T, rules, host, path, query string) {
		var entries []Entry
		var grown *HTTPTable
		for i, line := range strings.Split(rules, "\n") {
			r, _ := rule.Parse(line, rule.Syntax(i%2), rule.HTTP)
			if r == nil || len(entries) == 50 {
				continue
			}
			entries = append(entries, Entry{Rule: r, Priority: len(line) % 7, Tie: fmt.Sprint(i)})
			grown = CompileHTTP(grown, entries)
		}
		if len(entries) == 0 {
			return
		}
		whole := CompileHTTP(nil, entries)
		q := &Request{Host: []byte(host), Path: []byte(path), Query: []byte(query), Method: []byte("GET")}
		checkHTTP(t, whole, whole, entries, q)
		checkHTTP(t, grown, whole, entries, q)
	})
}

// FuzzHelpers checks that canonical forms are fixed points and never hold what they must not.
func FuzzHelpers(f *testing.F) {
	for _, s := range []string{"A.b:80", "[::1]", "a..b", "%41", "/a%20%2f%zz", "x.", "[::1%25a]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if h, err := CanonicalHost(nil, []byte(s)); err == nil {
			if strings.ContainsAny(string(h), "/?#@[], %") || strings.ToLower(string(h)) != string(h) {
				t.Fatalf("%q became %q", s, h)
			}
			again := string(h)
			if strings.Contains(again, ":") {
				again = "[" + again + "]"
			}
			if h2, err := CanonicalHost(nil, []byte(again)); err != nil || string(h2) != string(h) {
				t.Fatalf("%q became %q, then %q, %v", s, h, h2, err)
			}
		}
		if p, err := RoutingPath(nil, []byte(s)); err == nil && len(p) > len(s) {
			t.Fatalf("%q became %q", s, p)
		}
	})
}
