//go:build !linux

package relay

// splice is copy: other systems have no such call.
func (d *direction) splice() (Side, error) { return d.copy() }
