package accesslog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/core/static"
	"sluice/internal/observe/record"
)

// fieldList is a header for tests.
type fieldList [][2]string

func (f fieldList) Len() int                         { return len(f) }
func (f fieldList) Field(i int) (name, value string) { return f[i][0], f[i][1] }

// request is a record with everything in it.
func exampleRequest() *record.Record {
	return &record.Record{
		EntryPoint: "web", Router: "app@docker", Service: "app@docker", Server: "http://10.0.0.1:8080",
		Client: netip.MustParseAddrPort("[::ffff:192.0.2.7]:4711"), Secure: true,
		TLS:    record.TLS{Version: 0x0304, Suite: 0x1301, Subject: "CN=me"},
		Method: "GET", Host: "a.test:8443", Path: "/x/%20y", Query: "q=1", Proto: "HTTP/1.1",
		Request:  fieldList{{"user-agent", "curl/8"}, {"Referer", "http://b.test/"}, {"Accept", "a"}, {"accept", "b"}, {"Authorization", "Basic c2VjcmV0"}},
		Response: fieldList{{"Content-Type", "text/plain"}},
		Origin:   fieldList{{"Server", "app"}},
		Status:   200, OriginStatus: 201, User: "jo", Retries: 2, BytesIn: 5, BytesOut: 50, OriginBytes: 100,
		Start:    time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC),
		Duration: 1500 * time.Millisecond, OriginDuration: 1400 * time.Millisecond, Phase: record.Done,
	}
}

func tunnel() *record.Record {
	return &record.Record{EntryPoint: "websecure", Router: "vm@file", Service: "vm@file", Server: "10.0.0.2:443",
		Client: netip.MustParseAddrPort("192.0.2.7:4711"), SNI: "www.vm.test", Passthrough: true, BytesIn: 7, BytesOut: 9,
		Start: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Duration: time.Second, EndedBy: fault.Client, Phase: record.Done}
}

