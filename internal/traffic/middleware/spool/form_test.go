package spool

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

func TestForm(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	const form = "application/x-www-form-urlencoded"
	long := "a=" + strings.Repeat("x", 20_000)
	for _, c := range []struct {
		name, kind, body string
		length           bool
		memory           int64 // that is left
		text             string
		fits             bool
		err              string
	}{
		{"a form", form, "a=1", true, 1 << 20, "a=1", true, ""},
		{"of unknown length", form, "a=1", false, 1 << 20, "a=1", true, ""},
		{"with a charset", "Application/X-WWW-form-urlencoded ; charset=utf-8", "a=1", true, 1 << 20, "a=1", true, ""},
		{"another type", "text/plain", "a=1", true, 1 << 20, "", true, ""},
		{"no type", "", "a=1", true, 1 << 20, "", true, ""},
		{"no body", form, "", true, 1 << 20, "", true, ""},
		{"as long as may be", form, long, true, 1 << 20, long, true, ""},
		{"too long", form, long + "x", true, 1 << 20, "", false, ""},
		{"too long, of unknown length", form, long + "x", false, 1 << 20, "", false, ""},
		{"through a file", form, long, false, 20_002, long, true, ""},
		{"no memory", form, long, true, 0, "", true, "OUT-OF-BUDGET"},
	} {
		budget := httpmsg.NewBudget(c.memory)
		x := &httpmsg.Exchange{}
		if c.kind != "" {
			x.Req.Header.Add("Content-Type", c.kind)
		}
		if c.body != "" {
			x.Req.Body, x.Req.ContentLength = &source{data: []byte(c.body), step: 900, err: io.EOF}, -1
			if c.length {
				x.Req.ContentLength = int64(len(c.body))
			}
		}
		text, fits, err := Form(x, int64(len(long)), budget)
		if err != nil || c.err != "" {
			if err == nil || fault.Of(err).Kind.Code() != c.err {
				t.Errorf("%s: %v", c.name, err)
			}
		} else if string(text) != c.text || fits != c.fits {
			t.Errorf("%s: got %d bytes, fits %v", c.name, len(text), fits)
		}
		if got := drain(t, x.Req.Body); !bytes.Equal(got, []byte(c.body)) {
			t.Errorf("%s: the server gets %d bytes", c.name, len(got))
		}
		if x.Finish(); budget.Used() != 0 {
			t.Errorf("%s: %d bytes are left", c.name, budget.Used())
		}
	}
}
