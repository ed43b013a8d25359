package archtest

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Source is one Go file: its path inside the repository, with slashes, and its text.
type Source struct {
	Path string
	Text []byte
}

// Tree is what a check looks at.
type Tree struct {
	// Module is the module's path.
	Module string
	// Files are all Go files of the module, tests included, testdata left out.
	Files []Source
	// Std lists the import paths of the standard library.
	Std []string
}

// Problem is one breach of a rule.
type Problem struct {
	// Path is the file or directory; Line is 0 where the whole of it is meant.
	Path string
	Line int
	Text string
}

// String returns path:line: text.
func (p Problem) String() string {
	if p.Line == 0 {
		return p.Path + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.Path, p.Line, p.Text)
}

type file struct {
	Source
	dir  string
	test bool
	ast  *ast.File
}

type checker struct {
	tree     Tree
	fset     *token.FileSet
	std      map[string]bool
	stdNames map[string]string // last name -> import path
	problems []Problem
}

// Check returns every breach in the tree, ordered by path and line.
func Check(tree Tree) []Problem {
	c := &checker{tree: tree, fset: token.NewFileSet(), std: map[string]bool{}, stdNames: map[string]string{}}
	for _, p := range tree.Std {
		c.std[p] = true
		// What nobody outside the standard library can import cannot be confused with ours.
		if !strings.Contains("/"+p+"/", "/internal/") && !strings.HasPrefix(p, "vendor/") && !strings.HasPrefix(p, "cmd/") {
			c.stdNames[lastName(p)] = p
		}
	}
	dirs := map[string][]*file{}
	for _, src := range tree.Files {
		f, err := parser.ParseFile(c.fset, src.Path, src.Text, parser.ParseComments)
		if err != nil {
			c.report(src.Path, 0, "does not parse: %v", err)
			continue
		}
		d := path.Dir(src.Path)
		dirs[d] = append(dirs[d], &file{Source: src, dir: d, test: strings.HasSuffix(src.Path, "_test.go"), ast: f})
	}
	for d, files := range dirs {
		c.checkDoc(d, files)
		for _, f := range files {
			c.checkLength(f)
			c.checkInit(f)
			if !f.test {
				c.checkImports(f)
				c.checkPurity(f)
			}
		}
	}
	c.checkNames(dirs)
	slices.SortFunc(c.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Text, b.Text))
	})
	return c.problems
}

func (c *checker) report(at string, line int, format string, args ...any) {
	c.problems = append(c.problems, Problem{at, line, fmt.Sprintf(format, args...)})
}

func (c *checker) line(n ast.Node) int { return c.fset.Position(n.Pos()).Line }

// within reports whether p is the directory root or lies under it.
func within(p, root string) bool { return p == root || strings.HasPrefix(p, root+"/") }

func room(inside string) string {
	first, _, _ := strings.Cut(inside, "/")
	return first
}

// checkImports holds a file against the import table and the doorways.
func (c *checker) checkImports(f *file) {
	from, internal := strings.CutPrefix(f.dir, "internal/")
	if internal {
		if _, known := rooms[room(from)]; !known {
			c.report(f.Path, 0, "internal/%s is not a room", room(from))
			return
		}
	}
	for _, imp := range f.ast.Imports {
		target, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			continue // the parser has refused such a file
		}
		switch {
		case within(target, c.tree.Module+"/internal"):
			to := strings.TrimPrefix(target, c.tree.Module+"/internal/")
			if why := refusal(from, internal, to); why != "" {
				c.report(f.Path, c.line(imp), "imports %s: %s", to, why)
			}
		case within(target, c.tree.Module), target == "C":
			c.report(f.Path, c.line(imp), "imports %s: only packages under internal are imported", target)
		case c.std[target], !strings.Contains(strings.Split(target, "/")[0], "."):
		case internal:
			if why := foreign(from, target); why != "" {
				c.report(f.Path, c.line(imp), "imports %s: %s", target, why)
			}
		default:
			c.report(f.Path, c.line(imp), "imports %s: third-party modules enter through a room", target)
		}
	}
}

// refusal says why from may not import to (both below internal/), or nothing.
func refusal(from string, internal bool, to string) string {
	if !internal { // cmd
		if room(to) == "run" {
			return ""
		}
		return "a command imports room run only"
	}
	a, b := room(from), room(to)
	if b == "testkit" || b == "archtest" {
		return b + " is for tests only"
	}
	for _, x := range barred {
		if within(from, x.from) && within(to, x.to) {
			return x.reason
		}
	}
	if a == "core" && b == "core" {
		x, y := strings.TrimPrefix(from, "core/"), strings.TrimPrefix(to, "core/")
		lx, okx := coreOrder[room(x)]
		ly, oky := coreOrder[room(y)]
		switch {
		case !okx || !oky:
			return "a package of core has a place in its order"
		case ly > lx:
			return "core's order is diag, secret, fault; static, dynamic, rule; route; plan; explain"
		}
		return ""
	}
	if a == b {
		return ""
	}
	for _, allowed := range rooms[a] {
		if within(to, allowed) {
			return ""
		}
	}
	return "room " + a + " may not import it"
}

