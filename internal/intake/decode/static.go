package decode

import (
	"reflect"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
)

func staticSchema() *schema  { return schemaOf(reflect.TypeFor[static.Config]()) }
func dynamicSchema() *schema { return schemaOf(reflect.TypeFor[dynamic.Config]()) }

// Static reads the static side of the document onto the defaults. Root keys of the dynamic side are passed by. A
// document without any static key is an error finding, as it is in the reference: such a file was named by mistake. The
// configuration is never nil; with an error among the findings it is incomplete.
func (d *Document) Static(files *Files) (*static.Config, diag.List) {
	cfg := static.New()
	w := d.newWalker(files)
	w.legacy = static.Legacy
	switch {
	case d.Empty():
		w.report(0, diag.Error, CodeEmpty, "no configuration found in file: "+d.Name, "")
	case w.rootTable(d.root):
		own := rootFields(w, d.root, staticSchema(), dynamicSchema(), reflect.ValueOf(cfg).Elem())
		if own == 0 {
			hint := ""
			for _, key := range d.RootKeys() {
				if dynamicSchema().lookup(key, doorFile) != nil {
					hint = "it holds dynamic configuration, which belongs in a file that providers.file names"
				}
			}
			w.report(0, diag.Error, CodeEmpty, "no valid configuration found in file: "+d.Name, hint)
		}
	}
	w.findings = append(w.findings, d.Findings...)
	w.finish()
	return cfg, w.findings
}

// StaticFromFlags reads command-line arguments onto the defaults. The locator tells which flag gave a value.
func StaticFromFlags(args []string, files *Files) (*static.Config, dynamic.Locator, diag.List) {
	t, findings := flagTree(args, staticSchema())
	return staticFromPaths(t, findings, files)
}

// StaticFromEnv reads environment variables, as os.Environ gives them, onto the defaults. The locator tells which
// variable gave a value.
func StaticFromEnv(environ []string, files *Files) (*static.Config, dynamic.Locator, diag.List) {
	t, findings := envTree(environ, staticSchema())
	return staticFromPaths(t, findings, files)
}

func staticFromPaths(t *pathTree, findings diag.List, files *Files) (*static.Config, dynamic.Locator, diag.List) {
	cfg := static.New()
	w := &walker{door: t.door, where: t, files: files, budget: aliasBudget, findings: findings, legacy: static.Legacy}
	w.structure(t.root, staticSchema(), reflect.ValueOf(cfg).Elem())
	w.finish()
	return cfg, &locator{root: t.root, where: t}, w.findings
}