// written returns what a log of this configuration writes.
func written(t *testing.T, c *static.AccessLog, records ...*record.Record) string {
	t.Helper()
	var out bytes.Buffer
	l, err := New(c, Options{Stdout: &out, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		l.Record(r)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func config(change func(c *static.AccessLog)) *static.AccessLog {
	c := &static.AccessLog{}
	c.SetDefaults()
	if change != nil {
		change(c)
	}
	return c
}

func TestLineFormats(t *testing.T) {
	keep := func(c *static.AccessLog) { c.Fields.Headers.DefaultMode = static.FieldKeep }
	refused := &record.Record{EntryPoint: "web", Client: netip.MustParseAddrPort("192.0.2.7:4711"), Start: tunnel().Start,
		Fault: fault.New(fault.RequestTimeout, "the first bytes took too long", nil), Phase: record.Sniffing}
	for _, c := range []struct {
		name   string
		change func(c *static.AccessLog)
		r      *record.Record
		want   string
	}{
		{"common", nil, exampleRequest(), `192.0.2.7 - jo [02/Jan/2026:03:04:05 +0000] "GET /x/%20y?q=1 HTTP/1.1" 200 50 "-" "-" 1 "app@docker" "http://10.0.0.1:8080" 1500ms`},
		{"unknown format", func(c *static.AccessLog) { c.Format = "fancy" }, exampleRequest(), `192.0.2.7 - jo [02/Jan/2026:03:04:05 +0000] "GET /x/%20y?q=1 HTTP/1.1" 200 50 "-" "-" 1 "app@docker" "http://10.0.0.1:8080" 1500ms`},
		{"generic", func(c *static.AccessLog) { c.Format = static.FormatGenericCLF }, exampleRequest(), `192.0.2.7 - jo [02/Jan/2026:03:04:05 +0000] "GET /x/%20y?q=1 HTTP/1.1" 200 50 "-" "-"`},
		{"headers kept", keep, exampleRequest(), `192.0.2.7 - jo [02/Jan/2026:03:04:05 +0000] "GET /x/%20y?q=1 HTTP/1.1" 200 50 "http://b.test/" "curl/8" 1 "app@docker" "http://10.0.0.1:8080" 1500ms`},
		{"fields dropped", func(c *static.AccessLog) {
			c.Fields.Names = map[string]string{"clienthost": "drop", "ROUTERNAME": "drop", "StartUTC": "drop", "startLocal": "drop", "Duration": "drop", "ServiceURL": "redact"}
			c.Fields.QueryParameters.DefaultMode = "drop"
		}, exampleRequest(), `- - jo [-] "GET /x/%20y HTTP/1.1" 200 50 "-" "-" 1 "-" "http://10.0.0.1:8080" -ms`},
		{"all dropped but one", func(c *static.AccessLog) {
			c.Fields.DefaultMode, c.Fields.Names = "drop", map[string]string{"RequestPath": "keep"}
		}, exampleRequest(), `- - - [-] "- /x/%20y?q=1 -" - - "-" "-" - "-" "-" -ms`},
		{"tunnel", nil, tunnel(), `192.0.2.7 - - [02/Jan/2026:03:04:05 +0000] "TLS-PASSTHROUGH www.vm.test -" 0 9 "-" "-" 0 "vm@file" "10.0.0.2:443" 1000ms`},
		{"refused connection", nil, refused, `192.0.2.7 - - [02/Jan/2026:03:04:05 +0000] "TCP - -" 0 0 "-" "-" 0 "-" "-" 0ms`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := written(t, config(c.change), c.r); got != c.want+"\n" {
				t.Errorf("got  %swant %s", got, c.want)
			}
		})
	}
}

func TestJSONFields(t *testing.T) {
	t.Setenv("TZ", "UTC")
	line := written(t, config(func(c *static.AccessLog) {
		c.Format = static.FormatJSON
		c.Fields.Headers.DefaultMode = static.FieldKeep
		c.Fields.Headers.Names = map[string]string{"authorization": "redact", "user-agent": "drop"}
	}), exampleRequest())
	var got map[string]any
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		t.Fatal(err, line)
	}
	for _, local := range []string{"StartLocal", "time"} {
		if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(got[local])); err != nil {
			t.Errorf("%s: %v", local, err)
		}
		delete(got, local)
	}
	want := map[string]any{
		"ClientAddr": "192.0.2.7:4711", "ClientHost": "192.0.2.7", "ClientPort": "4711", "ClientUsername": "jo",
		"DownstreamContentSize": 50.0, "DownstreamStatus": 200.0, "Duration": 1.5e9, "GzipRatio": 2.0, "OriginContentSize": 100.0,
		"OriginDuration": 1.4e9, "OriginStatus": 201.0, "Overhead": 1e8, "RequestAddr": "a.test:8443", "RequestContentSize": 5.0,
		"RequestCount": 1.0, "RequestHost": "a.test", "RequestMethod": "GET", "RequestPath": "/x/%20y?q=1", "RequestPort": "8443",
		"RequestProtocol": "HTTP/1.1", "RequestScheme": "https", "RetryAttempts": 2.0, "RouterName": "app@docker",
		"ServiceAddr": "10.0.0.1:8080", "ServiceName": "app@docker", "ServiceURL": "http://10.0.0.1:8080",
		"StartUTC": "2026-01-02T03:04:05.000000678Z", "TLSCipher": "TLS_AES_128_GCM_SHA256", "TLSClientSubject": "CN=me", "TLSVersion": "1.3",
		"entryPointName": "web", "level": "info", "msg": "",
		"request_Accept": "a,b", "request_Referer": "http://b.test/", "request_Authorization": "REDACTED",
		"downstream_Content-Type": "text/plain", "origin_Server": "app",
	}
	if !reflect.DeepEqual(got, want) {
		for name := range want {
			if !reflect.DeepEqual(got[name], want[name]) {
				t.Errorf("%s: %v, want %v", name, got[name], want[name])
			}
			delete(got, name)
		}
		t.Errorf("more than wanted: %v", got)
	}

	failed := exampleRequest()
	failed.Server, failed.OriginStatus, failed.Status, failed.Host = "", 0, 503, "a.test"
	failed.Fault = fault.New(fault.NoServer, "no server is up", nil)
	line = written(t, config(func(c *static.AccessLog) { c.Format = static.FormatJSON }), failed, tunnel())
	first, second, _ := strings.Cut(strings.TrimSpace(line), "\n")
	got = nil
	if err := json.Unmarshal([]byte(first), &got); err != nil {
		t.Fatal(err, first)
	}
	if got["Error"] != fault.NoServer.Code() || got["ErrorSide"] == "" || got["ErrorReason"] == "" || got["RequestPort"] != "-" || got["OriginStatus"] != 0.0 || got["request_Accept"] != nil {
		t.Errorf("an answer of our own: %v", got)
	}
	got = nil
	if err := json.Unmarshal([]byte(second), &got); err != nil {
		t.Fatal(err, second)
	}
	if got["ConnectionType"] != "TLS-PASSTHROUGH" || got["SNI"] != "www.vm.test" || got["EndedBy"] != "client" || got["Phase"] != "done" ||
		got["RequestMethod"] != nil || got["DownstreamStatus"] != nil || got["ServiceAddr"] != "10.0.0.2:443" || got["RequestContentSize"] != 7.0 {
		t.Errorf("a tunnel: %v", got)
	}
}

