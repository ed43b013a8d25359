package static

import (
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	rows := []struct {
		text string
		want Address
		bad  string // part of the error
	}{
		{text: "", want: Address{}},
		{text: ":80", want: Address{Port: 80}},
		{text: ":0", want: Address{}},
		{text: ":443/tcp", want: Address{Port: 443}},
		{text: ":53/udp", want: Address{Port: 53, UDP: true}},
		{text: ":53/UDP", want: Address{Port: 53, UDP: true}},
		{text: "/udp", want: Address{UDP: true}},
		{text: ":https", want: Address{Port: 443}},
		{text: "127.0.0.1:8080", want: Address{Host: "127.0.0.1", Port: 8080}},
		{text: "localhost:1", want: Address{Host: "localhost", Port: 1}},
		{text: "[::]:80", want: Address{Host: "::", Port: 80}},
		{text: "[fe80::1%eth0]:80/tcp", want: Address{Host: "fe80::1%eth0", Port: 80}},
		{text: "80", bad: `did you mean ":80"?`},
		{text: "localhost", bad: "has no port"},
		{text: "[::1]", bad: "has no port"},
		{text: "::1:80", bad: "stands in brackets"},
		{text: "[1.2.3.4]:80", bad: "no IPv6 address"},
		{text: "[x]:80", bad: "no IPv6 address"},
		{text: ":80/quic", bad: `unknown protocol "quic"`},
		{text: ":80/", bad: `unknown protocol ""`},
		{text: ":65536", bad: "no port"},
		{text: ":-1", bad: "no port"},
		{text: ":", bad: "no port"},
		{text: "a b:80", bad: "no host"},
		{text: "http://x:80", bad: "unknown protocol"},
		{text: "unix:/run/x", bad: "unknown protocol"},
	}
	for _, row := range rows {
		got, err := ParseAddress(row.text)
		switch {
		case row.bad != "" && (err == nil || !strings.Contains(err.Error(), row.bad)):
			t.Errorf("%q: got %+v, %v, want an error with %q", row.text, got, err, row.bad)
		case row.bad == "" && (err != nil || got != row.want):
			t.Errorf("%q: got %+v, %v, want %+v", row.text, got, err, row.want)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{"", ":80", ":53/udp", "[::1]:80/tcp", "::1:80", "80", "[fe80::1%a]:1", "a:/b", "[]:1", "x]:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAddress(text)
		if err != nil {
			return
		}
		again, err := ParseAddress(a.String() + "/" + a.Network())
		if err != nil || again != a {
			t.Errorf("%q is %+v, which reads back as %+v, %v", text, a, again, err)
		}
	})
}

func TestAddressLoopback(t *testing.T) {
	for text, want := range map[string]bool{
		":80": false, "0.0.0.0:80": false, "127.0.0.1:80": true, "127.9.9.9:80": true, "[::1]:80": true,
		"[::ffff:127.0.0.1]:80": true, "LocalHost:80": true, "example.org:80": false, "[::]:80": false,
	} {
		a, err := ParseAddress(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.IsLoopback(); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}
