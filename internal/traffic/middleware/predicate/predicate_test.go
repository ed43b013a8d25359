package predicate

import (
	"errors"
	"strings"
	"testing"
)

type subject struct {
	code  int64
	ratio float64
	text  string
	ok    bool
}

var funcs = []Func[subject]{
	{Name: "Code", Result: Int, Call: func(s subject, _ []Value) Value { return Value{Int: s.code} }},
	{Name: "Ratio", Params: []Type{Int, Float}, Result: Float,
		Check: func(a []Value) error {
			if a[0].Int > 9 {
				return errors.New("the first argument must be below 10")
			}
			return nil
		},
		Call: func(s subject, a []Value) Value { return Value{Float: s.ratio * float64(a[0].Int) * a[1].Float} }},
	{Name: "Text", Result: String, Call: func(s subject, _ []Value) Value { return Value{String: s.text} }},
	{Name: "OK", Result: Bool, Call: func(s subject, _ []Value) Value { return Value{Bool: s.ok} }},
}

func TestParse(t *testing.T) {
	s := subject{code: 502, ratio: 0.25, text: `a"b`, ok: true}
	for _, c := range []struct {
		text string
		want bool
	}{
		{"Code() == 502", true},
		{"Code()!=502", false},
		{"Code() > 501", true},
		{"Code() >= 503", false},
		{"Code() < 503", true},
		{"Code() <= 501", false},
		{" ( Code( ) == 502 ) ", true},
		{"Ratio(2, 1.0) == 0.5", true},
		{"Ratio(2, 1.0) > 0.5", false},
		{`Text() == "a\"b"`, true},
		{"Text() != `x`", true},
		{"OK()", true},
		{"OK() && Code() == 1", false},
		{"Code() == 1 && OK() || OK()", true},
		{"OK() || OK() && Code() == 1", true},
		{"(OK() || OK()) && Code() == 1", false},
		{"Code() == 1 || (Code() == 502 && (Ratio(1, 4.0) >= 1.0))", true},
	} {
		f, err := Parse(c.text, funcs)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := f(s); got != c.want {
			t.Errorf("%s: got %v", c.text, got)
		}
	}
}

func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "character 1: the expression ends where the name of a function should be",
		"Code()":                         "ends where a comparison of Code() should be",
		"Code() == ":                     "ends where a whole number should be",
		"Code() == 1.5":                  "not a whole number",
		"Code() == x":                    `"x" stands where a whole number`,
		"Code() == 5x":                   "5x is not a whole number",
		"Code() == -1":                   `character 11: "-" stands where`,
		"Code() = 1":                     `"=" stands where a comparison`,
		"Code() == 99999999999999999999": "is not a whole number",
		"502 == Code()":                  `"502" stands where the name of a function`,
		"Code == 1":                      "where ( behind Code",
		"Code(1) == 1":                   "takes 0 arguments",
		"Ratio(1, 1.0) > 1":              "write 1.0",
		"Ratio(1) > 1.0":                 "takes 2 arguments",
		"Ratio(1.0, 1.0) > 1.0":          "not a whole number",
		"Ratio(10, 1.0) > 1.0":           "character 1: Ratio: the first argument",
		"Text() > \"a\"":                 "== or !=",
		"Text() == 'a'":                  "double quotes",
		"Text() == \"a":                  "stands where a text should be",
		"Text() == \"\\q\"":              "is not a text",
		"OK() == 1":                      "condition already",
		"!OK()":                          "there is no !",
		"Okay()":                         `no function "Okay", only Code, Ratio, Text, OK`,
		"(OK()":                          "where ) should be",
		"OK())":                          `")" stands where &&, || or the end`,
		"OK() OK()":                      `"OK" stands where &&`,
		"OK() && ":                       "ends where the name of a function",
		"OK() & OK()":                    `"&" stands where`,
		strings.Repeat("(", 100):         "nested deeper than 64",
		strings.Repeat(" ", 5000):        "longer than 4096",
	} {
		if _, err := Parse(text, funcs); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %s", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"Code() == 502 && (OK() || Ratio(1, 0.5) > 1.0)", "Text() != `a`", "((((", `Text() == "\"`, "Code()==1||OK()&&!", "\xff\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		test, err := Parse(text, funcs)
		if (test == nil) != (err != nil) {
			t.Fatalf("%q: test and error do not fit: %v", text, err)
		}
		if err != nil {
			return
		}
		test(subject{})
		// Parentheses around a condition change nothing.
		again, err := Parse("("+text+")", funcs)
		if len(text)+2 > maxText {
			return
		}
		if err != nil {
			if strings.Contains(err.Error(), "deeper") {
				return
			}
			t.Fatalf("%q: %v", text, err)
		}
		s := subject{code: 1, ratio: 0.5, text: "a", ok: true}
		if test(s) != again(s) {
			t.Errorf("%q says another thing in parentheses", text)
		}
	})
}

func TestParseLogic(t *testing.T) {
	all := append([]Func[subject]{{Name: "Among", Params: []Type{String, Int}, Rest: true, Result: Bool,
		Call: func(s subject, a []Value) Value {
			for _, v := range a[1:] {
				if v.Int == s.code {
					return Value{Bool: a[0].String == s.text}
				}
			}
			return Value{}
		}}}, funcs...)
	s := subject{code: 3, text: "a", ok: true}
	for text, want := range map[string]bool{
		"!OK()": false, "!!OK()": true, "!(OK() && Code() == 4)": true, "!OK() || Code() == 3": true, "!Code() == 4": true, "OK() && !OK()": false,
		"Among(`a`, 1, 2, 3)": true, "Among(`a`, 1)": false, "Among(`b`, 3)": false, "!Among(`a`, 3, 3)": false,
	} {
		test, err := ParseLogic(text, all)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := test(s); got != want {
			t.Errorf("%s: got %v", text, got)
		}
	}
	for text, want := range map[string]string{
		"!": "ends where the name of a function", "OK()!": "where &&, || or the end", "! && OK()": `"&&" stands where`,
		"Among(`a`)": "takes at least 2 arguments", "Among(`a`, `b`)": "where a whole number should be", "Among(`a`, 1,)": "where a whole number should be",
		strings.Repeat("!", 100) + "OK()": "nested deeper than 64", strings.Repeat("!(", 40) + "OK()": "nested deeper than 64",
	} {
		if _, err := ParseLogic(text, all); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %s", text, err, want)
		}
	}
}
