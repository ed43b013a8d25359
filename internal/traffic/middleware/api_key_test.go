package middleware

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/core/secret"
)

// apiKeyOf is an apiKey whose key "secret" belongs to ann of the blue team.
func apiKeyOf(change func(*dynamic.APIKey)) *dynamic.Middleware {
	o := &dynamic.APIKey{KeySource: &dynamic.TokenSource{Header: "X-Api-Key"},
		Keys: []*dynamic.APIKeyHolder{{ID: "ann", SecretValue: secret.New(shaSecret), Metadata: map[string]string{"team": "blue"}}}}
	if change != nil {
		change(o)
	}
	return &dynamic.Middleware{APIKey: o}
}

func shaOf(key string) string {
	sum := sha1.Sum([]byte(key))
	return "{SHA}" + base64.StdEncoding.EncodeToString(sum[:])
}

func TestAPIKeySources(t *testing.T) {
	key := base64.StdEncoding.EncodeToString([]byte("secret"))
	everywhere := &dynamic.TokenSource{Header: "X-Key", Query: "key", Cookie: "key"}
	for _, c := range []struct {
		name   string
		source *dynamic.TokenSource
		target string
		fields []string
		want   int
	}{
		{"header", &dynamic.TokenSource{Header: "X-Key"}, "/", []string{"x-key: " + key}, 200},
		{"no header", &dynamic.TokenSource{Header: "X-Key"}, "/", nil, 401},
		{"empty header", &dynamic.TokenSource{Header: "X-Key"}, "/", []string{"X-Key: "}, 401},
		{"two headers", &dynamic.TokenSource{Header: "X-Key"}, "/", []string{"X-Key: " + key, "X-Key: " + key}, 401},
		{"underscores", &dynamic.TokenSource{Header: "X-Key"}, "/", []string{"X_Key: " + key}, 401},
		{"scheme", &dynamic.TokenSource{Header: "Authorization", HeaderAuthScheme: "Bearer"}, "/", []string{"Authorization: bearer  " + key}, 200},
		{"other scheme", &dynamic.TokenSource{Header: "Authorization", HeaderAuthScheme: "Bearer"}, "/", []string{"Authorization: Basic " + key}, 401},
		{"scheme alone", &dynamic.TokenSource{Header: "Authorization", HeaderAuthScheme: "Bearer"}, "/", []string{"Authorization: Bearer"}, 401},
		{"scheme glued", &dynamic.TokenSource{Header: "Authorization", HeaderAuthScheme: "Bearer"}, "/", []string{"Authorization: Bearer" + key}, 401},
		{"another scheme beside it", &dynamic.TokenSource{Header: "Authorization", HeaderAuthScheme: "Bearer"}, "/", []string{"Authorization: Basic x", "Authorization: Bearer " + key}, 200},
		{"query", &dynamic.TokenSource{Query: "key"}, "/?a=b&key=" + key, nil, 200},
		{"escaped query", &dynamic.TokenSource{Query: "my key"}, "/?my+%6bey=%63" + key[1:], nil, 200},
		{"query twice", &dynamic.TokenSource{Query: "key"}, "/?key=" + key + "&key=" + key, nil, 401},
		{"query twice, escaped", &dynamic.TokenSource{Query: "key"}, "/?key=" + key + "&%6bey=x", nil, 401},
		{"broken query", &dynamic.TokenSource{Query: "key"}, "/?key=%zz", nil, 401},
		{"cookie", &dynamic.TokenSource{Cookie: "key"}, "/", []string{"Cookie: a=b; key=" + key + "; c=d"}, 200},
		{"cookie in crumbs", &dynamic.TokenSource{Cookie: "key"}, "/", []string{"Cookie: a=b", "Cookie: key=\"" + key + `"`}, 200},
		{"cookie twice", &dynamic.TokenSource{Cookie: "key"}, "/", []string{"Cookie: key=x; key=" + key}, 401},
		{"cookie of another case", &dynamic.TokenSource{Cookie: "key"}, "/", []string{"Cookie: Key=" + key}, 401},
		{"header first", everywhere, "/?key=wrong", []string{"X-Key: " + key, "Cookie: key=wrong"}, 200},
		{"wrong header hides others", everywhere, "/?key=" + key, []string{"X-Key: wrong"}, 401},
		{"then query", everywhere, "/?key=" + key, []string{"Cookie: key=wrong"}, 200},
		{"then cookie", everywhere, "/", []string{"Cookie: key=" + key}, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := &origin{}
			h := build(t, Env{}, o, apiKeyOf(func(a *dynamic.APIKey) { a.KeySource = c.source }))
			x := serve(t, h, ask{target: c.target, fields: c.fields})
			if x.Res.Status != c.want || (o.calls > 0) != (c.want == 200) {
				t.Errorf("got %d after %d calls", x.Res.Status, o.calls)
			}
			if c.want == 401 && x.Res.Header.Lookup("WWW-Authenticate") == nil {
				t.Error("no challenge")
			}
		})
	}
}

