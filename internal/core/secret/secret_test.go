package secret

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestNeverPrinted(t *testing.T) {
	s := New("hunter2")
	holder := struct {
		P String `json:"p"`
		E String `json:"e,omitzero"`
	}{P: s}
	out, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	shown := string(out) + fmt.Sprintf("%v %+v %#v %s %q", s, holder, holder, s, s)
	if strings.Contains(shown, "hunter2") {
		t.Errorf("secret shown: %s", shown)
	}
	if string(out) != `{"p":"REDACTED"}` {
		t.Errorf("got %s", out)
	}
	if s.Reveal() != "hunter2" || New("").String() != "" {
		t.Error("Reveal or empty String wrong")
	}
}
