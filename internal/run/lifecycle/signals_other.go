//go:build !unix

package lifecycle

import "os"

var watched = []os.Signal{os.Interrupt}

func isReload(os.Signal) bool { return false }
func isReopen(os.Signal) bool { return false }
