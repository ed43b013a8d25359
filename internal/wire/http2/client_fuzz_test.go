package http2

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	frames "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// recorded is a connection to a server that says fixed bytes, once it has been sent something, and takes everything.
type recorded struct {
	net.Conn
	mu   sync.Mutex
	said []byte
	cut  int // the first read ends here
	asks chan bool
	once sync.Once
}

func (r *recorded) Read(p []byte) (int, error) {
	<-r.asks
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.said) == 0 {
		return 0, io.EOF
	}
	n := len(r.said)
	if r.cut > 0 {
		n, r.cut = min(r.cut, n), 0
	}
	n = copy(p, r.said[:n])
	r.said = r.said[n:]
	return n, nil
}

func (r *recorded) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte{byte(frames.FrameHeaders), byte(frames.FlagHeadersEndHeaders | frames.FlagHeadersEndStream), 0, 0, 0, 1}) {
		r.once.Do(func() { close(r.asks) })
	}
	return len(p), nil
}
func (r *recorded) SetWriteDeadline(time.Time) error { return nil }
func (r *recorded) Close() error                     { r.once.Do(func() { close(r.asks) }); return nil }

// FuzzClientFrames feeds a server's bytes: whatever they are, the exchange ends within its limits, the connection ends, and
// what the client got does not depend on where the bytes were cut.
func FuzzClientFrames(f *testing.F) {
	var buf bytes.Buffer
	fr := frames.NewFramer(&buf, nil)
	fr.AllowIllegalWrites = true
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	head := func(end bool, fields ...string) {
		block.Reset()
		for i := 0; i < len(fields); i += 2 {
			enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		fr.WriteHeaders(frames.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end})
	}
	seed := func(more ...func()) {
		buf.Reset()
		fr.WriteSettings(frames.Setting{ID: frames.SettingMaxConcurrentStreams, Val: 100})
		for _, m := range more {
			m()
		}
		f.Add(false, uint16(20), bytes.Clone(buf.Bytes()))
	}
	seed(func() { head(true, ":status", "204") })
	seed(func() { head(false, ":status", "103", "link", "x") }, func() { head(false, ":status", "200", "content-length", "3", "etag", "e") },
		func() { fr.WriteDataPadded(1, false, []byte("ab"), make([]byte, 5)) }, func() { fr.WriteData(1, true, []byte("c")) })
	seed(func() { head(false, ":status", "200") }, func() { fr.WriteData(1, false, []byte("ab")) }, func() { head(true, "grpc-status", "0") })
	seed(func() { fr.WriteRSTStream(1, frames.ErrCodeRefusedStream) })
	seed(func() { fr.WriteGoAway(0, frames.ErrCodeNo, []byte("bye")) })
	seed(func() { fr.WritePing(false, [8]byte{1}) }, func() { fr.WriteWindowUpdate(0, 1) }, func() { fr.WriteWindowUpdate(1, 1) }, func() { head(true, ":status", "200") })
	f.Fuzz(func(t *testing.T, isHead bool, cut uint16, raw []byte) {
		whole, split := played(isHead, raw, 0), played(isHead, raw, int(cut))
		if whole != split {
			t.Errorf("in one piece:\n%q\ncut at %d:\n%q", whole, cut, split)
		}
	})
}

// played is what an exchange comes to, as text.
func played(isHead bool, raw []byte, cut int) string {
	k := newBag()
	c := NewClientConn(&recorded{said: bytes.Clone(raw), cut: cut, asks: make(chan bool)}, &ClientOptions{MaxHead: 16 << 10}, nil, k)
	x := request("GET")
	if isHead {
		x.Req.Method = httpmsg.Text("HEAD")
	}
	c.Reserve()
	defer func() {
		x.Finish()
		c.Close()
		<-k.over
	}()
	if err := c.RoundTrip(x, &httpmsg.Target{}); err != nil {
		if err != ErrStale && err != ErrHTTP1Required && fault.Of(err) != err {
			panic("not a fault")
		}
		return describe(err)
	}
	if x.Res.Status < 200 || x.Res.Status > 999 {
		panic("status out of range")
	}
	for i := range x.Res.Header.Len() {
		if f := x.Res.Header.At(i); httpmsg.NotReturned.Has(f.ID) || !httpmsg.IsToken(f.Name) || !httpmsg.IsFieldValue(f.Value) {
			panic("a field that cannot be passed on")
		}
	}
	body, err := read(x)
	if err == nil && x.Res.Body != nil && x.Res.ContentLength >= 0 && x.Res.Body.Trailer() == nil && int64(len(body)) != x.Res.ContentLength+4 {
		panic("body and its length differ")
	}
	if err != nil {
		return body[:3] + " " + describe(err)
	}
	return body
}
