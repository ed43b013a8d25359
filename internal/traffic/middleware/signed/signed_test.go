package signed

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/secret"
	"sluice/internal/testkit"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/trial"
	"sluice/internal/wire/httpmsg"
)

func TestMain(m *testing.M) {
	httpmsg.SetPoison(true)
	testkit.Main(m)
}

func config(change func(*dynamic.HMAC)) *dynamic.HMAC {
	c := &dynamic.HMAC{}
	c.SetDefaults()
	c.Keys = []*dynamic.HMACKey{{ID: "ann", Key: secret.New("secret of sixteen or more")}, {ID: "bob", Key: secret.New("another secret, bob's")}}
	if change != nil {
		change(c)
	}
	return c
}

func handler(t testing.TB, c *dynamic.HMAC, next httpmsg.Handler) httpmsg.Handler {
	t.Helper()
	h, err := Kind().Build(&dynamic.Middleware{HMAC: c}, middleware.Env{}, next)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// sender signs requests as a client does that shares no code with us.
type sender struct {
	id, key, algorithm string
	created, expires   string
	headers            string
	scheme             string
}

func newSender() sender {
	now := time.Now()
	return sender{"ann", "secret of sixteen or more", "hmac-sha256", fmt.Sprint(now.Unix()), fmt.Sprint(now.Add(time.Minute).Unix()), "(request-target) (created) (expires)", "Hmac"}
}

func (s sender) sign(lines ...string) string {
	m := hmac.New(map[string]func() hash.Hash{"hmac-sha1": sha1.New, "hmac-sha256": sha256.New, "hmac-sha384": sha512.New384, "hmac-sha512": sha512.New}[s.algorithm], []byte(s.key))
	io.WriteString(m, strings.Join(lines, "\n"))
	return fmt.Sprintf(`%s keyId="%s",algorithm="%s",headers="%s",signature="%s",created="%s",expires="%s"`, s.scheme, s.id, s.algorithm, s.headers,
		base64.StdEncoding.EncodeToString(m.Sum(nil)), s.created, s.expires)
}

// usual signs a request for a target with the enforced fields.
func (s sender) usual(target string) string {
	return s.sign("(request-target): get "+target, "(created): "+s.created, "(expires): "+s.expires)
}

func serve(t testing.TB, h httpmsg.Handler, target string, fields ...string) *httpmsg.Exchange {
	t.Helper()
	x := &httpmsg.Exchange{}
	x.Req.Method, x.Req.Host = httpmsg.Text("GET"), httpmsg.Text("example.org")
	if err := x.SetTarget(httpmsg.Text(target)); err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		x.Req.Header.Add(name, value)
	}
	if err := h.Serve(x); err != nil {
		x.Fail(err)
	}
	x.RunEdits()
	return x
}

var fine = httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { x.Respond(200, "", "ok"); return nil })

