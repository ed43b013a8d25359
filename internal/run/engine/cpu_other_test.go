//go:build !unix

package engine

import "testing"

// cpuMeter measures nothing where the system has no getrusage.
type cpuMeter struct{}

func startCPU() *cpuMeter             { return &cpuMeter{} }
func (*cpuMeter) start()              {}
func (*cpuMeter) stop()               {}
func (*cpuMeter) report(b *testing.B) {}
