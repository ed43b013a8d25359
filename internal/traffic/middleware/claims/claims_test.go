package claims

import (
	"slices"
	"strings"
	"testing"

	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/httpmsg"
)

// sample is the document that the examples of the language are true for.
const sample = `{"active": true, "grp": "admin", "scope": "reader writer deploy", "referrer": "http://example.com/foo/bar", "areas": ["office", "home"],
	"user": {"name": "John Snow", "status": "undead", "a.b": {"c\\d": 7}}, "n": 12345678901234567890, "f": 1.50, "mixed": [1, true, "x", null, {"a": 1}, ["y"]], "none": null, "off": false}`

func decoded(t testing.TB) Set {
	t.Helper()
	s, err := Decode([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConditions(t *testing.T) {
	s := decoded(t)
	for text, want := range map[string]bool{
		"Equals(`grp`, `admin`)": true, "Equals(`grp`, `adm`)": false, "Equals(`active`, `true`)": true, "Equals(`off`, `false`)": true,
		"Equals(`n`, `12345678901234567890`)": true, "Equals(`f`, `1.50`)": true, "Equals(`areas`, `office`)": false, "Equals(`none`, ``)": false, "Equals(`missing`, ``)": false,
		"Prefix(`referrer`, `http://example.com`)": true, "Prefix(`referrer`, `https`)": false, "Prefix(`areas`, `o`)": false, "Prefix(`n`, `1`)": false,
		"Contains(`referrer`, `/foo/`)": true, "Contains(`areas`, `home`)": true, "Contains(`areas`, `hom`)": false, "Contains(`grp`, ``)": true, "Contains(`active`, `t`)": false,
		"Contains(`mixed`, `1`)": true, "Contains(`mixed`, `true`)": true, "Contains(`mixed`, `y`)": false,
		"SplitContains(`scope`, ` `, `writer`)": true, "SplitContains(`scope`, ` `, `write`)": false, "SplitContains(`areas`, ` `, `home`)": false, "SplitContains(`scope`, ``, `w`)": true,
		"OneOf(`areas`, `office`, `lab`)": true, "OneOf(`areas`, `lab`)": false, "OneOf(`grp`, `user`, `admin`)": true, "OneOf(`missing`, `a`)": false, "OneOf(`n`, `1`)": false,
		"!Equals(`grp`, `testers`)": true, "!Equals(`missing`, `x`)": true, "Equals(`grp`, `admin`) && Equals(`active`, `true`)": true,
		"Equals(`grp`, `x`) || Equals(`active`, `true`)": true, "!(Equals(`grp`, `admin`) || Equals(`grp`, `x`))": false,
		"Equals(`grp`, `x`) && Equals(`grp`, `x`) || Equals(`active`, `true`)": true,
		"Equals(`user.name`, `John Snow`)":                                     true, "Equals(`user.name.x`, `a`)": false, "Equals(`user`, `a`)": false, "Equals(`grp.x`, `admin`)": false,
		"Equals(`user.a\\.b.c\\\\d`, `7`)": true, `Equals("grp", "admin")`: true,
	} {
		c, err := ParseCondition(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := c.Holds(s); got != want {
			t.Errorf("%s: got %v", text, got)
		}
	}
	for text, want := range map[string]string{
		"": "the expression ends", "Equals(`grp`)": "takes 2 arguments", "OneOf(`grp`)": "takes at least 2 arguments", "Equals(``, `a`)": "name of a claim is empty",
		"Equals(`a..b`, `a`)": "name of a claim is empty", "Equals(`a\\b`, `a`)": `a \ stands before`, "Equal(`a`, `b`)": "only Equals, Prefix, Contains, SplitContains, OneOf",
		"Equals(`a`, 1)": "where a text should be", "Equals(`a`, `b`) == true": "condition already", "Equals(`" + strings.Repeat("a.", 40) + "`, `b`)": "is empty",
	} {
		if _, err := ParseCondition(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
	c, _ := ParseCondition("Equals(`user.name`, `a`) || OneOf(`areas`, `b`)")
	if p := c.Paths(); len(p) != 2 || !slices.Equal(p[0], []string{"user", "name"}) || !slices.Equal(p[1], []string{"areas"}) {
		t.Errorf("paths: %v", p)
	}
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		`"a"`: "a", `12.50`: "12.50", `true`: "true", `false`: "false", `null`: "", `""`: "", `[]`: "", `["a","b"]`: "a,b", `["a,admin","b"]`: "a%2Cadmin,b",
		`"a,b"`: "a,b", `"a\r\nX: y"`: "a%0D%0AX: y", `["a\n"]`: "a%0A", `" a "`: "%20a%20", `"\u0000\u007f\t"`: "%00%7F%09", `{"b":[1,2],"a":"\n"}`: `{"a":"\n","b":[1,2]}`,
		`[1,true,null,["x","y"],{"a":1}]`: `1,true,,["x"%2C"y"],{"a":1}`, `"ünï"`: "ünï", `" "`: "%20",
	} {
		s, err := Decode([]byte(`{"v":` + in + `}`))
		if err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		if got := Text(s["v"]); got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		} else if !httpmsg.IsFieldValue(httpmsg.Text(got)) {
			t.Errorf("%s: %q may not stand in a header", in, got)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, text := range []string{"", "null", "[]", `"a"`, "{", `{"a":1} {}`, `{"a":1}x`, `{"a":01}`, strings.Repeat(`{"a":`, 20_000)} {
		if s, err := Decode([]byte(text)); err == nil {
			t.Errorf("%.20q: got %v", text, s)
		}
	}
}

func TestRules(t *testing.T) {
	r, err := NewRules("Equals(`grp`, `admin`)", "user.name", map[string]string{"X-Group": "grp", "X-None": "missing", "X-Areas": "areas"})
	if err != nil {
		t.Fatal(err)
	}
	x := &httpmsg.Exchange{}
	for _, f := range [][2]string{{"X-Group", "forged"}, {"x_group", "forged"}, {"X-NONE", "forged"}, {"Other", "1"}, {"x-areas", "forged"}} {
		x.Req.Header.Add(f[0], f[1])
	}
	r.Clear(x)
	if !r.Admit(x, decoded(t)) || x.Facts.User != "John Snow" {
		t.Error("was not admitted")
	}
	var got []string
	for i := range x.Req.Header.Len() {
		got = append(got, x.Req.Header.At(i).Name.String()+"="+x.Req.Header.At(i).Value.String())
	}
	if want := []string{"Other=1", "X-Areas=office,home", "X-Group=admin", "X-None="}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(r.Paths()) != 5 {
		t.Errorf("paths: %v", r.Paths())
	}
	x.Reset(nil)
	if r.Admit(x, Set{"grp": "user", "user": map[string]any{"name": strings.Repeat("x", 1000)}}) || x.Req.Header.Len() > 0 || len(x.Facts.User) != maxUser {
		t.Error("was admitted, or told too much")
	}
	for key, c := range map[string][3]string{"jwt.claims": {"Equals(", "", ""}, "jwt.usernameClaim": {"", "a..b", ""}, "jwt.forwardHeaders.A": {"", "", ""}, "jwt.forwardHeaders.Content-Length": {"", "", "a"}} {
		name := strings.TrimPrefix(key, "jwt.forwardHeaders.")
		headers := map[string]string{name: c[2]}
		if name == key {
			headers = nil
		}
		if err := middleware.Refusal(CheckRules("jwt", c[0], c[1], headers)); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
			t.Errorf("%s: got %v", key, err)
		}
		if _, err := NewRules(c[0], c[1], headers); err == nil {
			t.Errorf("%s: was built", key)
		}
	}
}

func FuzzParseCondition(f *testing.F) {
	for _, s := range []string{"Equals(`grp`, `admin`) && !(Contains(`areas`, `home`) || OneOf(`a\\.b.c\\\\d`, `x`, `y`))", "SplitContains(`scope`, ` `, `w`)", "!!!!", "Prefix(\"a\", \"\\n\")", "OneOf(`a`", "Equals(`.`, ``)"} {
		f.Add(s, sample)
	}
	f.Add("Equals(`a`, `1`)", `{"a":[[[[{}]]]]}`)
	f.Fuzz(func(t *testing.T, text, document string) {
		c, err := ParseCondition(text)
		if (c == nil) != (err != nil) {
			t.Fatalf("%q: condition and error do not fit: %v", text, err)
		}
		s, bad := Decode([]byte(document))
		if err != nil || bad != nil {
			return
		}
		got := c.Holds(s)
		if not, err := ParseCondition("!(" + text + ")"); err == nil && not.Holds(s) == got {
			t.Errorf("%q and its negation agree", text)
		}
		for _, p := range c.Paths() {
			v, _ := s.Find(p)
			if text := Text(v); !httpmsg.IsFieldValue(httpmsg.Text(text)) {
				t.Errorf("%q may not stand in a header", text)
			}
		}
	})
}
