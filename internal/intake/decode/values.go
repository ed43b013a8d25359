package decode

import "sluice/internal/core/diag"

// Values returns the document as it stands: maps with text keys, lists, texts, whole numbers (int64), fractions (float64),
// truth values and nil. It is for documents of other programs; Locate finds the places of what is in it. The findings are
// remarks such as a document that is nested too deeply.
func (d *Document) Values() (any, diag.List) {
	w := d.newWalker(nil)
	v := w.free(d.root)
	w.finish()
	return v, append(w.findings, d.Findings...)
}
