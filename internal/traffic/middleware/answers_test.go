package middleware

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/secret"
	"sluice/internal/wire/httpmsg"
)

func TestEncodedCharacters(t *testing.T) {
	all := &dynamic.EncodedCharacters{}
	codes := map[string]func(*dynamic.EncodedCharacters){
		"%2F": func(e *dynamic.EncodedCharacters) { e.AllowEncodedSlash = true },
		"%5c": func(e *dynamic.EncodedCharacters) { e.AllowEncodedBackSlash = true },
		"%00": func(e *dynamic.EncodedCharacters) { e.AllowEncodedNullCharacter = true },
		"%3b": func(e *dynamic.EncodedCharacters) { e.AllowEncodedSemicolon = true },
		"%25": func(e *dynamic.EncodedCharacters) { e.AllowEncodedPercent = true },
		"%3F": func(e *dynamic.EncodedCharacters) { e.AllowEncodedQuestionMark = true },
		"%23": func(e *dynamic.EncodedCharacters) { e.AllowEncodedHash = true },
	}
	status := func(e *dynamic.EncodedCharacters, target string) int {
		return serve(t, build(t, Env{}, silent, &dynamic.Middleware{EncodedCharacters: e}), ask{target: target}).Res.Status
	}
	for code, allow := range codes {
		one := &dynamic.EncodedCharacters{}
		allow(one)
		for other := range codes {
			want := 400
			if other == code {
				want = 200
			}
			if got := status(one, "/a"+other+"b"); got != want {
				t.Errorf("PTH-03 %s allowed, %s: got %d", code, other, got)
			}
		}
		if got := status(all, "/x%20y/"+code); got != 400 {
			t.Errorf("PTH-03 %s at the end: got %d", code, got)
		}
		if got := status(all, "/x?"+code); got != 200 {
			t.Errorf("%s in the query: got %d", code, got)
		}
	}
	if got := status(all, "/a%20b%C3%A4;x"); got != 200 {
		t.Errorf("harmless codes: got %d", got)
	}
	allocations(t, build(t, Env{}, silent, &dynamic.Middleware{EncodedCharacters: all}), ask{target: "/a%20b"})
}

// recorder is an Outlet that notes what it gets.
type recorder struct {
	contentType string
	events      []string
}

func (r *recorder) Head(x *httpmsg.Exchange, _ bool) error {
	r.contentType = x.Res.Header.Get(httpmsg.HdrContentType).String()
	r.events = append(r.events, "head")
	return nil
}
func (r *recorder) Body(p []byte) error       { r.events = append(r.events, string(p)); return nil }
func (r *recorder) Flush() error              { r.events = append(r.events, "flush"); return nil }
func (r *recorder) End(*httpmsg.Header) error { r.events = append(r.events, "end"); return nil }

func TestContentType(t *testing.T) {
	long := "<html>" + strings.Repeat("x", 600)
	for _, c := range []struct {
		name, method string
		status       int
		fields       map[string]string
		body         []string
		want         string
		events       []string
	}{
		{"text", "GET", 200, nil, []string{"hello"}, "text/plain; charset=utf-8", []string{"head", "hello", "end"}},
		{"html", "GET", 404, nil, []string{"<html><body>"}, "text/html; charset=utf-8", []string{"head", "<html><body>", "end"}},
		{"in pieces", "GET", 200, nil, []string{"<ht", "ml>"}, "text/html; charset=utf-8", []string{"head", "<html>", "end"}},
		{"long", "GET", 200, nil, []string{long}, "text/html; charset=utf-8", []string{"head", long, "end"}},
		{"long in pieces", "GET", 200, nil, []string{"<", long[1:500], long[500:]}, "text/html; charset=utf-8", []string{"head", long[:512], long[512:], "end"}},
		{"a pause ends the wait", "GET", 200, nil, []string{"\x89PNG\r\n\x1a\n|", "more"}, "image/png", []string{"head", "\x89PNG\r\n\x1a\n", "flush", "more", "end"}},
		{"known", "GET", 200, map[string]string{"Content-Type": "x/y"}, []string{"hello"}, "x/y", []string{"head", "hello", "end"}},
		{"encoded", "GET", 200, map[string]string{"Content-Encoding": "gzip"}, []string{"hello"}, "", []string{"head", "hello", "end"}},
		{"empty", "GET", 200, nil, []string{}, "", []string{"head", "end"}},
		{"HEAD", "HEAD", 200, nil, []string{"hello"}, "", []string{"head", "end"}},
		{"304", "GET", 304, nil, []string{"hello"}, "", []string{"head", "end"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			end := httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
				x.Respond(c.status, "", "")
				for name, value := range c.fields {
					x.Res.Header.Add(name, value)
				}
				x.Res.Body, x.Res.ContentLength = &pieces{list: c.body}, -1
				return nil
			})
			h := build(t, Env{}, end, &dynamic.Middleware{ContentType: &dynamic.ContentType{}})
			x := ask{method: c.method}.exchange(t)
			if err := h.Serve(x); err != nil {
				t.Fatal(err)
			}
			var r recorder
			if err := x.Deliver(&r); err != nil {
				t.Fatal(err)
			}
			x.Finish()
			if r.contentType != c.want || strings.Join(r.events, "|") != strings.Join(c.events, "|") {
				t.Errorf("got %q %q, want %q %q", r.contentType, r.events, c.want, c.events)
			}
		})
	}
	m := &dynamic.Middleware{ContentType: &dynamic.ContentType{AutoDetect: new(false)}}
	if l := checkContentType(m); len(l) != 1 || Refusal(l) != nil {
		t.Errorf("got %v", l)
	}
	allocations(t, build(t, Env{}, silent, m), ask{})
}