func TestFilters(t *testing.T) {
	quiet := exampleRequest()
	quiet.Quiet.AccessLog = true
	own := exampleRequest()
	own.Service = "api@internal"
	calm := exampleRequest()
	calm.Retries = 0
	for _, c := range []struct {
		name   string
		change func(c *static.AccessLog)
		r      *record.Record
		want   bool
	}{
		{"nothing set", nil, exampleRequest(), true},
		{"empty", func(c *static.AccessLog) { c.Filters = &static.AccessLogFilters{} }, exampleRequest(), true},
		{"its code", func(c *static.AccessLog) { c.Filters = &static.AccessLogFilters{StatusCodes: []string{"404", "200"}} }, exampleRequest(), true},
		{"its range", func(c *static.AccessLog) { c.Filters = &static.AccessLogFilters{StatusCodes: []string{"200-299"}} }, exampleRequest(), true},
		{"other codes", func(c *static.AccessLog) { c.Filters = &static.AccessLogFilters{StatusCodes: []string{"400-599"}} }, exampleRequest(), false},
		{"other codes, but retried", func(c *static.AccessLog) {
			c.Filters = &static.AccessLogFilters{StatusCodes: []string{"400-599"}, RetryAttempts: true}
		}, exampleRequest(), true},
		{"not retried", func(c *static.AccessLog) { c.Filters = &static.AccessLogFilters{RetryAttempts: true} }, calm, false},
		{"as slow as the limit", func(c *static.AccessLog) {
			c.Filters = &static.AccessLogFilters{MinDuration: dynamic.Duration(1500 * time.Millisecond)}
		}, exampleRequest(), false},
		{"slower", func(c *static.AccessLog) {
			c.Filters = &static.AccessLogFilters{MinDuration: dynamic.Duration(1499 * time.Millisecond)}
		}, exampleRequest(), true},
		{"the router is quiet", nil, quiet, false},
		{"internal", nil, own, false},
		{"internal, wanted", func(c *static.AccessLog) { c.AddInternals = true }, own, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := written(t, config(c.change), c.r) != ""; got != c.want {
				t.Errorf("written: %v", got)
			}
		})
	}
}

