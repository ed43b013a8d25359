package file

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
	"sluice/internal/intake/provider"
)

// running is a provider under test and what it published last.
type running struct {
	t    *testing.T
	p    *Provider
	mu   sync.Mutex
	last dynamic.Snapshot
	n    int
}

// run starts a provider and returns after its first publication. It stops with the test.
func run(t *testing.T, opts static.File) *running {
	t.Helper()
	r := &running{t: t, p: New(opts, nil)}
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		var once sync.Once
		err := r.p.Run(ctx, func(s dynamic.Snapshot) {
			r.mu.Lock()
			r.last = s
			r.n++
			r.mu.Unlock()
			once.Do(func() { close(first) })
		})
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	<-first
	return r
}

func (r *running) snapshot() dynamic.Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

func (r *running) published() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

// fragment returns the fragment of a file, or nil.
func (r *running) fragment(name string) *dynamic.Fragment {
	for _, f := range r.snapshot().Fragments {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// routers lists NAME=RULE of all fragments, in order.
func (r *running) routers() string {
	var out []string
	for _, f := range r.snapshot().Fragments {
		if f.Config.HTTP == nil {
			continue
		}
		for name, router := range f.Config.HTTP.Routers {
			out = append(out, name+"="+router.Rule)
		}
	}
	return strings.Join(out, " ")
}

// findings lists all findings of at least severity s.
func (r *running) findings(s diag.Severity) string {
	var out []string
	for _, f := range r.snapshot().Fragments {
		for _, x := range f.Findings {
			if x.Severity >= s {
				out = append(out, x.String())
			}
		}
	}
	return strings.Join(out, "\n")
}

// want waits until get returns want.
func (r *running) want(what string, get func() string, want string) {
	r.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		got := get()
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: got %q, want %q", what, got, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (r *running) wantRouters(what, want string) {
	r.t.Helper()
	r.want(what, r.routers, want)
}

func doc(name, rule string) string {
	return fmt.Sprintf("http:\n  routers:\n    %s:\n      rule: %s\n", name, rule)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// save replaces a file by renaming, as careful programs do.
func save(t *testing.T, path, content string) {
	t.Helper()
	write(t, path+".tmp", content)
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
}

func TestFilename(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dynamic.yml")
	write(t, path, doc("a", "1"))
	r := run(t, static.File{Filename: path, Watch: true})
	r.wantRouters("start", "a=1")

	write(t, path, doc("a", "2"))
	r.wantRouters("written in place", "a=2")

	save(t, path, doc("a", "3"))
	r.wantRouters("replaced by rename", "a=3")

	write(t, path, doc("a", "4")+"  bad")
	r.want("broken", func() string { return fmt.Sprint(strings.Count(r.findings(diag.Error), "[SYNTAX]")) }, "1")
	if !strings.Contains(r.findings(diag.Error), path+":5:3: error: ") || !strings.Contains(r.findings(diag.Error), "its last good version stays in force") {
		t.Errorf("finding: %s", r.findings(diag.Error))
	}
	r.wantRouters("last good version", "a=3")

	write(t, path, doc("a", "3"))
	r.want("mended", func() string { return r.findings(diag.Info) }, "")
	r.wantRouters("mended", "a=3")

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r.want("removed", func() string { return r.findings(diag.Error) },
		path+": error: the file does not exist (its last good version stays in force) [FILE]")
	r.wantRouters("removed", "a=3")

	write(t, path, doc("b", "1"))
	r.wantRouters("back", "b=1")
}

func TestEmptySave(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dynamic.toml")
	write(t, path, "[http.routers.a]\nrule = '1'\n")
	r := run(t, static.File{Filename: path, Watch: true})
	began := time.Now()
	write(t, path, "")
	r.wantRouters("empty for good", "")
	if d := time.Since(began); d < emptySave/2 {
		t.Errorf("zero bytes were believed after %v", d)
	}
	if !strings.Contains(r.findings(diag.Warning), "the file holds no configuration") {
		t.Errorf("findings: %s", r.findings(diag.Info))
	}
	write(t, path, "[http.routers.a]\nrule = '2'\n")
	r.wantRouters("filled", "a=2")
}

func TestMissingFileAppears(t *testing.T) {
	path := filepath.Join(t.TempDir(), "not", "yet", "dynamic.yml")
	r := run(t, static.File{Filename: path, Watch: true})
	if got := r.findings(diag.Error); got != path+": error: the file does not exist (nothing of this file is in force) [FILE]" {
		t.Errorf("findings: %s", got)
	}
	write(t, path, doc("a", "1"))
	r.wantRouters("appeared", "a=1")
}

func TestMissingDirectoryAppears(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "yet")
	r := run(t, static.File{Directory: dir, Watch: true})
	if got := r.findings(diag.Error); got != dir+": error: the directory does not exist [FILE]" {
		t.Errorf("findings: %s", got)
	}
	write(t, filepath.Join(dir, "sub", "a.yml"), doc("a", "1"))
	r.wantRouters("appeared", "a=1")
	r.want("no finding left", func() string { return r.findings(diag.Info) }, "")

	// The whole directory vanishes: what it said stays.
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	r.want("gone", func() string { return r.findings(diag.Error) }, dir+": error: the directory does not exist [FILE]")
	r.wantRouters("gone", "a=1")
	write(t, filepath.Join(dir, "b.yml"), doc("b", "1"))
	r.wantRouters("another one", "b=1")
}

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "b.yml"), doc("b", "1"))
	write(t, filepath.Join(dir, "a", "z.yaml"), doc("z", "1"))
	write(t, filepath.Join(dir, "a.json"), `{"http": {"routers": {"j": {"rule": "1"}}}}`)
	write(t, filepath.Join(dir, "c.toml"), "[http.routers.c]\nrule = '1'\n")
	write(t, filepath.Join(dir, "notes.txt"), "no configuration")
	write(t, filepath.Join(dir, "..2024_01", "hidden.yml"), doc("hidden", "1"))
	r := run(t, static.File{Directory: dir, Watch: true})
	r.wantRouters("reading order", "z=1 j=1 b=1 c=1")

	before := r.fragment(filepath.Join(dir, "c.toml"))
	write(t, filepath.Join(dir, "b.yml"), doc("b", "2"))
	r.wantRouters("one changed", "z=1 j=1 b=2 c=1")
	if r.fragment(filepath.Join(dir, "c.toml")) != before {
		t.Error("an unchanged file got another fragment")
	}

	write(t, filepath.Join(dir, "d", "deep", "x.yml"), doc("x", "1"))
	r.wantRouters("new sub-directories", "z=1 j=1 b=2 c=1 x=1")
	write(t, filepath.Join(dir, "d", "deep", "x.yml"), doc("x", "2"))
	r.wantRouters("change in a new sub-directory", "z=1 j=1 b=2 c=1 x=2")

	write(t, filepath.Join(dir, "c.toml"), "[http.routers.c]\nrule = \n")
	r.want("one broken", func() string { return fmt.Sprint(strings.Count(r.findings(diag.Error), "[SYNTAX]")) }, "1")
	write(t, filepath.Join(dir, "b.yml"), doc("b", "3"))
	r.wantRouters("the others go on", "z=1 j=1 b=3 c=1 x=2")

	if err := os.Remove(filepath.Join(dir, "b.yml")); err != nil {
		t.Fatal(err)
	}
	r.wantRouters("removed file", "z=1 j=1 c=1 x=2")
	if err := os.RemoveAll(filepath.Join(dir, "d")); err != nil {
		t.Fatal(err)
	}
	r.wantRouters("removed directory", "z=1 j=1 c=1")
	if err := os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "e")); err != nil {
		t.Fatal(err)
	}
	r.wantRouters("renamed directory", "j=1 c=1 z=1")
	write(t, filepath.Join(dir, "e", "z.yaml"), doc("z", "2"))
	r.wantRouters("change in a renamed directory", "j=1 c=1 z=2")
}

