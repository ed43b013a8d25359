package decode

// Sides tells from the root keys whether the document has a static side, a dynamic one, or both.
func (d *Document) Sides() (isStatic, isDynamic bool) {
	for _, key := range d.RootKeys() {
		isStatic = isStatic || staticSchema().lookup(key, doorFile) != nil
		isDynamic = isDynamic || dynamicSchema().lookup(key, doorFile) != nil
	}
	return isStatic, isDynamic
}