// A slip in a mode shows nothing that was to be hidden, and case does not matter.
func TestModesOfHeaders(t *testing.T) {
	for _, c := range []struct {
		name   string
		mode   string
		names  map[string]string
		format string
		shown  string // of Authorization
	}{
		{"a word that is none", "redacted", nil, "json", ""},
		{"capitals", "Redact", nil, "JSON", "REDACTED"},
		{"a name's, capitals", "keep", map[string]string{"authorization": "REDACT"}, "json", "REDACTED"},
		{"a name's word that is none", "drop", map[string]string{"Authorization": "show"}, "Json", ""},
		{"kept", "KEEP", nil, "json", "Basic c2VjcmV0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			line := written(t, config(func(a *static.AccessLog) {
				a.Format, a.Fields.Headers.DefaultMode, a.Fields.Headers.Names = c.format, c.mode, c.names
			}), exampleRequest())
			var got map[string]any
			if err := json.Unmarshal([]byte(line), &got); err != nil {
				t.Fatal(err, line)
			}
			if shown, _ := got["request_Authorization"].(string); shown != c.shown {
				t.Errorf("shown: %q", shown)
			}
		})
	}
	if written(t, config(func(a *static.AccessLog) { a.Filters = &static.AccessLogFilters{StatusCodes: []string{"5xx"}} }), exampleRequest()) != "" {
		t.Error("a filter that nothing passes let something pass")
	}
}

// No text of a client ends its column, its quotes, its line or its object.
func TestInjection(t *testing.T) {
	evil := []string{"a\" 200 1 \"x", "a\\", "a\r\n127.0.0.1 - - [", "\x1b[2J", "\xff\xfe", "é\u2028\u0085", "a b", strings.Repeat("y", 100_000)}
	for _, text := range evil {
		r := exampleRequest()
		r.Method, r.Host, r.Path, r.Query, r.User, r.SNI, r.TLS.Subject = text, text, text, text, text, text, text
		r.Request = fieldList{{"User-Agent", text}, {"Referer", text}, {"X-Forwarded-For", text}, {text, text}}
		keep := func(format string) *static.AccessLog {
			return config(func(c *static.AccessLog) { c.Format, c.Fields.Headers.DefaultMode = format, static.FieldKeep })
		}
		for _, format := range static.AccessLogFormats() {
			line := written(t, keep(format), r)
			if strings.Count(line, "\n") != 1 || strings.ContainsAny(line[:len(line)-1], "\r\x1b\x00") || len(line) > 16*maxText {
				t.Errorf("%s: %.60q: %d bytes, %.200q", format, text, len(line), line)
			}
			if format == static.FormatJSON {
				var got map[string]any
				if err := json.Unmarshal([]byte(line), &got); err != nil {
					t.Errorf("%.60q: %v", text, err)
				} else if len(text) < 100 && !strings.Contains(text, "\xff") && got["ClientUsername"] != text {
					t.Errorf("%q came out as %q", text, got["ClientUsername"])
				}
				continue
			}
			unescaped := strings.NewReplacer(`\\`, "", `\"`, "").Replace(line)
			if quotes := strings.Count(unescaped, `"`); format == static.FormatGenericCLF && quotes != 6 || format == static.FormatCommon && quotes != 10 {
				t.Errorf("%s: %.60q: %d quotes: %.200q", format, text, quotes, unescaped)
			}
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("GET", "/a?b", "curl", "a.test:80")
	f.Add("G\"", "/\\", "\n", "[::1]:x")
	f.Fuzz(func(t *testing.T, method, path, agent, host string) {
		r := exampleRequest()
		r.Method, r.Path, r.Host, r.Request = method, path, host, fieldList{{"User-Agent", agent}}
		for _, format := range []string{static.FormatJSON, static.FormatCommon} {
			l := newLayout(config(func(c *static.AccessLog) { c.Format, c.Fields.Headers.DefaultMode = format, static.FieldKeep }))
			n := &line{}
			n.start(r, 1)
			l.write(n)
			if bytes.ContainsAny(n.b, "\r\n\x00\x1b") {
				t.Errorf("%q", n.b)
			}
			if format == static.FormatJSON && !json.Valid(n.b) {
				t.Errorf("no JSON: %q", n.b)
			}
		}
	})
}

// stuck is a reader that has stopped.
type stuck struct {
	once    sync.Once
	entered chan struct{}
	free    chan struct{}
	io.Writer
}

func (s *stuck) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.entered) })
	<-s.free
	return s.Writer.Write(p)
}