func TestQueryValue(t *testing.T) {
	for query, want := range map[string]string{
		"": " 0", "a": " 1", "a=": " 1", "a=1": "1 1", "b=a=1": " 0", "a=1&a=2": "2 2", "b&&a=x%20y+z&": "x y z 1", "%61=1": "1 1", "%zz=1&a=2": "2 1", "a=%zz": " 1", "a%=1": " 0", "A=1": " 0",
		"a;=1": " 0", strings.Repeat("b&", maxPairs) + "a=1": " 0", strings.Repeat("b&", maxPairs-1) + "a=1": "1 1",
	} {
		v, n := QueryValue([]byte(query), "a")
		if got := fmt.Sprintf("%s %d", v, n); got != want {
			t.Errorf("%.30q: got %q, want %q", query, got, want)
		}
	}
}

func TestAPIKeyHashes(t *testing.T) {
	for name, hash := range map[string]string{
		"sha": shaSecret, "bcrypt": bcryptOf(t, "secret", "$2y$"), "apr1": "$apr1$abcdefgh$" + string(md5Crypt([]byte("secret"), "$apr1$", "abcdefgh")),
		"htpasswd with its colon": ":" + shaSecret,
	} {
		t.Run(name, func(t *testing.T) {
			m := apiKeyOf(func(a *dynamic.APIKey) {
				a.SecretNonBase64Encoded, a.Keys = true, nil
				a.SecretValues = secrets("{SHA}NWoZK3kTsExUV00Ywo1G5jlUKKs=", hash)
			})
			h := build(t, Env{}, silent, m)
			for range 2 { // the second time from memory
				for key, want := range map[string]int{"secret": 200, "Secret": 401, "1": 200, "": 401, "wrong": 401, strings.Repeat("x", maxPassword+1): 401, "c2VjcmV0": 401} {
					if got := serve(t, h, ask{fields: []string{"X-Api-Key: " + key}}).Res.Status; got != want {
						t.Errorf("%.20q: got %d", key, got)
					}
				}
			}
		})
	}
}

func TestAPIKeyBase64(t *testing.T) {
	h := build(t, Env{}, silent, apiKeyOf(func(a *dynamic.APIKey) {
		a.Keys, a.SecretValues = nil, secrets(shaOf("\xfb\xff\xfe?"))
	}))
	for key, want := range map[string]int{"+//+Pw==": 200, "-__-Pw==": 200, "+//+Pw": 200, "-__-Pw": 200, "+//+Pw===": 401, "+/_+Pw==": 401, "=": 401, "+//+Pw== ": 200, "+//+Px==": 200, "x": 401} {
		// Blanks at the end are no part of a field value. Spare bits of the last character are nobody's.
		if got := serve(t, h, ask{fields: []string{"X-Api-Key: " + key}}).Res.Status; got != want {
			t.Errorf("%q: got %d", key, got)
		}
	}
}

