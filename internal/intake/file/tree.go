package file

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
	"sluice/internal/intake/decode"
)

// tree is what the provider knows about its files. Only the goroutine of Run touches it.
type tree struct {
	opts static.File
	log  *slog.Logger
	// root is the directory, or the one file; rootAbs is the same, absolute.
	root, rootAbs string
	single        bool

	entries map[string]*entry // by absolute path
	order   []*entry          // in reading order
	refs    map[string]*ref   // files that documents refer to, by absolute path
	// trouble is a fragment without configuration that tells what is wrong with the directory itself; nil if nothing is.
	trouble *dynamic.Fragment
}

// entry is one configuration file.
type entry struct {
	name string // as findings show it
	abs  string

	// read tells that sum is of the content, or of the error, that made fragment; failed, that it could not be used.
	read     bool
	failed   bool
	sum      [sha256.Size]byte
	size     int64
	modified time.Time

	fragment *dynamic.Fragment // what is published
	good     *dynamic.Fragment // what the file said when it last could be parsed; nil before that
	refs     []string          // absolute paths of files that it refers to
	// emptySince is when a file that had content was first seen with zero bytes.
	emptySince time.Time
}

// ref is a file that documents refer to, such as a certificate.
type ref struct {
	sum   [sha256.Size]byte // of the content, or of the error
	users map[*entry]struct{}
}

func newTree(opts static.File, log *slog.Logger) *tree {
	t := &tree{opts: opts, log: log, entries: map[string]*entry{}, refs: map[string]*ref{}}
	t.root = opts.Directory
	if t.root == "" {
		t.root, t.single = opts.Filename, true
	}
	t.rootAbs = abs(t.root)
	return t
}

// snapshot returns all fragments in reading order.
func (t *tree) snapshot() dynamic.Snapshot {
	out := make([]*dynamic.Fragment, 0, len(t.order)+1)
	if t.trouble != nil {
		out = append(out, t.trouble)
	}
	for _, e := range t.order {
		if e.fragment != nil {
			out = append(out, e.fragment)
		}
	}
	return dynamic.Snapshot{Provider: Name, Fragments: out}
}

// compare orders paths as a recursive listing does: directory by directory, each by name.
func compare(a, b *entry) int {
	x, y := a.abs, b.abs
	for i := range min(len(x), len(y)) {
		if x[i] == y[i] {
			continue
		}
		// A separator sorts before everything else, so that a directory stays together.
		switch byte(filepath.Separator) {
		case x[i]:
			return -1
		case y[i]:
			return 1
		}
		return int(x[i]) - int(y[i])
	}
	return len(x) - len(y)
}

// entry returns the entry for an absolute path, made if it is new.
func (t *tree) entry(path string) *entry {
	if e := t.entries[path]; e != nil {
		return e
	}
	e := &entry{abs: path, name: t.root}
	if !t.single {
		e.name = filepath.Join(t.root, strings.TrimPrefix(path, t.rootAbs))
	}
	t.entries[path] = e
	at, _ := slices.BinarySearchFunc(t.order, e, compare)
	t.order = slices.Insert(t.order, at, e)
	return e
}

// remove forgets a file. It returns whether it was published.
func (t *tree) remove(e *entry) bool {
	delete(t.entries, e.abs)
	if at, ok := slices.BinarySearchFunc(t.order, e, compare); ok {
		t.order = slices.Delete(t.order, at, at+1)
	}
	t.setRefs(e, nil, nil)
	return e.fragment != nil
}

// setRefs notes which files a document refers to, and what was seen of them when it was read.
func (t *tree) setRefs(e *entry, refs []string, seen map[string][sha256.Size]byte) {
	for _, old := range e.refs {
		if slices.Contains(refs, old) {
			continue
		}
		if r := t.refs[old]; r != nil {
			if delete(r.users, e); len(r.users) == 0 {
				delete(t.refs, old)
			}
		}
	}
	for _, path := range refs {
		r := t.refs[path]
		if r == nil {
			r = &ref{users: map[*entry]struct{}{}}
			t.refs[path] = r
		}
		r.sum = seen[path]
		r.users[e] = struct{}{}
	}
	e.refs = refs
}

// readRef reads a file for a document and notes what was seen, so that a later change is recognized.
func (t *tree) readRef(seen map[string][sha256.Size]byte) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		data, err := decode.ReadMaterial(path)
		seen[abs(path)] = sumOf(data, err)
		return data, err
	}
}

// sumOf is the identity of a file's content, or of the reason why there is none.
func sumOf(data []byte, err error) [sha256.Size]byte {
	if err != nil {
		return sha256.Sum256([]byte("error " + err.Error()))
	}
	return sha256.Sum256(data)
}

// setTrouble notes what is wrong with root itself; an empty message means nothing. It returns whether that is news.
func (t *tree) setTrouble(message string, sev diag.Severity, code string) bool {
	if message == "" {
		was := t.trouble != nil
		t.trouble = nil
		return was
	}
	if t.trouble != nil && t.trouble.Findings[0].Message == message {
		return false
	}
	t.trouble = &dynamic.Fragment{
		Name: t.root, Config: &dynamic.Config{},
		Findings: diag.List{{Place: diag.Place{Source: t.root}, Severity: sev, Code: code, Message: message}},
	}
	return true
}

// checkRoot looks whether the directory can be used, and notes if not. news reports whether that differs from before.
func (t *tree) checkRoot() (usable, news bool) {
	info, err := os.Stat(t.rootAbs)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, t.setTrouble("the directory does not exist", diag.Error, decode.CodeFile)
	case err != nil:
		return false, t.setTrouble("cannot be read: "+reason(err), diag.Error, decode.CodeFile)
	case !info.IsDir():
		return false, t.setTrouble("providers.file.directory is not a directory", diag.Error, decode.CodeFile)
	case t.opts.Filename != "":
		return true, t.setTrouble("providers.file.filename is not read, since directory is set as well", diag.Warning, decode.CodeNotRead)
	}
	return true, t.setTrouble("", 0, "")
}

// reason is the cause of an error of the file system, without operation and path.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// candidate reports whether a file of that name holds configuration. Names that editors and mounted volumes use for
// their own purposes do not.
func candidate(name string) bool {
	base := filepath.Base(name)
	if strings.HasPrefix(base, ".#") {
		return false
	}
	_, ok := decode.FormatOf(base)
	return ok
}

// skipDir reports whether a directory is not looked into: mounted config maps keep their versions in directories like
// ..2024_05_01_10_00_00.1, and show every file a second time through a link.
func skipDir(name string) bool { return strings.HasPrefix(filepath.Base(name), "..") }
