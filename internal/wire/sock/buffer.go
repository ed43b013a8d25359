package sock

import "sync"

// Buffer is a piece of memory on loan from a Pool.
type Buffer struct {
	// Bytes has the length of the pool's buffers. Its contents are undefined when the buffer is taken.
	Bytes []byte
}

// Pool lends buffers of one size. It is safe for concurrent use.
type Pool struct {
	size int
	free sync.Pool
}

// NewPool returns a pool of buffers of size bytes.
func NewPool(size int) *Pool {
	p := &Pool{size: size}
	p.free.New = func() any { return &Buffer{Bytes: make([]byte, size)} }
	return p
}

// Get takes a buffer; whoever has it gives it back with Put, once.
func (p *Pool) Get() *Buffer { return p.free.Get().(*Buffer) }

// Put gives b back. It may be nil. The caller must not use it afterwards.
func (p *Pool) Put(b *Buffer) {
	if b != nil {
		p.free.Put(b)
	}
}