func TestSignatures(t *testing.T) {
	s := newSender()
	ago := func(d time.Duration) string { return fmt.Sprint(time.Now().Add(-d).Unix()) }
	with := func(change func(*sender)) string { c := s; change(&c); return c.usual("/foo?a=B") }
	for _, c := range []struct {
		name   string
		change func(*dynamic.HMAC)
		fields []string
		want   int
	}{
		{"sha256", nil, []string{"Authorization: " + s.usual("/foo?a=B")}, 200},
		{"sha1", nil, []string{"Authorization: " + with(func(s *sender) { s.algorithm = "hmac-sha1" })}, 200},
		{"sha384", nil, []string{"Authorization: " + with(func(s *sender) { s.algorithm = "hmac-sha384" })}, 200},
		{"sha512", nil, []string{"Authorization: " + with(func(s *sender) { s.algorithm = "hmac-sha512" })}, 200},
		{"Proxy-Authorization", nil, []string{"Proxy-Authorization: " + s.usual("/foo?a=B")}, 200},
		{"beside another scheme", nil, []string{"Authorization: Basic x", "Authorization: " + s.usual("/foo?a=B")}, 200},
		{"Authorization wins", nil, []string{"Authorization: " + s.usual("/other"), "Proxy-Authorization: " + s.usual("/foo?a=B")}, 401},
		{"scheme in lower case", nil, []string{"Authorization: " + with(func(s *sender) { s.scheme = "hmac" })}, 200},
		{"other scheme", nil, []string{"Authorization: " + with(func(s *sender) { s.scheme = "Signature" })}, 401},
		{"twice", nil, []string{"Authorization: " + s.usual("/foo?a=B"), "Authorization: " + s.usual("/foo?a=B")}, 401},
		{"none", nil, nil, 401},
		{"another key", nil, []string{"Authorization: " + with(func(s *sender) { s.id, s.key = "bob", "another secret, bob's" })}, 200},
		{"somebody else's key", nil, []string{"Authorization: " + with(func(s *sender) { s.id = "bob" })}, 401},
		{"unknown key", nil, []string{"Authorization: " + with(func(s *sender) { s.id = "eve" })}, 401},
		{"unknown algorithm", nil, []string{"Authorization: " + strings.Replace(s.usual("/foo?a=B"), "hmac-sha256", "hmac-md5", 1)}, 401},
		{"another algorithm", nil, []string{"Authorization: " + strings.Replace(s.usual("/foo?a=B"), "hmac-sha256", "hmac-sha512", 1)}, 401},
		{"another target", nil, []string{"Authorization: " + s.usual("/foo?a=b")}, 401},
		{"expired", nil, []string{"Authorization: " + with(func(s *sender) { s.expires = ago(time.Minute) })}, 401},
		{"expired within leeway", func(c *dynamic.HMAC) { c.Leeway = dynamic.Seconds(120) }, []string{"Authorization: " + with(func(s *sender) { s.expires = ago(time.Minute) })}, 200},
		{"from the future", nil, []string{"Authorization: " + with(func(s *sender) { s.created = ago(-time.Minute) })}, 401},
		{"expires in fractions", nil, []string{"Authorization: " + with(func(s *sender) { s.expires += ".5" })}, 200},
		{"junk for a time", nil, []string{"Authorization: " + with(func(s *sender) { s.created = "-5" })}, 401},
		{"time beyond all", nil, []string{"Authorization: " + with(func(s *sender) { s.expires = "99999999999999999999999" })}, 401},
		{"created changed", nil, []string{"Authorization: " + strings.Replace(s.usual("/foo?a=B"), `created="`+s.created, `created="1`, 1)}, 401},
		{"expires changed", nil, []string{"Authorization: " + strings.Replace(s.usual("/foo?a=B"), `expires="`, `expires="9`, 1)}, 401},
		{"fewer fields than enforced", nil, []string{"Authorization: " + func() string { s := s; s.headers = "(created)"; return s.sign("(created): " + s.created) }()}, 401},
		{"created by default", func(c *dynamic.HMAC) { c.EnforcedHeaders = nil }, []string{"Authorization: " + strings.Replace(func() string { s := s; s.headers = ""; return s.sign("(created): " + s.created) }(), `headers="",`, "", 1)}, 200},
		{"nothing signed", func(c *dynamic.HMAC) { c.EnforcedHeaders = nil }, []string{"Authorization: " + func() string { s := s; s.headers = ""; return s.sign("") }()}, 401},
		{"upper case in the list", nil, []string{"Authorization: " + func() string {
			s := s
			s.headers += " Host"
			return s.sign("(request-target): get /foo?a=B", "(created): "+s.created, "(expires): "+s.expires, "host: example.org")
		}()}, 401},
		{"twice in the list", nil, []string{"Authorization: " + func() string {
			s := s
			s.headers += " (created)"
			return s.sign("(request-target): get /foo?a=B", "(created): "+s.created, "(expires): "+s.expires, "(created): "+s.created)
		}()}, 401},
		{"signed field missing", nil, []string{"Authorization: " + func() string {
			s := s
			s.headers += " x-missing"
			return s.sign("(request-target): get /foo?a=B", "(created): "+s.created, "(expires): "+s.expires, "x-missing: ")
		}()}, 401},
		{"parameter twice", nil, []string{"Authorization: " + s.usual("/foo?a=B") + `,keyId="ann"`}, 401},
		{"no quotes", nil, []string{"Authorization: " + strings.NewReplacer(`keyId="ann"`, `keyId=ann`, `created="`+s.created+`"`, "created="+s.created).Replace(s.usual("/foo?a=B"))}, 200},
		{"not base64", nil, []string{`Authorization: Hmac keyId="ann",algorithm="hmac-sha256",headers="(request-target) (created) (expires)",signature="!",created="` + s.created + `",expires="` + s.expires + `"`}, 401},
		{"empty", nil, []string{"Authorization: Hmac "}, 401},
		{"malformed", nil, []string{`Authorization: Hmac keyId="ann`}, 401},
		{"too long", nil, []string{"Authorization: " + s.usual("/foo?a=B") + `,x="` + strings.Repeat("x", maxParams) + `"`}, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls := 0
			h := handler(t, config(c.change), httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { calls++; return fine(x) }))
			x := serve(t, h, "/foo?a=B", c.fields...)
			if x.Res.Status != c.want || (calls > 0) != (c.want == 200) {
				t.Errorf("got %d after %d calls: %v", x.Res.Status, calls, x.Facts.Err)
			}
			if c.want == 200 && x.Facts.User != "ann" && x.Facts.User != "bob" {
				t.Errorf("user %q", x.Facts.User)
			}
			challenge := x.Res.Header.Lookup("WWW-Authenticate").String()
			if c.want == 401 && c.change == nil && challenge != `Hmac headers="(request-target) (created) (expires)"` {
				t.Errorf("challenge %q", challenge)
			}
		})
	}
}

