//go:build !race

package forward

const racing = false
