package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// buffered is how much of a wrapped handler's response is collected before it becomes a stream.
const buffered = 64 << 10

// Wrap serves h as an httpmsg.Handler. A response of at most 64 KiB that h does not flush comes as a whole, with its
// length; a longer or flushed one streams while h runs, and h waits when the client does. The request's context ends
// when the client goes away or the response is closed early; the exchange ends only when h has returned.
//
// h runs in a goroutine of its own. Informational responses, hijacking and deadlines are not offered; the body's type is
// not guessed.
func Wrap(h http.Handler) httpmsg.Handler {
	return httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		ctx, cancel := context.WithCancel(context.Background())
		r, err := request(ctx, x)
		if err != nil {
			cancel()
			return err
		}
		gone := func(error) { cancel() }
		x.OnCancel(&gone)
		w := &answer{ctx: ctx, cancel: cancel, header: http.Header{}, ready: make(chan struct{}), more: make(chan []byte),
			taken: make(chan struct{}), done: make(chan struct{})}
		go w.run(h, r)
		<-w.ready // closed at the latest when h has returned
		return w.respond(x)
	})
}

// request makes a request with memory of its own, so that h may keep what it likes.
func request(ctx context.Context, x *httpmsg.Exchange) (*http.Request, error) {
	q := &x.Req
	target := q.Path.String()
	if q.HasQuery {
		target += "?" + q.Query.String()
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, fault.New(fault.BadRequest, "the request target cannot be read", err)
	}
	r := (&http.Request{
		Method: q.Method.String(), URL: u, RequestURI: target, Host: q.Host.String(), Header: http.Header{},
		Proto: q.Proto.String(), RemoteAddr: x.Peer.String(), TLS: x.TLS, Body: http.NoBody,
	}).WithContext(ctx)
	r.ProtoMajor, r.ProtoMinor, _ = http.ParseHTTPVersion(r.Proto)
	for i := range q.Header.Len() {
		f := q.Header.At(i)
		r.Header.Add(f.Name.String(), f.Value.String())
	}
	if q.Body != nil {
		r.Body, r.ContentLength = &reader{src: q.Body}, q.ContentLength
	}
	return r, nil
}

// reader reads a request body as net/http's handlers do.
type reader struct {
	src  httpmsg.Body
	rest []byte
}

// Read implements io.Reader.
func (b *reader) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		next, err := b.src.Next()
		if err != nil {
			return 0, err
		}
		b.rest = next
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// Close implements io.Closer. What was not read is the connection's business.
func (b *reader) Close() error { return nil }

// answer is the http.ResponseWriter of a wrapped handler and the body source of its exchange. The handler's goroutine
// owns the fields of the first block until ready is closed, and header until done is; then they are the exchange's.
type answer struct {
	header    http.Header
	status    int
	head      http.Header // as it was when the handler began the body
	buf       []byte      // the body, as long as it is collected
	streaming bool
	failure   error // of the handler: it panicked

	ctx    context.Context // done when nobody reads any more
	cancel context.CancelFunc
	ready  chan struct{} // closed when the head stands
	more   chan []byte   // pieces of a streaming body
	taken  chan struct{} // the piece is the handler's again
	done   chan struct{} // closed when the handler has returned

	held    bool // a piece of the handler's is in use
	trailer httpmsg.Header
	err     error
}

func (w *answer) run(h http.Handler, r *http.Request) {
	defer close(w.done)
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			w.failure = fault.New(fault.Internal, "the handler gave up", nil)
		} else if p != nil {
			w.failure = fault.New(fault.Panic, fmt.Sprintf("panic: %v", p), errors.New(string(debug.Stack())))
		}
		w.WriteHeader(http.StatusOK)
		if !w.streaming {
			close(w.ready)
		}
	}()
	h.ServeHTTP(w, r)
}

// Header implements http.ResponseWriter.
func (w *answer) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter. The first final status counts.
func (w *answer) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status, w.head = status, w.header.Clone()
	}
}

