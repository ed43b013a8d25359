package syslogs

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// lines returns all lines of a directory's files, whatever form they have, and the names of the files.
func lines(t *testing.T, dir string) (all []string, files []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		files = append(files, e.Name())
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		var in io.Reader = f
		if strings.HasSuffix(e.Name(), ".gz") {
			if in, err = gzip.NewReader(f); err != nil {
				t.Fatal(e.Name(), err)
			}
		}
		text, err := io.ReadAll(in)
		f.Close()
		if err != nil {
			t.Fatal(e.Name(), err)
		}
		all = append(all, strings.Fields(string(text))...)
	}
	return all, files
}

// Lines are neither lost nor split when many write and the file is put aside all the time.
func TestRotates(t *testing.T) {
	dir := t.TempDir()
	l, err := Open(filepath.Join(dir, "deep", "sluice.log"), Rotation{MaxSize: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 100 {
				if _, err := fmt.Fprintf(l, "writer-%d-line-%d\n", w, i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	all, files := lines(t, filepath.Join(dir, "deep"))
	seen := map[string]bool{}
	for _, line := range all {
		seen[line] = true
	}
	if len(all) != 400 || len(seen) != 400 {
		t.Errorf("%d lines, %d of them different, in %v", len(all), len(seen), files)
	}
	if len(files) < 7 || !strings.HasSuffix(files[0], ".log.gz") || files[len(files)-1] != "sluice.log" {
		t.Errorf("files: %v", files)
	}
	if _, err := l.Write([]byte("x")); err == nil {
		t.Error("a closed log was written to")
	}
}

// Files that were put aside are kept for their time and number; others in the directory are nobody's business.
func TestRemoves(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sluice.log")
	name := func(age time.Duration, suffix string) string {
		return "sluice-" + time.Now().Add(-age).UTC().Format(asideTime) + suffix
	}
	for _, n := range []string{name(100*time.Hour, ".log.gz"), name(3*time.Hour, ".log"), name(2*time.Hour, ".log.gz"), name(time.Hour, ".log.gz"), "sluice-notes.log", "other-2026-01-01T00-00-00.000.log"} {
		if err := os.WriteFile(filepath.Join(dir, n), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l, err := Open(path, Rotation{MaxSize: 10, MaxAge: 48 * time.Hour, MaxBackups: 3})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := io.WriteString(l, "0123456789\n"); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 3+1+2 {
		t.Errorf("left: %v", entries)
	}
}

// After somebody moved the file away, Reopen goes on under the old name.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sluice.log")
	l, err := Open(path, Rotation{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, _ = io.WriteString(l, "one\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(l, "two\n")
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(l, "three\n")
	old, _ := os.ReadFile(path + ".1")
	current, _ := os.ReadFile(path)
	if string(old) != "one\ntwo\n" || string(current) != "three\n" {
		t.Errorf("%q, %q", old, current)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err == nil {
		t.Error("a directory that is gone was no error")
	}
	if _, err := io.WriteString(l, "four\n"); err != nil {
		t.Errorf("after a failed Reopen: %v", err)
	}
}
