package middleware

import "unsafe"

// viewText looks at bytes as a string without copying, for callees that do not keep it, or not longer than the bytes live.
func viewText(v []byte) string { return unsafe.String(unsafe.SliceData(v), len(v)) }