func TestAPIKeyTells(t *testing.T) {
	o := &origin{}
	h := build(t, Env{}, o, apiKeyOf(func(a *dynamic.APIKey) {
		a.SecretNonBase64Encoded = true
		a.SecretValues = secrets(shaOf("nobody"))
		a.Keys = append(a.Keys, &dynamic.APIKeyHolder{ID: "bob", SecretValue: secret.New(shaOf("bob's")), Metadata: map[string]string{"id": "not this"}})
		a.ForwardHeaders = map[string]string{"X-Team": "team", "X-Id": "id"}
	}))
	forged := []string{"X-Team: forged", "x_team: forged", "X-ID: forged"}
	for key, want := range map[string]string{"secret": "ann X-Id: ann X-Team: blue", "bob's": "bob X-Id: bob", "nobody": ""} {
		x := serve(t, h, ask{fields: append(slices.Clone(forged), "X-Api-Key: "+key)})
		got := x.Facts.User
		for _, f := range o.fields[1:] {
			got += " " + f
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
}

func TestAPIKeyRefuses(t *testing.T) {
	for key, change := range map[string]func(*dynamic.APIKey){
		"apiKey.keySource":                  func(o *dynamic.APIKey) { o.KeySource = nil },
		"apiKey.keySource.header":           func(o *dynamic.APIKey) { o.KeySource.Header = "a b" },
		"apiKey.keySource.headerAuthScheme": func(o *dynamic.APIKey) { o.KeySource.HeaderAuthScheme = "a b" },
		"apiKey.keySource.cookie":           func(o *dynamic.APIKey) { o.KeySource = &dynamic.TokenSource{Cookie: "a;b"} },
		"apiKey.secretValues":               func(o *dynamic.APIKey) { o.Keys = nil },
		"apiKey.secretValues[0]":            func(o *dynamic.APIKey) { o.SecretValues = secrets("hunter2") },
		"apiKey.keys[0]":                    func(o *dynamic.APIKey) { o.Keys[0] = nil },
		"apiKey.keys[0].id":                 func(o *dynamic.APIKey) { o.Keys[0].ID = "" },
		"apiKey.keys[1].id":                 func(o *dynamic.APIKey) { o.Keys = append(o.Keys, o.Keys[0]) },
		"apiKey.keys[0].secretValue":        func(o *dynamic.APIKey) { o.Keys[0].SecretValue = secret.New("hunter2") },
		"apiKey.keys[0].metadata.a":         func(o *dynamic.APIKey) { o.Keys[0].Metadata["a"] = "\r\n" },
		"apiKey.forwardHeaders.Host":        func(o *dynamic.APIKey) { o.ForwardHeaders = map[string]string{"Host": "team"} },
	} {
		m := apiKeyOf(change)
		refuses(t, m, key)
		for _, f := range checkAPIKey(m) {
			if strings.Contains(f.String(), "hunter2") {
				t.Errorf("%s shows a key", f)
			}
		}
	}
	l := checkAPIKey(apiKeyOf(func(o *dynamic.APIKey) {
		o.SecretValues = slices.Repeat(secrets(bcryptOf(t, "a", "$2y$")), fewSlowKeys+1)
	}))
	if len(l) != 1 || l[0].Severity != diag.Warning {
		t.Errorf("many slow keys: %v", l)
	}
}

// TestAPIKeyCost holds that wrong keys cost slow hashes only once, and are refused in the end when there are too many.
func TestAPIKeyCost(t *testing.T) {
	r, err := newKeyring([]userLine{{text: "\x00" + bcryptOf(t, "secret", "$2y$")}}, &Slots{make(chan struct{}, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if h, err := r.verify([]byte("wrong")); h != nil || err != nil {
		t.Fatal(h, err)
	}
	if h, err := r.verify([]byte("secret")); h == nil || err != nil {
		t.Fatal(h, err)
	}
	r.slots.Take() // nobody else gets one
	if h, err := r.verify([]byte("wrong")); h != nil || err != nil {
		t.Error("asked again", h, err)
	}
	if h, err := r.verify([]byte("secret")); h == nil || err != nil {
		t.Error("asked again", h, err)
	}
	r.slots.Give()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			key := []byte("secret")
			if i%2 == 0 {
				key = fmt.Appendf(nil, "wrong %d", i)
			}
			if h, err := r.verify(key); err != nil && fault.Status(err) != 503 || err == nil && (h != nil) != (i%2 == 1) {
				t.Errorf("%s: got %v, %v", key, h, err)
			}
		})
	}
	wg.Wait()
}