// TestConfigMap plays how Kubernetes updates a mounted volume.
func TestConfigMap(t *testing.T) {
	for _, mode := range []string{"directory", "filename"} {
		t.Run(mode, func(t *testing.T) {
			dir := t.TempDir()
			publish := func(version, rule string) {
				write(t, filepath.Join(dir, "..v"+version, "dynamic.yml"), doc("a", rule))
				tmp := filepath.Join(dir, "..data_tmp")
				if err := os.Symlink("..v"+version, tmp); err != nil {
					t.Skip("no symbolic links here:", err)
				}
				if err := os.Rename(tmp, filepath.Join(dir, "..data")); err != nil {
					t.Fatal(err)
				}
			}
			publish("1", "1")
			path := filepath.Join(dir, "dynamic.yml")
			if err := os.Symlink(filepath.Join("..data", "dynamic.yml"), path); err != nil {
				t.Fatal(err)
			}
			opts := static.File{Directory: dir, Watch: true}
			if mode == "filename" {
				opts = static.File{Filename: path, Watch: true}
			}
			r := run(t, opts)
			r.wantRouters("start", "a=1")
			for i := 2; i < 6; i++ {
				publish(fmt.Sprint(i), fmt.Sprint(i))
				if err := os.RemoveAll(filepath.Join(dir, fmt.Sprintf("..v%d", i-1))); err != nil {
					t.Fatal(err)
				}
				r.wantRouters("swapped", fmt.Sprintf("a=%d", i))
			}
		})
	}
}