// TestSignatureText is the example of the reference: several values, white space and an empty field.
func TestSignatureText(t *testing.T) {
	s := newSender()
	s.headers = "(request-target) (created) (expires) host x-example x-emptyheader cache-control"
	h := handler(t, config(func(c *dynamic.HMAC) { c.EnforcedHeaders = append(c.EnforcedHeaders, "Host", "cache-control") }), fine)
	for _, empty := range []string{"x-emptyheader: ", "x-emptyheader:"} {
		signed := s.sign("(request-target): get /foo", "(created): "+s.created, "(expires): "+s.expires, "host: example.org", "x-example: Example header with some whitespace.",
			empty, "cache-control: max-age=60, must-revalidate")
		fields := []string{"X-Example:   Example header with some whitespace.  ", "X-EmptyHeader: ", "X-NotIncluded: always", "Cache-Control: max-age=60", "Cache-Control: must-revalidate", "Authorization: " + signed}
		if x := serve(t, h, "/foo", fields...); x.Res.Status != 200 {
			t.Errorf("%q: got %d, %v", empty, x.Res.Status, x.Facts.Err)
		}
		for i, forged := range []string{"X-Example: other", "X-EmptyHeader: x", "", "Cache-Control: max-age=61", "Cache-Control: other"} {
			changed := slices.Clone(fields)
			if forged == "" {
				continue
			}
			changed[i] = forged
			if x := serve(t, h, "/foo", changed...); x.Res.Status != 401 {
				t.Errorf("%q was accepted", forged)
			}
		}
		if x := serve(t, h, "/foo", append(slices.Clone(fields), "X-Example: more")...); x.Res.Status != 401 {
			t.Error("another value was accepted")
		}
	}
}

// TestDigest sends bodies over every protocol.
func TestDigest(t *testing.T) {
	body := strings.Repeat("hello ", 300_000) // beyond what stands in memory
	sum256, sum512 := sha256.Sum256([]byte(body)), sha512.Sum512([]byte(body))
	d256, d512 := "SHA-256="+base64.StdEncoding.EncodeToString(sum256[:]), "SHA-512="+base64.StdEncoding.EncodeToString(sum512[:])
	s := newSender()
	post := func(digest string, signs bool) string {
		s := s
		lines := []string{"(request-target): post /", "(created): " + s.created, "(expires): " + s.expires}
		if signs {
			s.headers += " digest"
			lines = append(lines, "digest: "+digest)
		}
		return s.sign(lines...)
	}
	for _, c := range []struct {
		name   string
		change func(*dynamic.HMAC)
		digest string
		signs  bool
		body   string
		want   int
	}{
		{"sha256", nil, d256, true, body, 200},
		{"sha512", nil, strings.ToLower(d512[:7]) + d512[7:], true, body, 200},
		{"both", nil, d256 + "," + d512, true, body, 200},
		{"one of them wrong", nil, d256 + ", SHA-512=AAAA", true, body, 401},
		{"two that differ", nil, d256 + ", SHA-256=AAAA", true, body, 401},
		{"another body", nil, d256, true, body + "!", 401},
		{"not signed", nil, d256, false, body, 401},
		{"none", nil, "", false, body, 401},
		{"unknown kind", nil, "MD5=AAAA", true, body, 401},
		{"unknown kind beside it", nil, "MD5=AAAA," + d256, true, body, 200},
		{"not base64", nil, "SHA-256=!", true, body, 401},
		{"no body", nil, "", false, "", 200},
		{"switched off", func(c *dynamic.HMAC) { c.ValidateDigest = new(false) }, "", false, body, 200},
		{"too large", func(c *dynamic.HMAC) { c.MaxBodyBytes = 1000 }, d256, true, body, 413},
		{"any size", func(c *dynamic.HMAC) { c.MaxBodyBytes = -1 }, d256, true, body, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			h := handler(t, config(c.change), httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
				for b := x.Req.Body; b != nil; {
					p, err := b.Next()
					if err != nil {
						break
					}
					got += string(p)
				}
				return fine(x)
			}))
			trial.Each(t, h, func(t *testing.T, f *trial.Front) {
				for _, length := range []int64{int64(len(c.body)), -1} {
					if c.body == "" && length < 0 {
						continue
					}
					got = ""
					r, _ := http.NewRequest("POST", f.URL+"/", strings.NewReader(c.body))
					r.ContentLength = length
					if c.body == "" {
						r.Body = nil
					}
					r.Header.Set("Authorization", post(c.digest, c.signs))
					if c.digest != "" {
						r.Header.Set("Digest", c.digest)
					}
					res, err := f.Client.Do(r)
					if err != nil {
						if c.want == 200 {
							t.Fatal(err)
						}
						continue // the answer came before the body had been sent
					}
					res.Body.Close()
					if res.StatusCode != c.want || c.want == 200 && got != c.body || c.want != 200 && got != "" {
						t.Errorf("length %d: got %d, the service got %d bytes", length, res.StatusCode, len(got))
					}
				}
			})
		})
	}
}

