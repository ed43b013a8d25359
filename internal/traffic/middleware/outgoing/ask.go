package outgoing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/middleware"
)

const (
	// firstPause is the time before the second try; it doubles from try to try.
	firstPause = 100 * time.Millisecond
	maxPause   = 2 * time.Second
	// maxRetries and maxSeconds bound what a configuration may ask for.
	maxRetries = 10
	maxSeconds = 120
)

// Asker asks one server, more than once where it fails. Immutable, safe for concurrent use.
type Asker struct {
	client  *Client
	timeout time.Duration // of one try
	retries int
}

// CheckAsker reports what NewAsker would refuse; key is the path of the section below the middleware.
func CheckAsker(key string, c *dynamic.IdentityClient) diag.List {
	if c == nil {
		return nil
	}
	l := CheckTLS(key+".tls", c.TLS)
	if c.TimeoutSeconds < 1 || c.TimeoutSeconds > maxSeconds {
		l.Add(middleware.Bad(key+".timeoutSeconds", fmt.Sprintf("%d is not from 1 to %d", c.TimeoutSeconds, maxSeconds), "the usual one is 5"))
	}
	if c.MaxRetries < 0 || c.MaxRetries > maxRetries {
		l.Add(middleware.Bad(key+".maxRetries", fmt.Sprintf("%d is not from 0 to %d", c.MaxRetries, maxRetries), "the usual one is 3"))
	}
	return l
}

// NewAsker builds what a clientConfig says; nil has its defaults.
func NewAsker(env middleware.Env, kind string, c *dynamic.IdentityClient) (*Asker, error) {
	if c == nil {
		c = &dynamic.IdentityClient{}
		c.SetDefaults()
	}
	client, err := Kept(env, kind, c.TLS)
	if err != nil {
		return nil, fmt.Errorf("clientConfig.%w", err)
	}
	return &Asker{client, time.Duration(c.TimeoutSeconds) * time.Second, c.MaxRetries}, nil
}

// Patience is the longest time that a question takes.
func (a *Asker) Patience() time.Duration {
	return time.Duration(a.retries+1)*a.timeout + time.Duration(a.retries)*maxPause
}

// Question is a request of ours.
type Question struct {
	Method string
	URL    *url.URL
	Header http.Header
	Body   []byte
	// Limit is the longest body of an answer, in bytes.
	Limit int64
	// Once says that the request must not reach the server twice: only what failed before it was sent is tried again.
	Once bool
}

// Answer is what a server said.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Ask sends a question. A server that fails (5xx, 429, no answer in time) is asked again, and in the end is an error; every
// other answer is one.
func (a *Asker) Ask(ctx context.Context, q Question) (*Answer, error) {
	pause := firstPause
	for try := 0; ; try++ {
		answer, sent, err := a.once(ctx, q)
		if err == nil {
			return answer, nil
		}
		if try >= a.retries || q.Once && sent || ctx.Err() != nil {
			return nil, fmt.Errorf("asking %s: %w", Shown(q.URL), err)
		}
		timer := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("asking %s: %w", Shown(q.URL), err)
		}
		pause = min(2*pause, maxPause)
	}
}

// once is one try. sent tells whether the server may have got the question.
func (a *Asker) once(ctx context.Context, q Question) (answer *Answer, sent bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	r := (&http.Request{Method: q.Method, URL: q.URL, Host: q.URL.Host, Header: q.Header.Clone()}).WithContext(ctx)
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if q.Body != nil {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(q.Body)), int64(len(q.Body))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(q.Body)), nil }
	}
	res, err := a.client.Do(r)
	if err != nil {
		var dial *net.OpError
		return nil, !errors.As(err, &dial) || dial.Op != "dial", bare(err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests {
		_, _ = io.CopyN(io.Discard, res.Body, 4<<10) // so that the connection can be used again
		return nil, true, fmt.Errorf("the server answered %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, q.Limit+1))
	if err != nil {
		return nil, true, fmt.Errorf("reading the answer: %w", bare(err))
	}
	if int64(len(body)) > q.Limit {
		return nil, true, fmt.Errorf("the answer is longer than %d bytes", q.Limit)
	}
	return &Answer{Status: res.StatusCode, Header: res.Header, Body: body}, true, nil
}

// bare takes the URL off an error, since it may hold secrets.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
