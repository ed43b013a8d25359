//go:build unix

package e2e

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestThousandTunnels sends random bytes through a thousand passthrough tunnels at once, both ways, and ends one direction
// of each before the other. Every byte must arrive, and each end must be seen where it belongs.
func TestThousandTunnels(t *testing.T) {
	const tunnels = 1000
	hello := firstFlight(t, vmHost)

	// The machine reads the ClientHello, then talks and listens at the same time. Bytes are made from a seed that the
	// client sends first, so that both sides know what the other has to see.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	machineErrors := make(chan error, tunnels)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { machineErrors <- machineSide(c.(*net.TCPConn), len(hello)) }()
		}
	}()
	e := startEdge(t, plan{machine: &vm{secure: ln.Addr().String(), plain: "127.0.0.1:1"}})
	before := memory(t, e.cmd.Process.Pid)

	conns := make([]*net.TCPConn, tunnels)
	var wg sync.WaitGroup
	limit := make(chan struct{}, 64) // connects at the same time, so that no backlog overflows
	var mu sync.Mutex
	var failed []error
	fail := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		failed = append(failed, err)
	}
	for i := range conns {
		wg.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			c, err := net.DialTimeout("tcp", e.secure, 10*time.Second)
			if err != nil {
				fail(err)
				return
			}
			conns[i] = c.(*net.TCPConn)
			c.SetDeadline(time.Now().Add(2 * time.Minute))
			if _, err := c.Write(append(bytes.Clone(hello), byte(i), byte(i>>8))); err != nil {
				fail(err)
				return
			}
			var ready [1]byte // the machine's: the tunnel stands
			if _, err := io.ReadFull(c, ready[:]); err != nil {
				fail(fmt.Errorf("tunnel %d: %w", i, err))
			}
		})
	}
	wg.Wait()
	if len(failed) > 0 {
		t.Fatalf("%d tunnels did not open, the first: %v", len(failed), failed[0])
	}
	time.Sleep(500 * time.Millisecond) // idle, so that what they hold while nothing moves is seen
	t.Logf("%d idle tunnels: %d bytes of memory each", tunnels, (memory(t, e.cmd.Process.Pid)-before)/tunnels)

	for i, c := range conns {
		wg.Go(func() {
			defer c.Close()
			if err := clientSide(c, i); err != nil {
				fail(fmt.Errorf("tunnel %d: %w", i, err))
			}
		})
	}
	wg.Wait()
	for range tunnels {
		if err := <-machineErrors; err != nil {
			fail(err)
		}
	}
	if len(failed) > 0 {
		t.Fatalf("%d failures, the first: %v", len(failed), failed[0])
	}
	e.servesApp(t)
}

// stream makes the bytes that one side of tunnel i sends: between none and 256 KiB.
func stream(i int, machine bool) []byte {
	seed := uint64(i)*2 + 1
	if machine {
		seed++
	}
	r := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, r.IntN(256<<10))
	for j := range b {
		b[j] = byte(r.Uint32())
	}
	return b
}

func clientSide(c *net.TCPConn, i int) error {
	return talk(c, stream(i, false), stream(i, true), i%2 == 0)
}

func machineSide(c *net.TCPConn, hello int) error {
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Minute))
	first := make([]byte, hello+2)
	if _, err := io.ReadFull(c, first); err != nil {
		return fmt.Errorf("machine: ClientHello: %w", err)
	}
	if _, err := c.Write([]byte{1}); err != nil {
		return err
	}
	i := int(first[hello]) | int(first[hello+1])<<8
	if err := talk(c, stream(i, true), stream(i, false), i%2 == 1); err != nil {
		return fmt.Errorf("machine, tunnel %d: %w", i, err)
	}
	return nil
}

// talk sends one stream and expects another. The side that ends first half-closes at once; the other only when it has
// seen that end, so that one direction must go on working after the other is closed.
func talk(c *net.TCPConn, send, want []byte, first bool) error {
	sent := make(chan error, 1)
	peerEnded := make(chan struct{})
	go func() {
		half := len(send) / 2
		_, err := c.Write(send[:half])
		if err == nil && !first {
			<-peerEnded
		}
		if err == nil {
			_, err = c.Write(send[half:])
		}
		if err == nil {
			err = c.CloseWrite()
		}
		sent <- err
	}()
	got, err := io.ReadAll(c)
	close(peerEnded)
	if serr := <-sent; serr != nil {
		return fmt.Errorf("sending: %w", serr)
	}
	if err != nil {
		return fmt.Errorf("receiving: %w", err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%d bytes arrived, not the %d that were sent", len(got), len(want))
	}
	return nil
}

// firstFlight is the ClientHello record of Go's client.
func firstFlight(t *testing.T, name string) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	go tls.Client(theirs, &tls.Config{ServerName: name, NextProtos: []string{"h2"}}).Handshake()
	b := make([]byte, 32<<10)
	n, err := ours.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// memory is the resident memory of a process.
func memory(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if errors.Is(err, os.ErrNotExist) {
		return 0 // no /proc here: the figure is only reported
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	fields := strings.Fields(rest)
	if err != nil || len(fields) == 0 {
		t.Fatalf("cannot read the memory of %d: %v", pid, err)
	}
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