func TestCheck(t *testing.T) {
	for key, change := range map[string]func(*dynamic.HMAC){
		"hmac.keys":               func(c *dynamic.HMAC) { c.Keys = nil },
		"hmac.keys[0].id":         func(c *dynamic.HMAC) { c.Keys[0].ID = "" },
		"hmac.keys[1].id":         func(c *dynamic.HMAC) { c.Keys[1].ID = "ann" },
		"hmac.keys[1].key":        func(c *dynamic.HMAC) { c.Keys[1].Key = secret.String{} },
		"hmac.enforcedHeaders[1]": func(c *dynamic.HMAC) { c.EnforcedHeaders = []string{"host", "(target)"} },
		"hmac.maxBodyBytes":       func(c *dynamic.HMAC) { c.MaxBodyBytes = -2 },
		"hmac.leeway":             func(c *dynamic.HMAC) { c.Leeway = -1 },
	} {
		m := &dynamic.Middleware{HMAC: config(change)}
		if err := middleware.Refusal(Kind().Check(m)); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
			t.Errorf("%s: got %v", key, err)
		}
		if _, err := Kind().Build(m, middleware.Env{}, nil); err == nil {
			t.Errorf("%s: was built", key)
		}
	}
	for key, change := range map[string]func(*dynamic.HMAC){
		"hmac.keys[0].key":     func(c *dynamic.HMAC) { c.Keys[0].Key = secret.New("hunter2") },
		"hmac.enforcedHeaders": func(c *dynamic.HMAC) { c.EnforcedHeaders = []string{"(request-target)", "host"} },
	} {
		l := Kind().Check(&dynamic.Middleware{HMAC: config(change)})
		if len(l) != 1 || l[0].Severity != diag.Warning || l[0].Key != key || strings.Contains(l[0].String(), "hunter2") {
			t.Errorf("%s: got %v", key, l)
		}
	}
}

func FuzzSignature(f *testing.F) {
	s := newSender()
	for _, seed := range [][2]string{{s.usual("/"), "SHA-256=AAAA"}, {`Hmac keyId="a\"b",signature=x,algorithm=y,headers="a b (created)",created=1.5`, "SHA-512=,md5"}, {"Hmac ,,=", ",="}, {"Hmac headers=\"\"", ""}} {
		f.Add(seed[0], seed[1])
	}
	g, _ := Kind().Build(&dynamic.Middleware{HMAC: config(nil)}, middleware.Env{}, fine)
	good := s.usual("/")
	f.Fuzz(func(t *testing.T, authorization, digest string) {
		if !httpmsg.IsFieldValue(httpmsg.Text(authorization)) || !httpmsg.IsFieldValue(httpmsg.Text(digest)) {
			return
		}
		x := serve(t, g, "/", "Authorization: "+authorization, "Digest: "+digest)
		if x.Res.Status == 200 && !strings.Contains(authorization, strings.Split(good, `signature="`)[1][:44]) {
			t.Errorf("%q was accepted", authorization)
		}
		if sums, ok := claimedSums(&x.Req.Header); ok && sums.sha256 == nil && sums.sha512 == nil {
			t.Errorf("%q counts and says nothing", digest)
		}
	})
}