func TestLinkElsewhere(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	write(t, filepath.Join(other, "real.yml"), doc("a", "1"))
	if err := os.Symlink(filepath.Join(other, "real.yml"), filepath.Join(dir, "a.yml")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	r := run(t, static.File{Directory: dir, Watch: true})
	r.wantRouters("start", "a=1")
	write(t, filepath.Join(other, "real.yml"), doc("a", "2"))
	r.wantRouters("the file behind the link changed", "a=2")
	save(t, filepath.Join(other, "real.yml"), doc("a", "3"))
	r.wantRouters("the file behind the link was replaced", "a=3")
}

func TestLinkedDirectory(t *testing.T) {
	base := t.TempDir()
	write(t, filepath.Join(base, "v1", "a.yml"), doc("a", "1"))
	write(t, filepath.Join(base, "v2", "a.yml"), doc("a", "2"))
	link := filepath.Join(base, "current")
	if err := os.Symlink("v1", link); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	r := run(t, static.File{Directory: link, Watch: true})
	r.wantRouters("start", "a=1")
	if err := os.Symlink("v2", link+".tmp"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".tmp", link); err != nil {
		t.Fatal(err)
	}
	r.wantRouters("the link was exchanged", "a=2")
	write(t, filepath.Join(base, "v2", "a.yml"), doc("a", "3"))
	r.wantRouters("change behind the new link", "a=3")
}

func TestReferencedFiles(t *testing.T) {
	dir, certs := t.TempDir(), filepath.Join(t.TempDir(), "certs")
	cert, key := filepath.Join(certs, "tls.crt"), filepath.Join(certs, "tls.key")
	write(t, filepath.Join(dir, "tls.yml"), fmt.Sprintf("tls:\n  certificates:\n    - certFile: %s\n      keyFile: %s\n", cert, key))
	r := run(t, static.File{Directory: dir, Watch: true})
	name := filepath.Join(dir, "tls.yml")
	content := func() string {
		f := r.fragment(name)
		return f.Config.TLS.Certificates[0].CertFile.Content.Reveal()
	}
	if got := r.findings(diag.Error); strings.Count(got, "there is no file") != 2 || !strings.Contains(got, "tls.certificates[0].certFile") {
		t.Errorf("findings: %s", got)
	}
	if f := r.fragment(name); len(f.Broken["tls.certificates.0"]) != 2 {
		t.Errorf("broken: %v", f.Broken)
	}
	write(t, cert, "CERT 1")
	write(t, key, "KEY 1")
	r.want("both files appeared", func() string { return content() + r.findings(diag.Error) }, "CERT 1")
	save(t, cert, "CERT 2")
	r.want("renewed", content, "CERT 2")
	if err := os.RemoveAll(certs); err != nil {
		t.Fatal(err)
	}
	r.want("removed", func() string { return fmt.Sprint(strings.Count(r.findings(diag.Error), "there is no file")) }, "2")
	write(t, cert, "CERT 3")
	write(t, key, "KEY 3")
	r.want("back", content, "CERT 3")
}

func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dynamic.yml")
	write(t, path, doc("a", `'{{ env "SLUICE_FILE_TEST" }}'`))
	t.Setenv("SLUICE_FILE_TEST", "1")
	r := run(t, static.File{Filename: path})
	r.wantRouters("start", "a=1")
	t.Setenv("SLUICE_FILE_TEST", "2")
	r.p.Reload()
	r.wantRouters("templates run again", "a=2")
	write(t, path, doc("a", "3"))
	r.p.Reload()
	r.wantRouters("files are read again", "a=3")
}

