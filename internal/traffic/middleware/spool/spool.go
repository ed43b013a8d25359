// Package spool reads message bodies ahead, so that they can be measured, and read again: the first part stands in memory,
// what goes beyond in a temporary file that no directory shows and that vanishes with the exchange.
package spool

import (
	"bytes"
	"io"
	"os"
	"sync"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// DefaultMemory is what stands in memory where nothing else is said.
const DefaultMemory = 1 << 20

const (
	firstBytes = 4 << 10  // of memory for a body of unknown length
	mostAtOnce = 64 << 10 // of memory for a body that only says it is long
	readBytes  = 32 << 10
)

// Limits bound a body.
type Limits struct {
	// Memory is how many bytes stand in memory. Zero or less: DefaultMemory.
	Memory int64
	// Max is the longest body that is read to its end. Less than zero: there is none.
	Max int64
	// Budget accounts for what stands in memory; where it is spent the file begins earlier. nil has no limit.
	Budget *httpmsg.Budget
}

// IsStream reports whether the body of a request may be one side of a conversation, which waits for answers: reading it ahead
// would be waiting for ever.
func IsStream(req *httpmsg.Request) bool {
	const grpc = "application/grpc"
	t := req.Header.Get(httpmsg.HdrContentType)
	return req.ContentLength < 0 && len(t) >= len(grpc) && t[:len(grpc)].EqualFold(grpc)
}

var pieces = sync.Pool{New: func() any { return new([readBytes]byte) }}

// Body is a body that was read ahead. It implements httpmsg.Body, httpmsg.Interrupter and httpmsg.Finisher. It is used by
// one goroutine at a time; Interrupt may come from any.
type Body struct {
	memory  []byte
	budget  *httpmsg.Budget
	taken   int64 // of the budget
	spent   bool  // no more memory is to be had
	file    *os.File
	size    int64
	trailer *httpmsg.Header
	rest    httpmsg.Body // where reading ahead ended early

	pos   int64
	piece *[readBytes]byte
	done  bool
	err   error
}

// Read reads src to its end, or until it is longer than limits allow. whole tells which: a Body that is not whole goes on with
// src behind what was read, and can be read only once. length is what src is said to have, -1 if unknown; it is no more
// than a hint. An error is the fault that broke src, or an Internal one where the temporary file cannot be written. The
// Body must be given to Exchange.OnFinish, or be finished otherwise.
func Read(src httpmsg.Body, length int64, limits Limits) (b *Body, whole bool, err error) {
	if limits.Memory <= 0 {
		limits.Memory = DefaultMemory
	}
	start := min(length, limits.Memory, mostAtOnce)
	if length < 0 {
		start = min(firstBytes, limits.Memory)
	}
	b = &Body{budget: limits.Budget}
	b.grow(start)
	for {
		p, err := src.Next()
		if err == io.EOF {
			if t := src.Trailer(); t != nil {
				kept := t.Clone()
				b.trailer = &kept
			}
			return b, true, nil
		}
		if err == nil {
			err = b.keep(p, limits.Memory)
		}
		if err != nil {
			b.Finish(nil)
			return nil, false, err
		}
		if limits.Max >= 0 && b.size > limits.Max {
			b.rest = src
			return b, false, nil
		}
	}
}

func (b *Body) keep(p []byte, memory int64) error {
	b.size += int64(len(p))
	if n := min(int64(len(p)), b.room(int64(len(p)), memory)); n > 0 {
		b.memory = append(b.memory, p[:n]...)
		p = p[n:]
	}
	if len(p) == 0 {
		return nil
	}
	if b.file == nil {
		f, err := os.CreateTemp("", "sluice-body-*")
		if err != nil {
			return fault.New(fault.Internal, "making a temporary file for a body", err)
		}
		b.file = f
		// The open file is enough, and needs no cleaning up after a crash. Where systems refuse, Finish removes it.
		_ = os.Remove(f.Name())
	}
	if _, err := b.file.Write(p); err != nil {
		return fault.New(fault.Internal, "writing a body to a temporary file", err)
	}
	return nil
}

// room returns how many of the next n bytes may stand in memory, of memory bytes in all, and makes room for them.
func (b *Body) room(n, memory int64) int64 {
	have := int64(len(b.memory))
	need := min(have+n, memory)
	if need > int64(cap(b.memory)) && !b.spent && !b.grow(min(max(need, 2*int64(cap(b.memory))), memory)) {
		b.spent = true
	}
	if b.spent {
		need = min(need, int64(cap(b.memory)))
	}
	return need - have
}

// grow makes the memory size bytes large, if the budget allows it.
func (b *Body) grow(size int64) bool {
	more := size - int64(cap(b.memory))
	if !b.budget.Take(more) {
		return false
	}
	b.taken += more
	bigger := make([]byte, len(b.memory), size)
	copy(bigger, b.memory)
	b.memory = bigger
	return true
}

// Size returns how many bytes were read ahead.
func (b *Body) Size() int64 { return b.size }

// HasTrailer reports whether fields follow a whole body.
func (b *Body) HasTrailer() bool { return b.trailer != nil }

// Bytes returns the body as one that is in memory, or nil if it is not there as a whole.
func (b *Body) Bytes() *httpmsg.Bytes {
	if b.file != nil || b.rest != nil || b.trailer != nil {
		return nil
	}
	return &httpmsg.Bytes{Data: b.memory}
}

// Source returns the body in its most convenient form: nil if it is empty and has no trailer.
func (b *Body) Source() httpmsg.Body {
	switch {
	case b.size == 0 && b.rest == nil && b.trailer == nil:
		return nil
	case b.file == nil && b.rest == nil && b.trailer == nil:
		return b.Bytes()
	}
	return b
}

// Next implements httpmsg.Body.
func (b *Body) Next() ([]byte, error) {
	switch {
	case b.err != nil:
		return nil, b.err
	case b.done:
		return nil, io.EOF
	case b.pos < int64(len(b.memory)):
		p := b.memory[b.pos:]
		b.pos = int64(len(b.memory))
		return p, nil
	case b.pos < b.size:
		return b.nextOfFile()
	case b.rest != nil:
		return b.rest.Next()
	}
	b.done = true
	return nil, io.EOF
}

func (b *Body) nextOfFile() ([]byte, error) {
	if b.piece == nil {
		b.piece = pieces.Get().(*[readBytes]byte)
	}
	n, err := b.file.ReadAt(b.piece[:min(readBytes, b.size-b.pos)], b.pos-int64(len(b.memory)))
	if n == 0 {
		b.err = fault.New(fault.Internal, "reading a body from a temporary file", err)
		return nil, b.err
	}
	b.pos += int64(n)
	return b.piece[:n], nil
}

// Reader returns a reader of what was read ahead, with a place of its own: it does not disturb Next, and several may be used
// at once, until Finish.
func (b *Body) Reader() io.Reader {
	memory := bytes.NewReader(b.memory)
	if b.file == nil {
		return memory
	}
	return io.MultiReader(memory, io.NewSectionReader(b.file, 0, b.size-int64(len(b.memory))))
}

// Ready implements httpmsg.Body.
func (b *Body) Ready() bool { return b.rest == nil || b.pos < b.size || b.rest.Ready() }

// Trailer implements httpmsg.Body.
func (b *Body) Trailer() *httpmsg.Header {
	switch {
	case b.rest != nil:
		return b.rest.Trailer()
	case b.done:
		return b.trailer
	}
	return nil
}

// Close implements httpmsg.Body. Rewind opens the body again.
func (b *Body) Close() {
	b.done = true
	if b.rest != nil {
		b.rest.Close()
	}
}

// Interrupt implements httpmsg.Interrupter.
func (b *Body) Interrupt() {
	if i, ok := b.rest.(httpmsg.Interrupter); ok {
		i.Interrupt()
	}
}

// Rewind lets a whole body be read again from its beginning.
func (b *Body) Rewind() { b.pos, b.done = 0, false }

// Finish implements httpmsg.Finisher: it gives everything back. The body must not be used any more.
func (b *Body) Finish(*httpmsg.Exchange) {
	b.done = true
	if b.piece != nil {
		httpmsg.Poison(b.piece[:])
		pieces.Put(b.piece)
		b.piece = nil
	}
	if b.file != nil {
		b.file.Close()
		_ = os.Remove(b.file.Name())
		b.file = nil
	}
	httpmsg.Poison(b.memory)
	b.memory, b.size, b.pos = nil, 0, 0
	b.budget.Give(b.taken)
	b.taken = 0
}
