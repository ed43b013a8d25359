//go:build !unix

package file

import (
	"errors"
	"time"
)

func mkfifo(string) error { return errors.New("no named pipes here") }

// cpuTime is not measured here.
func cpuTime() time.Duration { return 0 }