func TestTemplates(t *testing.T) {
	for name, c := range map[string]struct{ text, routers, finding string }{
		"functions":    {`{{ $l := split "a,b" "," }}` + doc("{{ normalize \"my_host.name\" }}", "'{{ index $l 1 }}{{ upper \"x\" }}'"), "my-host-name=bX", ""},
		"data":         {doc("a", "'{{ . }}'"), "a=false", ""},
		"loop":         {"http:\n  routers:\n{{ range until 2 }}    r: {rule: x}\n{{ end }}", "", "(rendered):4:5: error: r: \"r\" is given twice, first in line 3"},
		"parse error":  {"a: 1\nb: {{ nope }}\n", "", ":2: error: function \"nope\" not defined"},
		"failing":      {"a: {{ fail \"no\" }}\n", "", ":1:7: error: executing"},
		"never ending": {"{{ repeat 70000000 \"x\" }}", "", "the result is larger"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "dynamic.yml")
			write(t, path, c.text)
			r := run(t, static.File{Filename: path})
			if got := r.routers(); got != c.routers {
				t.Errorf("routers: got %q, want %q", got, c.routers)
			}
			got := r.findings(diag.Error)
			if c.finding == "" && got != "" || !strings.Contains(got, c.finding) {
				t.Errorf("findings: got %q, want %q", got, c.finding)
			}
		})
	}
}

func TestUnusualFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "bom.yml"), "\xef\xbb\xbf"+strings.ReplaceAll(doc("bom", "1"), "\n", "\r\n"))
	write(t, filepath.Join(dir, "dir.yml", "in.yml"), doc("in", "1"))
	write(t, filepath.Join(dir, "locked.yml"), doc("locked", "1"))
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling.yml")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	_ = os.Symlink("user@host.1", filepath.Join(dir, ".#bom.yml"))
	_ = os.Symlink(dir, filepath.Join(dir, "circle"))
	_ = os.Symlink("self.yml", filepath.Join(dir, "self.yml"))
	if err := os.Chmod(filepath.Join(dir, "locked.yml"), 0); err != nil {
		t.Fatal(err)
	}
	r := run(t, static.File{Directory: dir, Filename: "x.yml", Watch: true})
	routers := "bom=1 in=1"
	if os.Geteuid() == 0 {
		routers += " locked=1"
	}
	r.wantRouters("start", routers)
	findings := r.findings(diag.Info)
	for _, want := range []string{
		filepath.Join(dir, "dangling.yml") + ": error: the link points to a file that does not exist: nowhere",
		filepath.Join(dir, "self.yml") + ": error: cannot be read: too many",
		dir + ": warning: providers.file.filename is not read, since directory is set as well",
	} {
		if !strings.Contains(findings, want) {
			t.Errorf("no finding %q in\n%s", want, findings)
		}
	}
	if n := strings.Count(findings, "\n") + 1; n > 4 {
		t.Errorf("%d findings:\n%s", n, findings)
	}
	// A pipe must not block.
	if mkfifo(filepath.Join(dir, "pipe.yml")) == nil {
		r.want("pipe", func() string { return fmt.Sprint(strings.Contains(r.findings(diag.Error), "pipe.yml")) }, "false")
		write(t, filepath.Join(dir, "bom.yml"), doc("bom", "2"))
		r.wantRouters("after a pipe appeared", strings.Replace(routers, "bom=1", "bom=2", 1))
	}
}

