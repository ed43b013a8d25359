//go:build unix

package sock

import "golang.org/x/sys/unix"

// MaxDescriptors returns how many descriptors the process may have; 0 where that is not known.
func MaxDescriptors() uint64 {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return uint64(limit.Cur)
}
