package storage

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// requestsSuffix is the name behind the store's own of the file in which the command line leaves its wishes.
const requestsSuffix = ".sluice-requests"

// request appends a line to the file.
func request(file, name string) error {
	if name == "" || strings.ContainsAny(name, "\r\n") {
		return fmt.Errorf("%q is no name", name)
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(name + "\n")
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// maxRequests bounds what is read of the file, in bytes.
const maxRequests = 1 << 20

// takeRequests returns the lines of the file and removes it. Of several instances one gets them.
func takeRequests(file string) []string {
	info, err := os.Stat(file)
	if err != nil {
		return nil
	}
	taken := fmt.Sprintf("%s.%d", file, os.Getpid())
	if os.Rename(file, taken) != nil {
		return nil // another instance was faster, or it cannot be written: the next look tells
	}
	defer os.Remove(taken)
	if info.Size() > maxRequests {
		return nil
	}
	data, err := os.ReadFile(taken)
	if err != nil {
		return nil
	}
	names := strings.Fields(string(data))
	slices.Sort(names)
	return slices.Compact(names)
}
