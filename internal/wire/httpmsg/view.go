package httpmsg

// View is a piece of a message that lives in a buffer owned by somebody else: the head buffer of an exchange, or the
// text of a configuration value. It is frozen while the exchange lives and garbage afterwards (tests poison it), so
// whoever keeps one past OnFinish keeps View.Clone or View.String instead. Nobody writes into a view.
type View []byte

// String copies the view, so the result may be kept.
func (v View) String() string { return string(v) }

// Clone copies the view.
func (v View) Clone() View {
	if v == nil {
		return nil
	}
	return append(View{}, v...)
}

// Is reports whether the view holds exactly s.
func (v View) Is(s string) bool { return string(v) == s }

// EqualFold reports whether the view equals s, ASCII letters compared without case.
func (v View) EqualFold(s string) bool {
	if len(v) != len(s) {
		return false
	}
	for i := range v {
		if lower(v[i]) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}
