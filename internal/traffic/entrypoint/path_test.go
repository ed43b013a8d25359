package entrypoint

import (
	"testing"

	"sluice/internal/wire/httpmsg"
)

func TestCleanPath(t *testing.T) {
	for _, c := range []struct {
		name, in, clean, raw string // raw: without sanitizing
	}{
		{"plain", "/a/b", "/a/b", "/a/b"},
		{"PTH-01 dot dot", "/a/../b", "/b", "/a/../b"},
		{"PTH-01 dot", "/./a/.", "/a", "/./a/."},
		{"PTH-01 double slash", "//a///b/", "/a/b/", "//a///b/"},
		{"PTH-01 encoded dots", "/a/%2e%2E/b", "/b", "/a/../b"},
		{"PTH-01 half encoded", "/a/.%2e/", "/", "/a/../"},
		{"PTH-02 above root", "/../../etc", "/etc", "/../../etc"},
		{"PTH-03 reserved stay", "/a%2fb%5c%3B", "/a%2Fb%5C%3B", "/a%2Fb%5C%3B"},
		{"PTH-03 encoded slash is no segment", "/a/..%2fb", "/a/..%2Fb", "/a/..%2Fb"},
		{"PTH-05 double encoding", "/%252e%252e/", "/%252e%252e/", "/%252e%252e/"},
		{"PTH-06 overlong", "/%c0%af", "/%C0%AF", "/%C0%AF"},
		{"unreserved decoded", "/%61%7E", "/a~", "/a~"},
		{"last segment climbs", "/a/b/..", "/a", "/a/b/.."},
		{"dots in a name", "/a/...b/..c", "/a/...b/..c", "/a/...b/..c"},
		{"asterisk", "*", "*", "*"},
		{"empty", "", "/", "/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, sanitize := range []bool{true, false} {
				x := &httpmsg.Exchange{}
				x.Req.Path = httpmsg.Text(c.in)
				if err := cleanPath(x, sanitize); err != nil {
					t.Fatal(err)
				}
				want := c.raw
				if sanitize {
					want = c.clean
				}
				if got := x.Req.Path.String(); got != want {
					t.Errorf("sanitize=%v: got %q, want %q", sanitize, got, want)
				}
				// INV-4: what was judged stays what it is when it is judged again.
				if err := cleanPath(x, sanitize); err != nil || x.Req.Path.String() != want {
					t.Errorf("sanitize=%v: second pass changed %q to %q (%v)", sanitize, want, x.Req.Path, err)
				}
			}
		})
	}
	for _, bad := range []string{"/%zz", "/%", "/%2", "/%u002e", "/a%g0"} {
		x := &httpmsg.Exchange{}
		x.Req.Path = httpmsg.Text(bad)
		if cleanPath(x, true) == nil {
			t.Errorf("PTH-04: %q was accepted as %q", bad, x.Req.Path)
		}
	}
}

func FuzzCleanPath(f *testing.F) {
	for _, s := range []string{"/a/../b", "/%2e%2e/%2F..", "//x/./%c0%af", "/%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		x := &httpmsg.Exchange{}
		x.Req.Path = httpmsg.Text(s)
		if cleanPath(x, true) != nil {
			return
		}
		once := x.Req.Path.String()
		if cleanPath(x, true) != nil || x.Req.Path.String() != once {
			t.Fatalf("%q cleans to %q, then to %q", s, once, x.Req.Path)
		}
	})
}

func TestEncodedCharacters(t *testing.T) {
	for path, want := range map[string]EncodedCharacters{
		"/a%2Fb": DenyEncodedSlash, "/%5C": DenyEncodedBackSlash, "/%00": DenyEncodedNullCharacter,
		"/%3B": DenyEncodedSemicolon, "/a%20b%25": DenyEncodedPercent, "/%3F": DenyEncodedQuestionMark, "/%41%23": DenyEncodedHash,
	} {
		if !want.Denies([]byte(path)) || !EncodedCharacters(0x7f).Denies([]byte(path)) {
			t.Errorf("%s passed", path)
		}
		if (0x7f &^ want).Denies([]byte(path)) {
			t.Errorf("%s was refused by another bit", path)
		}
	}
	if EncodedCharacters(0x7f).Denies([]byte("/plain%20path%")) {
		t.Error("harmless code refused")
	}
}

func TestSemicolons(t *testing.T) {
	x := &httpmsg.Exchange{}
	x.Req.Query = httpmsg.Text("a=1;b=2")
	semicolons(x, false)
	if got := x.Req.Query.String(); got != "a=1&b=2" {
		t.Error(got)
	}
	x.Req.Query = httpmsg.Text("a=1;b=2")
	semicolons(x, true)
	if got := x.Req.Query.String(); got != "a=1%3Bb=2" {
		t.Error(got)
	}
}
