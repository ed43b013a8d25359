package middleware

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/core/secret"
	"sluice/internal/wire/httpmsg"
)

func secrets(texts ...string) []secret.String {
	out := make([]secret.String, len(texts))
	for i, t := range texts {
		out[i] = secret.New(t)
	}
	return out
}

func basic(name, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

// Hashes of "secret", made by openssl.
const (
	apr1Secret = "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/"
	md5Secret  = "$1$ab$dslkcXxVH.x8LwW1W/oAB/"
	shaSecret  = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
)

func bcryptOf(t testing.TB, password, prefix string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return prefix + string(h[4:])
}

func TestPasswordHashes(t *testing.T) {
	for _, c := range []struct{ name, hash, password string }{
		{"apr1", apr1Secret, "secret"},
		{"apr1 long", "$apr1$x$9P/NcygOkTVSy99TiR5a/.", "a much longer password, of more than sixteen bytes"},
		{"apr1 empty", "$apr1$zz$j2/RZcZLBHtY4Hv3/anFc1", ""},
		{"md5", md5Secret, "secret"},
		{"sha", shaSecret, "secret"},
		{"sha256", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!"},
		{"sha256 long", "$5$abc$PkwCPjx1TKa3F9WYrnBOo6jrFzX2c7IumtpTQmokzhD", "a much longer password, of more than sixteen bytes and also more than sixty-four, since that is the block"},
		{"sha256 rounds", "$5$rounds=1234$thesaltwhichisto$JB6imKRgvnbmE76pU3aAbjDS86DRkqiQkwCX/sHyFR0", "secret"},
		{"sha256 few rounds", "$5$rounds=1000$abc$Mz4DiYKTnNKbZLo/mIp3d8Y4aQBhv3uhSwxLDy55/Y8", "secret"},
		{"sha512", "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1", "Hello world!"},
		{"sha512 long", "$6$abc$iJ3mpoCPWVn1xI8ub4Te3MzYoN6/wvKdvimrwS1u33v.Nbg66AAywO8Njn0qqiQXnKkEs71X/cEC1jBZED49s0", "a much longer password, of more than sixteen bytes and also more than sixty-four, since that is the block"},
		{"sha512 rounds", "$6$rounds=1234$thesaltwhichisto$C3yCJ9psdrAaW//iynfdNzQIiItGND674YSxcGDfocdgvFxsJPmWHqoVy7ehh.ya8dDgWTyXMi8x4UBMJj0Sk1", "secret"},
		{"sha512 few rounds", "$6$rounds=1000$abc$MqEcPZUYRGGcOeq7PhMpfjfu/F0HrVEI0OlZBijWvO8mSG77iNUDP5MqFceKpJTBc8iITVtNyLiNTRNCxv6oh0", "secret"},
		{"bcrypt of another program", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"},
		{"bcrypt 2y", bcryptOf(t, "secret", "$2y$"), "secret"},
		{"bcrypt 2b", bcryptOf(t, "secret", "$2b$"), "secret"},
		{"bcrypt 2x", bcryptOf(t, "secret", "$2x$"), "secret"},
	} {
		h, err := parsePasswordHash(c.hash)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !h.matches([]byte(c.password)) {
			t.Errorf("%s: the right password is refused", c.name)
		}
		for _, wrong := range []string{c.password + "x", "", strings.Repeat("x", 2000), c.hash} {
			if wrong != c.password && h.matches([]byte(wrong)) {
				t.Errorf("%s: %q passes", c.name, wrong)
			}
		}
	}
	for _, bad := range []string{"", "secret", "abJnggxhB/yWI", "$5$salt$hash", "$6$salt$hash", "{SHA}", "{SHA}c2hvcnQ=", "{SSHA}xx", "$apr1$salt", "$apr1$salt$short",
		"$apr1$ninechars$h9FWgUz3n9YxylKLlR5SQ/", "$2a$10$short", "$2c$10$" + strings.Repeat("a", 53), "$2a$31$" + strings.Repeat("a", 53), "$2a$"} {
		if _, err := parsePasswordHash(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		} else if len(bad) > 5 && strings.Contains(err.Error(), bad) {
			t.Errorf("INV-7: %v", err)
		}
	}
}

func TestBasicAuth(t *testing.T) {
	plain := dynamic.BasicAuth{Users: secrets("ann:"+apr1Secret, "bob:"+shaSecret), Realm: "traefik"}
	with := func(change func(*dynamic.BasicAuth)) dynamic.BasicAuth { b := plain; change(&b); return b }
	named := with(func(b *dynamic.BasicAuth) { b.HeaderField = "X-User" })
	for _, c := range []struct {
		name   string
		b      dynamic.BasicAuth
		a      ask
		user   string // in the access log
		status int
		want   []string
	}{
		{"right", plain, ask{fields: []string{basic("ann", "secret")}}, "ann", 200, []string{basic("ann", "secret")}},
		{"scheme without case", plain, ask{fields: []string{strings.Replace(basic("bob", "secret"), "Basic", "bASIC ", 1)}}, "bob", 200,
			[]string{strings.Replace(basic("bob", "secret"), "Basic", "bASIC ", 1)}},
		{"wrong password", plain, ask{fields: []string{basic("ann", "Secret")}}, "ann", 401, nil},
		{"empty password", plain, ask{fields: []string{basic("ann", "")}}, "ann", 401, nil},
		{"unknown user", plain, ask{fields: []string{basic("eve", "secret")}}, "eve", 401, nil},
		{"the other user's name", plain, ask{fields: []string{basic("Ann", "secret")}}, "Ann", 401, nil},
		{"nothing", plain, ask{}, "", 401, nil},
		{"no colon", plain, ask{fields: []string{"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("ann"))}}, "ann", 401, nil},
		{"no base64", plain, ask{fields: []string{"Authorization: Basic ann:secret"}}, "", 401, nil},
		{"another scheme", plain, ask{fields: []string{"Authorization: Bearer x"}}, "", 401, nil},
		{"scheme alone", plain, ask{fields: []string{"Authorization: Basic"}}, "", 401, nil},
		{"the hash is no password", plain, ask{fields: []string{basic("ann", apr1Secret)}}, "ann", 401, nil},
		{"two fields", plain, ask{fields: []string{basic("ann", "secret"), basic("bob", "secret")}}, "", 401, nil},
		{"header removed", with(func(b *dynamic.BasicAuth) { b.RemoveHeader = true }), ask{fields: []string{basic("ann", "secret")}}, "ann", 200, nil},
		{"header field", named, ask{fields: []string{basic("ann", "secret")}}, "ann", 200, []string{basic("ann", "secret"), "X-User: ann"}},
		{"FLD-08 forged user", named, ask{fields: []string{"X-User: root", "x-user: root", "X_USER: root", basic("ann", "secret")}}, "ann", 200,
			[]string{basic("ann", "secret"), "X-User: ann"}},
		{"UPG-07 before 101", plain, ask{upgrade: "websocket"}, "", 401, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := &origin{}
			h := build(t, Env{Name: "auth@file"}, o, &dynamic.Middleware{BasicAuth: &c.b})
			for range 2 { // the second time the cache answers
				x := serve(t, h, c.a)
				if x.Res.Status != c.status || x.Facts.User != c.user || !slices.Equal(o.fields, c.want) {
					t.Fatalf("got %d %q %q, want %d %q %q", x.Res.Status, x.Facts.User, o.fields, c.status, c.user, c.want)
				}
				challenge := x.Res.Header.Lookup("WWW-Authenticate").String()
				if c.status == 401 && (challenge != `Basic realm="traefik"` || body(x) != "401 Unauthorized\n" || o.calls > 0 || x.Req.Header.Lookup("X-User") != nil) ||
					c.status == 200 && challenge != "" {
					t.Fatalf("got challenge %q and %d calls", challenge, o.calls)
				}
			}
		})
	}
}

// fileOf is a file as intake has read it.
func fileOf(text string) dynamic.Material {
	return dynamic.Material{Written: "/users", Path: "/users", Content: secret.New(text)}
}

func TestBasicAuthFile(t *testing.T) {
	file := fileOf("# people\n\n  ann:" + shaSecret + " \r\nbob:" + shaSecret + "\n")
	b := dynamic.BasicAuth{UsersFile: file, Users: secrets("bob:" + bcryptOf(t, "other", "$2y$")), Realm: `a "b" \c`}
	h := build(t, Env{State: &State{}}, &origin{}, &dynamic.Middleware{BasicAuth: &b})
	for _, c := range []struct {
		name, password string
		status         int
	}{{"ann", "secret", 200}, {"bob", "secret", 401}, {"bob", "other", 200}} {
		x := serve(t, h, ask{fields: []string{basic(c.name, c.password)}})
		if x.Res.Status != c.status {
			t.Errorf("%v: got %d", c, x.Res.Status)
		}
		if got := x.Res.Header.Lookup("WWW-Authenticate").String(); c.status == 401 && got != `Basic realm="a \"b\" \\c"` {
			t.Errorf("got %q", got)
		}
	}
	kind, _ := Light().Lookup("basicAuth")
	for name, file := range map[string]dynamic.Material{
		"missing": {Written: "hunter2", Content: secret.New("hunter2")},
		"empty":   fileOf("# nobody\n"),
		"broken":  fileOf("ann:" + shaSecret + "\nhunter2"),
		"crypt":   fileOf("ann:rqXexS6ZhobKA"),
	} {
		m := &dynamic.Middleware{BasicAuth: &dynamic.BasicAuth{UsersFile: file}}
		h, err := kind.Build(m, Env{}, silent)
		if err == nil || h != nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("INV-8 %s: got %v %v", name, h, err)
		}
		if l := kind.Check(m); name != "empty" && (Refusal(l) == nil || !strings.HasPrefix(Refusal(l).Error(), "basicAuth.usersFile: ")) {
			t.Errorf("%s: %v", name, l)
		}
	}
}

func TestBasicAuthRefuses(t *testing.T) {
	for key, b := range map[string]dynamic.BasicAuth{
		"basicAuth.users":       {},
		"basicAuth.users[1]":    {Users: secrets("ann:"+shaSecret, "hunter2")},
		"basicAuth.users[0]":    {Users: secrets("ann:hunter2")},
		"basicAuth.realm":       {Users: secrets("ann:" + shaSecret), Realm: "a\r\nb"},
		"basicAuth.headerField": {Users: secrets("ann:" + shaSecret), HeaderField: "Content-Length"},
	} {
		m := &dynamic.Middleware{BasicAuth: &b}
		refuses(t, m, key)
		if text := fmt.Sprint(checkBasicAuth(m)); strings.Contains(text, "hunter2") {
			t.Errorf("INV-7: %s", text)
		}
	}
	for _, line := range []string{":" + shaSecret, "a\x1bb:" + shaSecret, "a:b:" + shaSecret} {
		refuses(t, &dynamic.Middleware{BasicAuth: &dynamic.BasicAuth{Users: secrets(line)}}, "basicAuth.users[0]")
	}
}

// TestUnknownUsersCostTheSame checks what makes the times equal: a name that nobody has is checked against somebody's hash.
func TestUnknownUsersCostTheSame(t *testing.T) {
	var lines []userLine
	for i := range 20 {
		lines = append(lines, userLine{text: fmt.Sprintf("user%d:%s", i, []string{apr1Secret, shaSecret}[i%2])})
	}
	a, err := newAccounts(lines, NewSlots())
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[hashKind]int{}
	for i := range 1000 {
		name := []byte(fmt.Sprint("nobody", i))
		u, known := a.candidate(name)
		again, _ := a.candidate(name)
		if known || u == nil || u != again {
			t.Fatalf("%s: got %v %v %v", name, u, again, known)
		}
		kinds[u.hash.kind]++
		if got, err := a.verify(append(name, ":secret"...)); got != nil || err != nil {
			t.Fatalf("%s was admitted", name)
		}
		if u.good.Load() != nil {
			t.Fatal("a stand-in's right password was kept for a stranger")
		}
	}
	if kinds[hashMD5] < 300 || kinds[hashSHA] < 300 {
		t.Errorf("stand-ins are not drawn evenly: %v", kinds)
	}
}

func TestBasicAuthCache(t *testing.T) {
	state := &State{}
	env := Env{Name: "auth@file", State: state}
	m := &dynamic.Middleware{BasicAuth: &dynamic.BasicAuth{Users: secrets("ann:" + bcryptOf(t, "secret", "$2y$"))}}
	good := ask{fields: []string{basic("ann", "secret")}}
	h := build(t, env, silent, m)
	serve(t, h, good)
	// No slot is free from here on, so every check that needs one would wait.
	s := SlotsOf(env, "passwords")
	for range cap(s.free) {
		s.Take()
	}
	defer func() {
		for range cap(s.free) {
			s.Give()
		}
	}()
	allocations(t, h, good)
	again := build(t, env, silent, m)
	if x := serve(t, again, good); x.Res.Status != 200 {
		t.Errorf("after a reload: got %d", x.Res.Status)
	}
}

func TestPasswordSlotsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := newAccounts([]userLine{{text: "ann:" + apr1Secret}}, &Slots{make(chan struct{}, 1)})
		if err != nil {
			t.Fatal(err)
		}
		a.slots.Take()
		start := time.Now()
		if _, err := a.verify([]byte("ann:secret")); fault.Status(err) != 503 || time.Since(start) != slotWait {
			t.Errorf("INV-9: got %v after %v", err, time.Since(start))
		}
		var wait sync.WaitGroup
		for range 8 {
			wait.Go(func() {
				if u, err := a.verify([]byte("ann:secret")); u == nil || err != nil {
					t.Errorf("got %v %v", u, err)
				}
			})
		}
		synctest.Wait()
		a.slots.Give()
		wait.Wait()
	})
}

func TestChallengeStaysWithThe401(t *testing.T) {
	b := &dynamic.Middleware{BasicAuth: &dynamic.BasicAuth{Users: secrets("ann:" + shaSecret)}}
	inner := build(t, Env{}, silent, b)
	page := httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		if inner.Serve(x) != nil {
			x.Respond(200, "text/html", "page")
		}
		return nil
	})
	if x := serve(t, page, ask{}); x.Res.Header.Lookup("WWW-Authenticate") != nil {
		t.Error("the challenge stands on another status")
	}
}

func BenchmarkBasicAuth(b *testing.B) {
	h := build(b, Env{}, silent, &dynamic.Middleware{BasicAuth: &dynamic.BasicAuth{Users: secrets("ann:" + bcryptOf(b, "secret", "$2y$"))}})
	x := ask{fields: []string{basic("ann", "secret")}}.exchange(b)
	field := *x.Req.Header.At(0)
	b.ReportAllocs()
	for b.Loop() {
		x.Reset(nil)
		x.Req.Header.Append(field)
		if err := h.Serve(x); err != nil {
			b.Fatal(err)
		}
	}
}
