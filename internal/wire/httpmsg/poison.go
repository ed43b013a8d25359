package httpmsg

import "sync/atomic"

var poisoning atomic.Bool

// SetPoison switches on or off that memory of finished exchanges is overwritten, so that tests find whoever keeps a view
// past the end. It costs one load per buffer when off.
func SetPoison(on bool) { poisoning.Store(on) }

// Poison overwrites b if SetPoison is on. Owners of buffers call it when the exchange that looked at them has ended.
func Poison(b []byte) {
	if !poisoning.Load() {
		return
	}
	for i := range b {
		b[i] = 0xdb
	}
}
