package http2_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"sluice/internal/core/fault"
	"sluice/internal/testkit"
	"sluice/internal/wire/bridge"
	"sluice/internal/wire/http2"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/watch"
)

func TestCloseAfterSendsGoAway(t *testing.T) {
	addr := serveClear(t, http2.Options{Handler: httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		x.CloseAfter = true
		x.Respond(204, "", "")
		return nil
	})})
	c := dialRaw(t, addr)
	c.request(t, ":method", "GET", ":path", "/", ":scheme", "http", ":authority", "a.test")
	got := []string{c.outcome(t), c.outcome(t)}
	slices.Sort(got)
	if fmt.Sprint(got) != "[204 GOAWAY NO_ERROR]" {
		t.Error(got)
	}
}

func TestConnectionLimits(t *testing.T) {
	ok := respond(204, 0, func() httpmsg.Body { return nil })
	get := []string{":method", "GET", ":path", "/", ":scheme", "http", ":authority", "a.test"}
	for name, opts := range map[string]http2.Options{"requests": {Handler: ok, MaxRequests: 2}, "age": {Handler: ok, MaxAge: 1}} {
		c := dialRaw(t, serveClear(t, opts))
		if opts.MaxRequests > 0 {
			c.request(t, get...)
			if got := c.outcome(t); got != "204" {
				t.Errorf("%s: first: %s", name, got)
			}
		}
		c.request(t, get...)
		got := []string{c.outcome(t), c.outcome(t)}
		slices.Sort(got)
		if fmt.Sprint(got) != "[204 GOAWAY NO_ERROR]" {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestWriteTimeout(t *testing.T) {
	w := watch.New()
	w.Start()
	defer w.Stop()
	pieces := make(chan string)
	addr := serveClear(t, http2.Options{Watch: w, WriteTimeout: 100 * time.Millisecond, Handler: respond(200, -1, func() httpmsg.Body { return &script{pieces: pieces} })})
	res, err := client(t, nil).Get("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		defer close(pieces)
		for {
			select {
			case pieces <- "x":
			case <-stop:
				return
			}
		}
	}()
	if _, err := io.Copy(io.Discard, res.Body); err == nil {
		t.Error("a response without end was not cut")
	}
}

func TestHooks(t *testing.T) {
	var done, panicked []string
	var mu sync.Mutex
	note := func(to *[]string, s string) { mu.Lock(); defer mu.Unlock(); *to = append(*to, s) }
	addr, s := serve(t, http2.Options{
		Done: func(x *httpmsg.Exchange) {
			note(&done, fmt.Sprintf("%s %d %s %v", x.Req.Path, x.Res.Status, fault.Of(x.Facts.Err).Kind.Code(), x.Facts.End.IsZero()))
		},
		Panicked: func(x *httpmsg.Exchange, v any, stack []byte) { note(&panicked, fmt.Sprint(v, len(stack) > 0)) },
		Handler: httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
			if x.Req.Path.Is("/hook") {
				x.OnFinish(told(func(*httpmsg.Exchange) { panic("hook") }))
				return fault.New(fault.Forbidden, "", nil)
			}
			panic("handler")
		}),
	}, nil)
	for _, path := range []string{"/hook", "/p", "/b%5c\\"} {
		c := dialRaw(t, addr)
		c.request(t, ":method", "GET", ":path", path, ":scheme", "http", ":authority", "a.test")
		c.outcome(t)
	}
	s.Close()
	mu.Lock()
	defer mu.Unlock()
	if got := fmt.Sprint(done, panicked); got != "[/hook 403 FORBIDDEN false /p 500 PANIC false /b%5c\\ 400 BAD-REQUEST false] [hooktrue handlertrue]" {
		t.Error(got)
	}
}

func TestDrain(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	addr, s := serve(t, http2.Options{Handler: httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		close(started)
		<-release
		x.Respond(200, "", "done")
		return nil
	})}, nil)
	idle := dialRaw(t, addr)
	if f, err := idle.framer.ReadFrame(); err != nil || f.Header().Type != xhttp2.FrameSettings {
		t.Fatal(f, err)
	}
	body := make(chan string, 1)
	go func() {
		res, err := client(t, nil).Get("http://" + addr)
		if err != nil {
			body <- err.Error()
			return
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		body <- string(b)
	}()
	<-started
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	if got := idle.outcome(t); got != "GOAWAY NO_ERROR" {
		t.Errorf("idle connection: %s", got)
	}
	idle.Close()
	close(release)
	if got := <-body; got != "done" {
		t.Errorf("request in flight: %q", got)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	a, b := testkit.Pipe()
	if err := s.ServeConn(b, bridge.Conn{}); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("a connection after the end: %v", err)
	}
	a.Close()
}

func TestDrainLimit(t *testing.T) {
	started := make(chan struct{})
	addr, s := serve(t, http2.Options{Handler: httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		gone := make(chan struct{})
		hook := func(error) { close(gone) }
		x.OnCancel(&hook)
		close(started)
		<-gone
		return x.Cancelled()
	})}, nil)
	go func() {
		if res, err := client(t, nil).Get("http://" + addr); err == nil {
			res.Body.Close()
		}
	}()
	<-started
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
