package authority

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	// maxBody bounds what is read of an answer of the CA, in bytes.
	maxBody = 1 << 20
	// maxSkew is how far our clock may be from the CA's.
	maxSkew = 24 * time.Hour
)

// transport is between lego and the CA: it bounds answers, makes sure that an error is one that lego can read, ends with the
// client's life, and remembers the times that answers name, which lego does not hand out.
type transport struct {
	life    context.Context
	base    *http.Transport
	timeout time.Duration

	mu    sync.Mutex
	after time.Time // until when an answer asked us to wait
	date  time.Duration
}

func newTransport(life context.Context, o Options) *transport {
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	return &transport{life: life, timeout: o.Timeout, base: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext,
		TLSHandshakeTimeout: 30 * time.Second, ResponseHeaderTimeout: o.HeaderTimeout, IdleConnTimeout: 30 * time.Second,
		TLSClientConfig: &tls.Config{RootCAs: o.Roots, ServerName: o.ServerName}, ForceAttemptHTTP2: true,
	}}
}

// client returns a client of its own for one core, since lego changes the one it is given.
func (t *transport) client() *http.Client { return &http.Client{Transport: t, Timeout: t.timeout} }

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	stop := context.AfterFunc(t.life, cancel)
	release := func() { stop(); cancel() }
	began := time.Now()
	resp, err := t.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		release()
		return nil, err
	}
	t.note(resp, began)
	// What is an answer fits into memory: read whole, so that the connection and the context are free.
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	resp.Body.Close()
	release()
	if err == nil && len(body) > maxBody {
		err = fmt.Errorf("the answer is longer than %d bytes", maxBody)
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		body = problem(resp.StatusCode, body)
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, nil
}

// problem returns an error's body if it is a problem document, else one with its text: a page of a proxy, say.
func problem(status int, body []byte) []byte {
	var o map[string]json.RawMessage
	if json.Unmarshal(body, &o) == nil && o != nil {
		return body
	}
	text := string(bytes.ToValidUTF8(body[:min(len(body), 200)], []byte("?")))
	out, err := json.Marshal(map[string]any{"type": "about:blank", "status": status,
		"detail": fmt.Sprintf("%d %s: %s", status, http.StatusText(status), text)})
	if err != nil {
		return []byte(`{}`) // a map of texts always marshals
	}
	return out
}

// note remembers the times of an answer.
func (t *transport) note(resp *http.Response, began time.Time) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.after = time.Time{}
	if text := resp.Header.Get("Retry-After"); text != "" {
		if seconds, err := strconv.ParseInt(text, 10, 32); err == nil && seconds >= 0 {
			t.after = now.Add(time.Duration(seconds) * time.Second)
		} else if at, err := http.ParseTime(text); err == nil {
			t.after = at
		}
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		t.date = began.Add(now.Sub(began) / 2).Sub(date)
	}
}

// retryAfter returns until when the last answer asked us to wait; zero if it did not.
func (t *transport) retryAfter() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.after
}

// skew is how much our clock is ahead of the CA's, as far as it is known.
func (t *transport) skew() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.date
}
