//go:build !unix

package sock

func closeOnExec(int) {}
