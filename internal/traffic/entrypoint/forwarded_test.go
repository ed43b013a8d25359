package entrypoint

import (
	"net/netip"
	"strings"
	"testing"

	"sluice/internal/wire/httpmsg"
)

// apply runs the forwarded-header step on `Name: value` lines and returns what is left, in order.
func apply(t *testing.T, f *ForwardedHeaders, peer string, lines ...string) []string {
	t.Helper()
	x := &httpmsg.Exchange{Peer: netip.MustParseAddrPort(peer)}
	x.Req.Host = httpmsg.Text("www.test:8080")
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		x.Req.Header.Add(name, value)
	}
	f.Hostname = "edge"
	if err := f.apply(x); err != nil {
		return []string{err.Error()}
	}
	var out []string
	for i := range x.Req.Header.Len() {
		out = append(out, x.Req.Header.At(i).Name.String()+": "+x.Req.Header.At(i).Value.String())
	}
	return out
}

func TestForwardedHeaders(t *testing.T) {
	ours := []string{"X-Real-Ip: 10.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Port: 8080",
		"X-Forwarded-Host: www.test:8080", "X-Forwarded-Server: edge"}
	trusting := &ForwardedHeaders{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	for _, c := range []struct {
		name string
		f    *ForwardedHeaders
		in   []string
		want []string
	}{
		{"XFF-01 untrusted", &ForwardedHeaders{}, []string{"x-forwarded-for: 1.1.1.1", "X-REAL-IP: 1.1.1.1", "Forwarded: for=1.1.1.1",
			"X_Forwarded_For: 1.1.1.1", "x_Forwarded-proto: https", "X-Forwarded-Tls-Client-Cert: abc", "Accept: */*"},
			append([]string{"Accept: */*"}, ours...)},
		{"XFF-02 trusted", trusting, []string{"X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2", "X-Forwarded-Proto: https", "X-Real-Ip: 9.9.9.9"},
			[]string{"X-Forwarded-For: 1.1.1.1, 2.2.2.2", "X-Forwarded-Proto: https", "X-Real-Ip: 9.9.9.9", "X-Forwarded-Port: 8080",
				"X-Forwarded-Host: www.test:8080", "X-Forwarded-Server: edge"}},
		{"XFF-04 evil scheme", trusting, []string{"X-Forwarded-Proto: evil"}, ours},
		{"FLD-01 token", &ForwardedHeaders{}, []string{"Connection: close, X-A, x-b", "X-A: 1", "X-B: 2", "Connection: X-C", "X-C: 3", "X-D: 4"},
			append([]string{"Connection: close, X-A, x-b", "Connection: X-C", "X-D: 4"}, ours...)},
		{"FLD-02 protected", trusting, []string{"Connection: Authorization, Cookie, X-Forwarded-For, X-Real-Ip, Content-Length, Host",
			"Authorization: a", "Cookie: b", "Content-Length: 3", "X-Forwarded-For: 1.1.1.1"},
			append([]string{"Connection: Authorization, Cookie, X-Forwarded-For, X-Real-Ip, Content-Length, Host", "Authorization: a",
				"Cookie: b", "Content-Length: 3", "X-Forwarded-For: 1.1.1.1"}, ours...)},
		{"FLD-02 option", &ForwardedHeaders{Connection: []string{"x-keep"}}, []string{"Connection: X-Keep", "X-Keep: 1"},
			append([]string{"Connection: X-Keep", "X-Keep: 1"}, ours...)},
		{"FLD-03 framing spelling", &ForwardedHeaders{}, []string{"Content_Length: 3", "transfer_encoding: chunked", "My_Own: 1"},
			append([]string{"My_Own: 1"}, ours...)},
		{"FLD-03 delete", &ForwardedHeaders{Underscores: DeleteUnderscores}, []string{"My_Own: 1", "A: 2"}, append([]string{"A: 2"}, ours...)},
		{"FLD-03 reject", &ForwardedHeaders{Underscores: RejectUnderscores}, []string{"My_Own: 1"}, []string{"request field with an underscore"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := apply(t, c.f, "10.0.0.1:1234", c.in...)
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
			}
		})
	}
	t.Run("XFF-05 mapped peer", func(t *testing.T) {
		got := apply(t, trusting, "[::ffff:10.0.0.1]:1", "X-Forwarded-Host: real")
		if got[0] != "X-Forwarded-Host: real" {
			t.Errorf("mapped peer not trusted: %q", got)
		}
	})
}

func TestForwardedHeadersAllocateNothing(t *testing.T) {
	x := &httpmsg.Exchange{Peer: netip.MustParseAddrPort("10.0.0.1:99")}
	f := &ForwardedHeaders{Hostname: "edge"}
	run := func() {
		x.Reset(nil)
		x.Req.Host = httpmsg.Text("www.test")
		x.Req.Header.AddID(httpmsg.HdrConnection, httpmsg.Text("keep-alive"))
		x.Req.Header.AddID(httpmsg.HdrUserAgent, httpmsg.Text("curl"))
		if err := f.apply(x); err != nil {
			t.Fatal(err)
		}
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
