package storage

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// shapes are files as Traefik writes and has written them.
var shapes = map[string]string{
	"v3": `{
  "le": {
    "Account": {
      "Email": "me@example.com",
      "Registration": {
        "body": {
          "status": "valid",
          "contact": [
            "mailto:me@example.com"
          ],
          "orders": "https://ca.example/orders/1"
        },
        "uri": "https://ca.example/acct/1"
      },
      "PrivateKey": "` + b64("key") + `"
    },
    "Certificates": [
      {
        "domain": {
          "main": "b.example.com",
          "sans": [
            "a.example.com"
          ]
        },
        "certificate": "` + b64("chain b") + `",
        "key": "` + b64("key b") + `",
        "Store": "default"
      },
      {
        "domain": {
          "main": "a.example.org"
        },
        "certificate": "` + b64("chain a") + `",
        "key": "` + b64("key a") + `",
        "Store": "default"
      }
    ]
  }
}`,
	"KeyType in the account, as older versions write it": `{"le": {"Account": {"Email": "me@example.com",
 "Registration": {"body": {"status": "valid", "contact": ["mailto:me@example.com"], "orders": "https://ca.example/orders/1"}, "uri": "https://ca.example/acct/1"},
 "PrivateKey": "` + b64("key") + `", "KeyType": "4096"}, "Certificates": [
 {"domain": {"main": "b.example.com", "sans": ["a.example.com"]}, "certificate": "` + b64("chain b") + `", "key": "` + b64("key b") + `", "Store": "default"},
 {"domain": {"main": "lost.example.com"}, "certificate": "", "key": "", "Store": "default"},
 {"domain": {"main": "a.example.org"}, "certificate": "` + b64("chain a") + `", "key": "` + b64("key a") + `", "Store": "default"}]}}`,
	"upper-case keys": `{"le": {"account": {"email": "me@example.com",
 "registration": {"Body": {"Status": "valid", "Contact": ["mailto:me@example.com"], "Orders": "https://ca.example/orders/1"}, "URI": "https://ca.example/acct/1"},
 "privateKey": "` + b64("key") + `"}, "certificates": [
 {"Domain": {"Main": "b.example.com", "SANs": ["a.example.com"]}, "Certificate": "` + b64("chain b") + `", "Key": "` + b64("key b") + `", "Store": "default"},
 {"Domain": {"Main": "a.example.org"}, "Certificate": "` + b64("chain a") + `", "Key": "` + b64("key a") + `", "Store": "default"}]}}`,
}

