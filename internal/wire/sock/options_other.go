//go:build !linux && !freebsd

package sock

const keepAliveIsInherited = false

// setReusePort does nothing: the option is documented as ignored here.
func setReusePort(uintptr) error { return nil }

func setInheritedKeepAlive(uintptr) error { return nil }