func maintained(change func(*dynamic.Maintenance)) *dynamic.Middleware {
	m := &dynamic.Maintenance{}
	m.SetDefaults()
	if change != nil {
		change(m)
	}
	return &dynamic.Middleware{Maintenance: m}
}

func TestMaintenance(t *testing.T) {
	page := func(m *dynamic.Maintenance) {
		m.Page = dynamic.Material{Written: "page.html", Content: secret.New("<p>back soon"), Path: "page.html"}
		m.RetryAfter = dynamic.Milliseconds(1500)
		m.ExemptRange = []string{"10.0.0.0/8"}
	}
	for _, c := range []struct {
		name   string
		change func(*dynamic.Maintenance)
		a      ask
		status int
		body   string
		fields []string
	}{
		{"plain", nil, ask{}, 503, "Service Unavailable", []string{"Content-Type: text/plain; charset=utf-8", "Cache-Control: no-store"}},
		{"page", page, ask{}, 503, "<p>back soon", []string{"Content-Type: text/html; charset=utf-8", "Cache-Control: no-store", "Retry-After: 2"}},
		{"exempt", page, ask{peer: "10.0.0.1:1"}, 200, "ok", nil},
		{"exempt is not whom a field names", page, ask{fields: []string{"X-Forwarded-For: 10.0.0.1"}}, 503, "<p>back soon",
			[]string{"Content-Type: text/html; charset=utf-8", "Cache-Control: no-store", "Retry-After: 2"}},
		{"off", func(m *dynamic.Maintenance) { m.Enabled = new(false) }, ask{}, 200, "ok", nil},
		{"status", func(m *dynamic.Maintenance) { m.StatusCode = 200 }, ask{}, 200, "OK", []string{"Content-Type: text/plain; charset=utf-8", "Cache-Control: no-store"}},
	} {
		x := serve(t, build(t, Env{}, silent, maintained(c.change)), c.a)
		if got := body(x); x.Res.Status != c.status || got != c.body || strings.Join(list(&x.Res.Header), "|") != strings.Join(c.fields, "|") {
			t.Errorf("%s: got %d %q %q", c.name, x.Res.Status, got, list(&x.Res.Header))
		}
	}
	for key, change := range map[string]func(*dynamic.Maintenance){
		"maintenance.statusCode":       func(m *dynamic.Maintenance) { m.StatusCode = 0 },
		"maintenance.retryAfter":       func(m *dynamic.Maintenance) { m.RetryAfter = -1 },
		"maintenance.page":             func(m *dynamic.Maintenance) { m.Page.Written = "x" },
		"maintenance.exemptRange":      func(m *dynamic.Maintenance) { m.ExemptRange = []string{"x"} },
		"maintenance.contentType":      func(m *dynamic.Maintenance) { m.ContentType = "a\nb" },
		"maintenance.ipStrategy.depth": func(m *dynamic.Maintenance) { m.IPStrategy = &dynamic.IPStrategy{Depth: -1} },
	} {
		refuses(t, maintained(change), key)
	}
	allocations(t, build(t, Env{}, silent, maintained(page)), ask{peer: "10.0.0.1:1"})
	allocations(t, build(t, Env{}, silent, maintained(page)), ask{})
}

func TestMaintenanceWhenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "down")
	synctest.Test(t, func(t *testing.T) {
		h := build(t, Env{}, silent, maintained(func(m *dynamic.Maintenance) { m.WhenFile = path }))
		status := func() int { return serve(t, h, ask{}).Res.Status }
		if got := status(); got != 200 {
			t.Errorf("without the file: got %d", got)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := status(); got != 200 {
			t.Errorf("within a second: got %d", got)
		}
		time.Sleep(lookEvery)
		if got := status(); got != 503 {
			t.Errorf("with the file: got %d", got)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lookEvery)
		if got := status(); got != 200 {
			t.Errorf("after the file: got %d", got)
		}
	})
}