// TestManyChanges writes, renames and removes quickly and checks that the end is right.
func TestManyChanges(t *testing.T) {
	dir := t.TempDir()
	r := run(t, static.File{Directory: dir, Watch: true})
	state := map[string]string{}
	for i := range 1000 {
		name := fmt.Sprintf("f%d", i*7%13)
		path := filepath.Join(dir, name+".yml")
		if i%5 == 2 {
			path = filepath.Join(dir, fmt.Sprintf("d%d", i%3), name+".yml")
		}
		switch rule := fmt.Sprint(i); {
		case i%11 == 3:
			_ = os.Remove(path)
			delete(state, path)
		case i%2 == 0:
			write(t, path, doc(name, rule))
			state[path] = rule
		default:
			save(t, path, doc(name, rule))
			state[path] = rule
		}
		if i == 700 {
			gone := filepath.Join(dir, "d1")
			if err := os.RemoveAll(gone); err != nil {
				t.Fatal(err)
			}
			for p := range state {
				if below(p, gone) {
					delete(state, p)
				}
			}
		}
	}
	want := func() string {
		got := map[string]string{}
		for _, f := range r.snapshot().Fragments {
			for _, router := range f.Config.HTTP.Routers {
				got[f.Name] = router.Rule
			}
		}
		return fmt.Sprint(got)
	}
	r.want("final state", want, fmt.Sprint(state))
	if f := r.findings(diag.Info); f != "" {
		t.Errorf("findings: %s", f)
	}
}

// TestRestless checks that a file that is written all the time is read in between.
func TestRestless(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dynamic.yml")
	write(t, path, doc("a", "0"))
	r := run(t, static.File{Filename: path, Watch: true})
	stop := time.Now().Add(4 * restless)
	i := 0
	for ; time.Now().Before(stop) && r.published() < 3; i++ {
		save(t, path, doc("a", fmt.Sprint(i)))
		time.Sleep(quiet / 10)
	}
	if r.published() < 2 {
		t.Errorf("nothing was read during %d changes", i)
	}
	r.wantRouters("at rest", fmt.Sprintf("a=%d", i-1))
	if f := r.findings(diag.Info); f != "" {
		t.Errorf("findings: %s", f)
	}
}

func TestOptions(t *testing.T) {
	err := New(static.File{}, nil).Run(context.Background(), func(dynamic.Snapshot) {})
	if !provider.IsPermanent(err) {
		t.Errorf("without file and directory: %v", err)
	}
	path := filepath.Join(t.TempDir(), "dynamic.conf")
	write(t, path, "")
	r := run(t, static.File{Filename: path})
	if got := r.findings(diag.Error); !strings.Contains(got, "unsupported file extension (use .toml, .yaml, .yml or .json; nothing") {
		t.Errorf("findings: %s", got)
	}
}

func TestNothingLeft(t *testing.T) {
	dir := t.TempDir()
	before := runtime.NumGoroutine()
	for range 20 {
		ctx, cancel := context.WithCancel(context.Background())
		p := New(static.File{Directory: dir, Watch: true}, nil)
		if err := p.Run(ctx, func(dynamic.Snapshot) { cancel() }); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines before, %d after", before, runtime.NumGoroutine())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestMemoryStaysFlat reads a file thousands of times and checks that nothing of the old versions is kept.
func TestMemoryStaysFlat(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "dynamic.yml")
	write(t, filepath.Join(dir, "ca.pem"), "CA")
	tr := newTree(static.File{Directory: dir}, nil)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	load := func(i int) {
		write(t, path, doc("a", fmt.Sprint(i))+"  serversTransports: {t: {rootCAs: "+filepath.Join(dir, "ca.pem")+"}}\n")
		if got := tr.load(tr.entry(path), how{}, time.Now()); got != changed {
			t.Fatal(i, got)
		}
	}
	load(-1)
	before := heap()
	for i := range 3000 {
		load(i)
	}
	if after := heap(); after > before+(1<<20) {
		t.Errorf("%d bytes before, %d after", before, after)
	}
	if len(tr.refs) != 1 || len(tr.entries) != 1 {
		t.Errorf("%d references, %d entries", len(tr.refs), len(tr.entries))
	}
}