// A reader that has stopped holds up nobody: lines are dropped, counted and told of, and what fits arrives later.
func TestSlowReader(t *testing.T) {
	var out bytes.Buffer
	var told bytes.Buffer
	s := &stuck{entered: make(chan struct{}), free: make(chan struct{}), Writer: &out}
	l, err := New(config(nil), Options{Stdout: s, Log: slog.New(slog.NewTextHandler(&told, nil))})
	if err != nil {
		t.Fatal(err)
	}
	l.Record(exampleRequest())
	<-s.entered
	l.writer.room = 1000
	for range 100 {
		l.Record(exampleRequest())
	}
	if n := l.Dropped(); n < 80 || n > 99 {
		t.Errorf("%d of 100 lines dropped", n)
	}
	close(s.free)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(out.String(), "\n"); uint64(lines)+l.Dropped() != 101 {
		t.Errorf("%d lines written, %d dropped", lines, l.Dropped())
	}
	if !strings.Contains(told.String(), "lostLines") {
		t.Errorf("nobody was told: %s", &told)
	}
}

// An idle writer writes at once; one that has just written gathers.
func TestGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out counting
		l, err := New(config(nil), Options{Stdout: &out, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		l.Record(exampleRequest())
		synctest.Wait()
		if out.writes.Load() != 1 {
			t.Errorf("the first line waits")
		}
		for range 10 {
			l.Record(exampleRequest())
		}
		synctest.Wait()
		if out.writes.Load() != 1 {
			t.Errorf("%d writes right behind the first", out.writes.Load())
		}
		time.Sleep(gather)
		synctest.Wait()
		if out.writes.Load() != 2 || out.lines.Load() != 11 {
			t.Errorf("%d writes, %d lines", out.writes.Load(), out.lines.Load())
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

type counting struct{ writes, lines atomic.Int64 }

func (c *counting) Write(p []byte) (int, error) {
	c.writes.Add(1)
	c.lines.Add(int64(bytes.Count(p, []byte("\n"))))
	return len(p), nil
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestFullDisk(t *testing.T) {
	var told bytes.Buffer
	l, err := New(config(nil), Options{Stdout: failing{errors.New("no space left on device")}, Log: slog.New(slog.NewTextHandler(&told, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		l.Record(exampleRequest())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l.Dropped() != 3 || strings.Count(told.String(), "no space left") != 1 {
		t.Errorf("%d dropped; told: %s", l.Dropped(), &told)
	}
}

// After the file was moved away, Reopen makes a new one; no line is lost or written twice.
func TestReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "er")
	path := filepath.Join(dir, "access.log")
	l, err := New(config(func(c *static.AccessLog) { c.FilePath = path }), Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	l.Record(exampleRequest())
	for deadline := time.Now().Add(10 * time.Second); strings.Count(read(path), "\n") == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("an idle log does not write")
		}
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Record(exampleRequest())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if a, b := strings.Count(read(path+".1"), "\n"), strings.Count(read(path), "\n"); a != 1 || b != 1 {
		t.Errorf("%d lines in the old file, %d in the new one", a, b)
	}
	if _, err := New(config(func(c *static.AccessLog) { c.FilePath = dir }), Options{}); err == nil {
		t.Error("a directory was opened as a file")
	}
}

func BenchmarkRecord(b *testing.B) {
	for _, format := range static.AccessLogFormats() {
		b.Run(format, func(b *testing.B) {
			l, err := New(config(func(c *static.AccessLog) { c.Format = format }), Options{Stdout: io.Discard, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			r := exampleRequest()
			b.ReportAllocs()
			for b.Loop() {
				l.Record(r)
			}
		})
	}
}