// TestShapes: what Traefik wrote is understood.
func TestShapes(t *testing.T) {
	want := &Content{
		Account: &Account{Email: "me@example.com", URI: "https://ca.example/acct/1", Status: "valid", Contact: []string{"mailto:me@example.com"},
			Orders: "https://ca.example/orders/1", Key: []byte("key")},
		Former: map[string]*Account{}, Sets: map[string]*Set{},
		Certificates: []*Certificate{
			{Main: "b.example.com", SANs: []string{"a.example.com"}, Chain: []byte("chain b"), Key: []byte("key b"), Store: "default"},
			{Main: "a.example.org", Chain: []byte("chain a"), Key: []byte("key a"), Store: "default"},
		},
	}
	for name, text := range shapes {
		t.Run(name, func(t *testing.T) {
			f := open(t, text)
			got, err := f.Load("le")
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
	for name, text := range map[string]string{"empty": "", "spaces": " \n", "null": "null", "nobody": "{}", "null resolver": `{"le": null}`,
		"null parts": `{"le": {"Account": null, "Certificates": null}}`} {
		t.Run(name, func(t *testing.T) {
			got, err := open(t, text).Load("le")
			if err != nil || got.Account != nil || len(got.Certificates) > 0 {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func open(t *testing.T, text string) Store {
	t.Helper()
	file := filepath.Join(t.TempDir(), "acme.json")
	if err := os.WriteFile(file, []byte(text), fileMode); err != nil {
		t.Fatal(err)
	}
	s, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func content(t *testing.T, s Store) string {
	t.Helper()
	b, err := os.ReadFile(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestOrder: what is written anew stands where it stood, and everything else is byte for byte as before.
func TestOrder(t *testing.T) {
	other := `  "other": {
    "Future": {
      "z": 1,
      "a": 1.50
    },
    "Account": null,
    "Certificates": null
  },
`
	s := open(t, strings.Replace(shapes["v3"], "{\n", "{\n"+other, 1))
	before := content(t, s)
	if err := s.SaveCertificate("le", &Certificate{Main: "a.example.com", SANs: []string{"b.example.com"}, Chain: []byte("chain 2"), Key: []byte("key 2")}); err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer(b64("chain b"), b64("chain 2"), b64("key b"), b64("key 2")).Replace(before)
	if d := cmp.Diff(want, content(t, s)); d != "" {
		t.Errorf("a renewal: %s", d)
	}
	if err := s.SaveCertificate("le", &Certificate{Main: "new.example.com", Chain: []byte("c"), Key: []byte("k")}); err != nil {
		t.Fatal(err)
	}
	got, err := s.Load("le")
	if err != nil || len(got.Certificates) != 3 || got.Certificates[2].Main != "new.example.com" || got.Certificates[0].Main != "b.example.com" {
		t.Errorf("a new one: %+v, %v", got, err)
	}
	if !strings.HasPrefix(content(t, s), "{\n"+other) {
		t.Errorf("another resolver's part was changed:\n%s", content(t, s))
	}
	if err := s.Remove("le", []string{"new.example.com"}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(content(t, s), "new.example.com") {
		t.Error("it is still there")
	}
}

// TestRoundTrip: all that is saved is found again, by another process, in both kinds of store.
func TestRoundTrip(t *testing.T) {
	for _, path := range []string{"acme.json", "sub/dir/acme.json", "shared/"} {
		t.Run(path, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), path) + strings.Repeat("/", strings.Count(path, "shared"))
			s, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Writable(); err != nil {
				t.Fatal(err)
			}
			v := s.Version()
			at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			first := &Account{Email: "a@b.c", URI: "https://one.example/1", Key: []byte("k1")}
			want := &Content{
				Account:      &Account{Email: "a@b.c", URI: "https://two.example/1", Contact: []string{"mailto:a@b.c"}, Key: []byte("k2")},
				Former:       map[string]*Account{"one.example": first},
				Certificates: []*Certificate{{Main: "a.example.com", Chain: []byte("c"), Key: []byte("k"), Store: "default"}},
				Sets: map[string]*Set{ID([]string{"a.example.com"}): {Names: []string{"a.example.com"}, Failures: 3, Next: at,
					Problem: &Problem{Kind: "dns", Text: "no record"}, Order: &Order{URL: "https://two.example/o", Key: []byte("x"), Begun: at}}},
				Spent: Spent{Orders: []time.Time{at}},
			}
			for _, err := range []error{
				s.SaveAccount("my resolver/../x", first), s.SaveAccount("my resolver/../x", want.Account),
				s.SaveCertificate("my resolver/../x", want.Certificates[0]),
				s.SaveSet("my resolver/../x", want.Sets[ID([]string{"a.example.com"})]), s.SaveSpent("my resolver/../x", &want.Spent),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			if s.Version() == v {
				t.Error("the version is the same")
			}
			s.Close()
			again, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			got, err := again.Load("my resolver/../x")
			if d := cmp.Diff(want, got); d != "" || err != nil {
				t.Error(err, d)
			}
			if err := again.Remove("my resolver/../x", []string{"a.example.com"}); err != nil {
				t.Fatal(err)
			}
			got, _ = again.Load("my resolver/../x")
			if len(got.Certificates) != 0 || len(got.Sets) != 0 || got.Account == nil {
				t.Errorf("after the removal: %+v", got)
			}
			again.Close()
			everythingPrivate(t, filepath.Dir(path))
		})
	}
}

func everythingPrivate(t *testing.T, dir string) {
	t.Helper()
	filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && info.Mode().Perm() != fileMode {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		if strings.Contains(path, newSuffix) {
			t.Errorf("%s is left", path)
		}
		return nil
	})
}

func TestModes(t *testing.T) {
	s := open(t, shapes["v3"])
	if err := os.Chmod(s.Path(), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Writable(); err != nil {
		t.Fatal(err)
	}
	if r := strings.Join(s.Remarks(), "\n"); !strings.Contains(r, "could be read by others") {
		t.Errorf("remarks: %q", r)
	}
	if info, _ := os.Stat(s.Path()); info.Mode().Perm() != fileMode {
		t.Errorf("mode %o", info.Mode().Perm())
	}
}

// TestForeignMode: what others own and can read is not used.
func TestForeignMode(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	for _, dir := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "acme.json")
		if dir {
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(path, []byte(shapes["v3"]), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path)
		if !errors.Is(err, ErrMode) {
			t.Errorf("directory %t: %v", dir, err)
		}
		if err := s.Writable(); !errors.Is(err, ErrMode) {
			t.Errorf("directory %t: writable: %v", dir, err)
		}
		s.Close()
	}
}

// TestOwner: a file belongs to one instance; another reads, and takes over when the first has gone.
func TestOwner(t *testing.T) {
	first := open(t, shapes["v3"])
	if err := first.Writable(); err != nil {
		t.Fatal(err)
	}
	second, err := Open(first.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	for range 2 { // the second time the file has been replaced
		if err := second.Writable(); !errors.Is(err, ErrReadOnly) {
			t.Errorf("the second may write: %v", err)
		}
		if err := second.SaveSet("le", &Set{Names: []string{"x"}}); !errors.Is(err, ErrReadOnly) {
			t.Errorf("the second writes: %v", err)
		}
		if err := first.SaveSet("le", &Set{Names: []string{"y"}}); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := second.Load("le"); err != nil || len(c.Sets) != 1 {
		t.Errorf("the second reads %+v, %v", c, err)
	}
	first.Close()
	if err := second.Writable(); err != nil {
		t.Errorf("after the first has gone: %v", err)
	}
}

// TestCorrupt: a damaged file is left alone, and told.
func TestCorrupt(t *testing.T) {
	for name, text := range map[string]string{
		"cut": shapes["v3"][:300], "no object": `[1]`, "more behind": shapes["v3"] + "x", "wrong type": `{"le": {"Certificates": {}}}`,
		"bad base64": `{"le": {"Certificates": [{"certificate": "%"}]}}`, "resolver is a text": `{"le": "x"}`,
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "acme.json")
			if err := os.WriteFile(file, []byte(text), fileMode); err != nil {
				t.Fatal(err)
			}
			s, err := Open(file)
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("opened: %v", err)
			}
			defer s.Close()
			if err := s.SaveSet("le", &Set{Names: []string{"x"}}); !errors.Is(err, ErrCorrupt) {
				t.Errorf("written: %v", err)
			}
			if got := content(t, s); got != text {
				t.Error("the file was changed")
			}
		})
	}
	t.Run("while we run", func(t *testing.T) {
		s := open(t, shapes["v3"])
		if err := s.Writable(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.Path(), []byte("{"), fileMode); err != nil {
			t.Fatal(err)
		}
		c, err := s.Load("le")
		if !errors.Is(err, ErrCorrupt) || len(c.Certificates) != 2 {
			t.Errorf("got %+v, %v", c, err)
		}
		if err := s.SaveSet("le", &Set{Names: []string{"x"}}); err != nil {
			t.Fatal(err)
		}
		if c, err := s.Load("le"); err != nil || len(c.Certificates) != 2 || len(c.Sets) != 1 {
			t.Errorf("got %+v, %v", c, err)
		}
		if r := strings.Join(s.Remarks(), "\n"); !strings.Contains(r, "damaged") {
			t.Errorf("remarks: %q", r)
		}
	})
}

// crash ends a write as a crash would: nothing behind it is done.
type crash struct{}

// TestCrash: whatever step of a write a crash follows, the file holds the old or the new content.
func TestCrash(t *testing.T) {
	for _, mounted := range []bool{false, true} {
		steps := map[string]bool{}
		for at := 0; ; at++ {
			file := filepath.Join(t.TempDir(), "acme.json")
			if err := os.WriteFile(file, []byte(shapes["v3"]), fileMode); err != nil {
				t.Fatal(err)
			}
			d := osDisk
			n := 0
			var open []handle
			d.create = func(name string) (handle, error) {
				f, err := osDisk.create(name)
				open = append(open, f)
				return f, err
			}
			d.step = func(name string) {
				steps[name] = true
				if n++; n > at {
					panic(crash{})
				}
			}
			if mounted {
				d.rename = func(string, string) error { return syscall.EBUSY }
			}
			s, err := openFile(file, d)
			if err != nil {
				t.Fatal(err)
			}
			crashed := func() (crashed bool) {
				defer func() { crashed = recover() != nil }()
				err = s.SaveCertificate("le", &Certificate{Main: "new.example.com", Chain: []byte(strings.Repeat("c", 5000)), Key: []byte("k")})
				return false
			}()
			s.Close()
			for _, f := range open {
				f.Close() // the kernel does that
			}
			again, oerr := Open(file)
			if oerr != nil {
				t.Fatalf("mounted %t, after step %d: %v", mounted, at, oerr)
			}
			c, lerr := again.Load("le")
			if lerr != nil || c.Account == nil || len(c.Certificates) != 2 && len(c.Certificates) != 3 {
				t.Fatalf("mounted %t, after step %d: %+v, %v", mounted, at, c, lerr)
			}
			if err := again.SaveCertificate("le", &Certificate{Main: "b.example.net", Chain: []byte("c"), Key: []byte("k")}); err != nil {
				t.Fatalf("mounted %t, after step %d: %v", mounted, at, err)
			}
			again.Close()
			if !crashed {
				if err != nil || len(c.Certificates) != 3 {
					t.Fatalf("without a crash: %v", err)
				}
				break
			}
		}
		if want := map[bool]string{false: "renamed", true: "overwritten"}[mounted]; !steps[want] {
			t.Errorf("mounted %t: steps %v", mounted, steps)
		}
	}
}

// full is a file on a disk that takes so many bytes.
type full struct {
	handle
	left *int
}

func (f full) take(n int) error {
	if *f.left -= n; *f.left < 0 {
		return syscall.ENOSPC
	}
	return nil
}

func (f full) Write(p []byte) (int, error) {
	if err := f.take(len(p)); err != nil {
		n, _ := f.handle.Write(p[:len(p)/2])
		return n, err
	}
	return f.handle.Write(p)
}

func (f full) WriteAt(p []byte, at int64) (int, error) {
	if at > 0 { // the file grows
		if err := f.take(len(p)); err != nil {
			n, _ := f.handle.WriteAt(p[:len(p)/2], at)
			return n, err
		}
	}
	return f.handle.WriteAt(p, at)
}

// TestDiskFull: the old content stays, the error says why, and with room again all is well.
func TestDiskFull(t *testing.T) {
	for _, mounted := range []bool{false, true} {
		file := filepath.Join(t.TempDir(), "acme.json")
		if err := os.WriteFile(file, []byte(shapes["v3"]), fileMode); err != nil {
			t.Fatal(err)
		}
		left := 100
		d := osDisk
		d.create = func(name string) (handle, error) {
			f, err := osDisk.create(name)
			return full{f, &left}, err
		}
		d.update = func(name string) (handle, error) {
			f, err := osDisk.update(name)
			return full{f, &left}, err
		}
		if mounted {
			d.rename = func(string, string) error { return syscall.EBUSY }
			// Beside the mount there is room; the mounted disk is the full one.
			d.create = osDisk.create
		}
		s, err := openFile(file, d)
		if err != nil {
			t.Fatal(err)
		}
		big := &Certificate{Main: "new.example.com", Chain: []byte(strings.Repeat("c", 5000)), Key: []byte("k")}
		if err := s.SaveCertificate("le", big); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("mounted %t: %v", mounted, err)
		}
		b, _ := os.ReadFile(file)
		if got := strings.TrimRight(string(b), " "); got != shapes["v3"] {
			t.Errorf("mounted %t: the old content is gone:\n%s", mounted, got)
		}
		if c, err := s.Load("le"); err != nil || len(c.Certificates) != 2 {
			t.Errorf("mounted %t: %+v, %v", mounted, c, err)
		}
		left = 1 << 20
		if err := s.SaveCertificate("le", big); err != nil {
			t.Errorf("mounted %t, with room: %v", mounted, err)
		}
		if c, err := s.Load("le"); err != nil || len(c.Certificates) != 3 {
			t.Errorf("mounted %t, with room: %+v, %v", mounted, c, err)
		}
		s.Close()
	}
}

func TestReadOnly(t *testing.T) {
	s := open(t, shapes["v3"])
	s.(*File).disk.create = func(string) (handle, error) { return nil, syscall.EROFS }
	if err := s.SaveSet("le", &Set{Names: []string{"x"}}); !errors.Is(err, syscall.EROFS) {
		t.Errorf("got %v", err)
	}
	if c, err := s.Load("le"); err != nil || len(c.Certificates) != 2 {
		t.Errorf("got %+v, %v", c, err)
	}
}

// TestLocks: of two instances one gets a lock; it ends with its holder.
func TestLocks(t *testing.T) {
	dir := t.TempDir() + "/"
	a, _ := Open(dir)
	b, _ := Open(dir)
	release, err := a.Lock("set-x")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []Store{a, b} {
		if _, err := s.Lock("set-x"); !errors.Is(err, ErrLocked) {
			t.Errorf("locked twice: %v", err)
		}
	}
	if r, err := b.Lock("set-y"); err != nil {
		t.Errorf("another name: %v", err)
	} else {
		r()
	}
	release()
	release() // once more does no harm
	if r, err := b.Lock("set-x"); err != nil {
		t.Errorf("after the release: %v", err)
	} else {
		r()
	}
	if _, err := a.Lock("set-x"); err != nil {
		t.Fatal(err)
	}
	a.Close()
	if _, err := b.Lock("set-x"); err != nil {
		t.Errorf("after the end of its holder: %v", err)
	}
	b.Close()
}

// TestPending: challenges are found by any instance, by exactly what was published, and only while they last.
func TestPending(t *testing.T) {
	dir := t.TempDir() + "/"
	a, _ := Open(dir)
	b, _ := Open(dir)
	p := Pending{Kind: HTTP, Name: "a.example.com", Token: "tok", Answer: "tok.key", Expires: time.Now().Add(time.Hour)}
	if err := a.Publish(p); err != nil {
		t.Fatal(err)
	}
	if got, ok := b.Find(HTTP, "A.example.com", "tok"); !ok || got != "tok.key" {
		t.Errorf("found %q %t", got, ok)
	}
	for _, q := range [][3]string{{HTTP, "a.example.com", "../tok"}, {HTTP, "b.example.com", "tok"}, {TLS, "a.example.com", "tok"}, {HTTP, "", ""}} {
		if got, ok := b.Find(q[0], q[1], q[2]); ok {
			t.Errorf("%q found %q", q, got)
		}
	}
	a.Withdraw(p)
	if _, ok := b.Find(HTTP, "a.example.com", "tok"); ok {
		t.Error("found after its end")
	}
	p.Expires = time.Now().Add(-time.Second)
	a.Publish(p)
	if _, ok := b.Find(HTTP, "a.example.com", "tok"); ok {
		t.Error("found after it expired")
	}
	q := p
	q.Token = "other"
	a.Publish(q)
	if list, _ := os.ReadDir(dir + "pending"); len(list) != 1 {
		t.Errorf("%d entries: expired ones stay", len(list))
	}
}

func TestRequests(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "acme.json"), t.TempDir() + "/"} {
		s, _ := Open(path)
		other, _ := Open(path)
		for _, n := range []string{"b.example.com", "a.example.com", "b.example.com"} {
			if err := other.Request(n); err != nil {
				t.Fatal(err)
			}
		}
		if err := other.Request("a\nb"); err == nil {
			t.Error("two lines are a name")
		}
		if got := strings.Join(s.Requests(), " "); got != "a.example.com b.example.com" {
			t.Errorf("got %q", got)
		}
		if got := s.Requests(); got != nil {
			t.Errorf("got %q again", got)
		}
	}
}

func TestID(t *testing.T) {
	if ID([]string{"b", "A"}) != ID([]string{"a", "B", "a"}) || ID([]string{"a"}) == ID([]string{"b"}) {
		t.Error("sets are not told apart by their names")
	}
	for _, names := range [][]string{nil, {""}, {"*.example.com"}, {"2001:db8::1"}, {"../../etc/passwd"}, {strings.Repeat("x", 300)}, {"müller.de"}} {
		if id := ID(names); strings.ContainsAny(id, "/\\:*") || strings.HasPrefix(id, ".") || len(id) > 130 {
			t.Errorf("%q becomes %q", names, id)
		}
	}
}

// FuzzDocument: no content of the file makes us panic, and what is read is written back without loss.
func FuzzDocument(f *testing.F) {
	for _, text := range shapes {
		f.Add([]byte(text))
	}
	f.Add([]byte(`{"le":{"Sluice":{"sets":{"a":{"names":["a"]},"b":null},"spent":{"orders":["2026-01-01T00:00:00Z"]}}},"le":{},"":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := parseDocument(data)
		if err != nil {
			return
		}
		before, err := d.load("le")
		if err != nil {
			t.Fatal(err)
		}
		d, err = d.withCertificate("le", &Certificate{Main: "fuzz.example.com", Chain: []byte("c"), Key: []byte("k")})
		if err != nil {
			t.Fatal(err)
		}
		text, err := d.text()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseDocument(text)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, text)
		}
		after, err := again.load("le")
		if err != nil || len(after.Certificates) < len(before.Certificates) {
			t.Fatalf("%d certificates became %d: %v", len(before.Certificates), len(after.Certificates), err)
		}
		if d := cmp.Diff(before.Account, after.Account); d != "" {
			t.Fatal(d)
		}
	})
}
