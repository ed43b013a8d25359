//go:build !unix

package sock

// MaxDescriptors returns how many descriptors the process may have; 0 where that is not known.
func MaxDescriptors() uint64 { return 0 }
