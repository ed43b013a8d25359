package compress

import (
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/molecule-man/go-brrr"
)

// encoder is what all three libraries offer. Each is used again for other bodies after Reset.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(w io.Writer)
}

const (
	// brotliQuality is about as fast as gzip at its usual level and smaller.
	brotliQuality = 4
	// brotliWindow (256 KiB) and zstdWindow bound what an encoder holds and what clients need to decode.
	brotliWindow = 18
	zstdWindow   = 512 << 10
)

// pools keep encoders: making one costs far more than a small body.
var pools = [codings]sync.Pool{
	gzipped: {New: func() any {
		w, err := gzip.NewWriterLevel(io.Discard, gzip.DefaultCompression)
		return sound(w, err)
	}},
	brotli: {New: func() any {
		w, err := brrr.NewWriterOptions(io.Discard, brotliQuality, brrr.WriterOptions{LGWin: brotliWindow})
		return sound(w, err)
	}},
	zstandard: {New: func() any {
		// Concurrency 1 keeps it on our goroutine.
		w, err := zstd.NewWriter(io.Discard, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(zstdWindow))
		return sound(w, err)
	}},
}

// sound passes an encoder on. The options above are constants, so an error is a mistake of ours.
func sound(e encoder, err error) encoder {
	if err != nil {
		panic(fmt.Sprintf("compress: an encoder refuses its options: %v", err))
	}
	return e
}

// sink passes the output of an encoder to whoever is behind the filter at the moment.
type sink struct{ out func([]byte) error }

// Write implements io.Writer.
func (s *sink) Write(p []byte) (int, error) {
	if err := s.out(p); err != nil {
		return 0, err
	}
	return len(p), nil
}
