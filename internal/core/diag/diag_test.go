package diag

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestFindingString(t *testing.T) {
	for _, c := range []struct {
		name string
		f    Finding
		want string
	}{
		{"whole", Finding{Place: Place{"routers.yml", 14, 9}, Severity: Error, Key: "http.routers.api.rule", Code: "RULE-UNKNOWN-MATCHER",
			Message: `unknown matcher "Hosts"`, Hint: `did you mean "Host"?`},
			`routers.yml:14:9: error: http.routers.api.rule: unknown matcher "Hosts" (did you mean "Host"?) [RULE-UNKNOWN-MATCHER]`},
		{"line only", Finding{Place: Place{Source: "a.toml", Line: 3}, Message: "broken"}, "a.toml:3: info: broken"},
		{"flag", Finding{Place: Place{Source: "flag --api"}, Severity: Warning, Code: "X", Message: "m"}, "flag --api: warning: m [X]"},
		{"no place", Finding{Severity: Error, Message: "m"}, "error: m"},
		{"control characters", Finding{Message: "a\x1b[31m\nb"}, `info: a\x1b[31m\nb`},
	} {
		if got := c.f.String(); got != c.want {
			t.Errorf("%s: got  %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestList(t *testing.T) {
	var l List
	l.Add(Finding{Place: Place{"b", 1, 1}, Severity: Warning, Code: "B"})
	l.Add(Finding{Place: Place{"a", 2, 1}, Severity: Info, Code: "A2"})
	l.Add(Finding{Place: Place{"a", 1, 9}, Severity: Warning, Code: "A1"})
	l.Sort()
	if l[0].Code != "A1" || l[1].Code != "A2" || l[2].Code != "B" {
		t.Errorf("order: %v", l)
	}
	if l.Has(Error) || !l.Has(Warning) || l.Count(Warning) != 2 {
		t.Errorf("Has or Count wrong for %v", l)
	}
	out, err := json.Marshal(l[0])
	if err != nil || !strings.Contains(string(out), `"severity":"warning"`) {
		t.Errorf("%s, %v", out, err)
	}
}

func TestNearest(t *testing.T) {
	words := []string{"entryPoints", "rule", "service", "middlewares", "tls", "priority"}
	for word, want := range map[string]string{
		"rules": "rule", "entrypoint": "entryPoints", "Servcie": "service", "middleware": "middlewares", "xyz": "", "pirority": "priority",
		"colour": "",
	} {
		if got := Nearest(word, words); got != want {
			t.Errorf("%s: got %q, want %q", word, got, want)
		}
	}
	if DidYouMean("servcie", words) != `did you mean "service"?` || DidYouMean("zzz", words) != "" {
		t.Error("hint")
	}
}