// Write implements http.ResponseWriter.
func (w *answer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if !w.streaming {
		if len(w.buf)+len(p) <= buffered {
			w.buf = append(w.buf, p...)
			return len(p), nil
		}
		w.stream()
	}
	if len(p) == 0 {
		return 0, nil
	}
	select {
	case w.more <- p:
	case <-w.ctx.Done():
		return 0, io.ErrClosedPipe
	}
	// p is the handler's again when Write returns, so wait until the other side is through with it.
	<-w.taken
	return len(p), nil
}

// Flush implements http.Flusher: from here on the response streams.
func (w *answer) Flush() {
	w.WriteHeader(http.StatusOK)
	if !w.streaming {
		w.stream()
	}
}

func (w *answer) stream() {
	w.streaming = true
	close(w.ready)
}

// respond puts the response on the exchange.
func (w *answer) respond(x *httpmsg.Exchange) error {
	if !w.streaming {
		<-w.done
		w.cancel()
		if w.failure != nil {
			return w.failure
		}
	}
	x.DropResponse()
	x.Res.Status, x.Res.ContentLength = w.status, -1
	for _, name := range slices.Sorted(maps.Keys(w.head)) {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			continue
		}
		for _, v := range w.head[name] {
			f := httpmsg.Field{Name: httpmsg.Text(name), Value: httpmsg.Text(v), ID: httpmsg.IDOf(name)}
			switch {
			case f.ID == httpmsg.HdrContentLength:
				if n, ok := httpmsg.ParseLength(f.Value); ok {
					x.Res.ContentLength = n
				}
			case !httpmsg.HopByHop.Has(f.ID) && httpmsg.IsToken(f.Name):
				f.Value = oneLine(f.Value)
				x.Res.Header.Append(f)
			}
		}
	}
	if w.streaming || w.hasTrailer() {
		x.Res.Body = w
		return nil
	}
	if x.Res.ContentLength < 0 || !x.Bodiless() {
		x.Res.ContentLength = int64(len(w.buf))
	}
	if len(w.buf) > 0 && !x.Bodiless() {
		x.Res.Body = &httpmsg.Bytes{Data: w.buf}
	}
	return nil
}

// oneLine makes v a field value: what cannot stand in one becomes a space, as net/http does it.
func oneLine(v httpmsg.View) httpmsg.View {
	if httpmsg.IsFieldValue(v) {
		return v
	}
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, v.String())
	return httpmsg.Text(strings.Trim(clean, " "))
}

func (w *answer) hasTrailer() bool {
	for name := range w.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

// Next implements httpmsg.Body.
func (w *answer) Next() ([]byte, error) {
	if w.err != nil {
		return nil, w.err
	}
	if p := w.buf; len(p) > 0 {
		w.buf = nil
		return p, nil
	}
	w.giveBack()
	select {
	case p := <-w.more:
		w.held = true
		return p, nil
	case <-w.done:
	}
	w.err = io.EOF
	if w.failure != nil {
		w.err = w.failure
	}
	for _, name := range slices.Sorted(maps.Keys(w.header)) {
		if t, ok := strings.CutPrefix(name, http.TrailerPrefix); ok && httpmsg.IsToken(httpmsg.Text(t)) {
			for _, v := range w.header[name] {
				w.trailer.Append(httpmsg.Field{Name: httpmsg.Text(t), Value: oneLine(httpmsg.Text(v)), ID: httpmsg.IDOf(t)})
			}
		}
	}
	return nil, w.err
}

func (w *answer) giveBack() {
	if w.held {
		w.held = false
		w.taken <- struct{}{}
	}
}

// Ready implements httpmsg.Body.
func (w *answer) Ready() bool { return len(w.buf) > 0 || w.err != nil }

// Trailer implements httpmsg.Body.
func (w *answer) Trailer() *httpmsg.Header {
	if w.err != io.EOF || w.trailer.Len() == 0 {
		return nil
	}
	return &w.trailer
}

// Close implements httpmsg.Body: it tells the handler that nobody reads and waits until it has returned.
func (w *answer) Close() {
	w.cancel()
	w.giveBack()
	<-w.done
	if w.err == nil {
		w.err = io.EOF
	}
}