// foreign says why the package from may not import a third-party package, or nothing.
func foreign(from, target string) string {
	if room(from) == "core" {
		return "core knows no third party"
	}
	for _, m := range exempt {
		if within(target, m) {
			return ""
		}
	}
	known := ""
	for _, d := range doorways {
		if !within(target, d.module) {
			continue
		}
		if d.pkg == from {
			return ""
		}
		if room(d.pkg) == room(from) {
			known = fmt.Sprintf("%s enters room %s through %s only", d.module, room(from), d.pkg)
		}
	}
	if known != "" {
		return known
	}
	return "no doorway of room " + room(from) + " is listed for it"
}

// checkPurity holds core to data in, data out.
func (c *checker) checkPurity(f *file) {
	if !within(f.dir, "internal/core") {
		return
	}
	imports := map[string]string{}
	for _, imp := range f.ast.Imports {
		target, _ := strconv.Unquote(imp.Path.Value)
		name := lastName(target)
		if imp.Name != nil {
			name = imp.Name.Name
		}
		if name == "." {
			c.report(f.Path, c.line(imp), "imports %s with a dot", target)
		}
		imports[name] = target
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			c.report(f.Path, c.line(n), "core starts no goroutines")
		case *ast.SelectorExpr:
			// Obj is set for local names, so that a variable called time is not taken for the package.
			if x, ok := n.X.(*ast.Ident); ok && x.Obj == nil && imports[x.Name] != "" {
				if used := imports[x.Name]; isImpure(used, n.Sel.Name) {
					c.report(f.Path, c.line(n), "core uses %s.%s: no I/O, clock, chance or goroutines there", used, n.Sel.Name)
				}
			}
		}
		return true
	})
}

func isImpure(pkg, name string) bool {
	for _, p := range pure {
		if prefix, star := strings.CutSuffix(p, "*"); p == pkg+"."+name || star && strings.HasPrefix(pkg+"."+name, prefix) {
			return false
		}
	}
	return slices.Contains(impure, pkg+".*") || slices.Contains(impure, pkg+"."+name)
}

var major = regexp.MustCompile(`^v[0-9]+$`)

// lastName is the name by which an import path is used.
func lastName(p string) string {
	if base := path.Base(p); !major.MatchString(base) {
		return base
	}
	return path.Base(path.Dir(p))
}

// checkNames looks at what packages are called.
func (c *checker) checkNames(dirs map[string][]*file) {
	taken := map[string]string{}
	for _, d := range slices.Sorted(func(yield func(string) bool) {
		for d := range dirs {
			if !yield(d) {
				return
			}
		}
	}) {
		name := path.Base(d)
		for _, f := range dirs[d] {
			declared := f.ast.Name.Name
			if f.test {
				declared = strings.TrimSuffix(declared, "_test")
			}
			if declared != name && declared != "main" {
				c.report(f.Path, 0, "package %s stands in a directory called %s", declared, name)
			}
		}
		if !within(d, "internal") {
			continue
		}
		if slices.Contains(forbiddenNames, name) {
			c.report(d, 0, "the name %s says nothing", name)
		}
		if p := c.stdNames[name]; p != "" {
			c.report(d, 0, "shadows the standard package %s", p)
		}
		if other := taken[name]; other != "" {
			c.report(d, 0, "has the same last name as %s", other)
		}
		taken[name] = d
	}
}

// checkDoc wants exactly one package comment per package, in the form that go doc shows.
func (c *checker) checkDoc(dir string, files []*file) {
	var first *file
	code := false
	for _, f := range files {
		if f.test {
			continue
		}
		code = true
		if f.ast.Doc == nil || strings.TrimSpace(f.ast.Doc.Text()) == "" {
			continue
		}
		if first != nil {
			c.report(f.Path, c.line(f.ast.Doc), "a second package comment beside that of %s", first.Path)
			continue
		}
		first = f
		want := "Package " + f.ast.Name.Name + " "
		if f.ast.Name.Name == "main" {
			want = "Command "
			if text := f.ast.Doc.Text(); strings.HasPrefix(text, strings.ToUpper(path.Base(dir)[:1])+path.Base(dir)[1:]+" ") {
				continue
			}
		}
		if !strings.HasPrefix(f.ast.Doc.Text(), want) {
			c.report(f.Path, c.line(f.ast.Doc), "the package comment begins with %q", want)
		}
	}
	if code && first == nil {
		c.report(dir, 0, "no package comment")
	}
}

// checkInit bars init functions: what happens before main cannot be tested, ordered or switched off.
func (c *checker) checkInit(f *file) {
	for _, d := range f.ast.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			c.report(f.Path, c.line(fn), "has an init function")
		}
	}
}

// checkLength wants long files to say why they are long.
func (c *checker) checkLength(f *file) {
	n := bytes.Count(f.Text, []byte("\n"))
	switch {
	case f.test && n > maxTestLines:
		c.report(f.Path, 0, "%d lines of test: over %d it belongs into text files", n, maxTestLines)
	case !f.test && n > maxLines && !saysWhy(f.ast):
		c.report(f.Path, 0, "%d lines: over %d a comment at the top says \"This file is long because ...\"", n, maxLines)
	}
}

func saysWhy(f *ast.File) bool {
	for _, g := range f.Comments {
		if len(f.Decls) > 0 && g.Pos() > f.Decls[0].Pos() {
			break
		}
		if strings.Contains(strings.Join(strings.Fields(g.Text()), " "), "This file is long because ") {
			return true
		}
	}
	return false
}
