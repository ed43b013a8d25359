package outgoing

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/testkit"
	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/httpmsg"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func asker(t testing.TB, retries int) *Asker {
	t.Helper()
	a, err := NewAsker(middleware.Env{}, "test", &dynamic.IdentityClient{TimeoutSeconds: 2, MaxRetries: retries})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.client.Close)
	return a
}

func parse(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := ParseURL(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestAsk(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []int // one a try; 0 breaks the connection
		retries int
		once    bool
		body    string
		want    int // 0 is an error
		tries   int32
	}{
		{"fine", []int{200}, 3, false, "ok", 200, 1},
		{"refused is an answer", []int{401}, 3, false, "no", 401, 1},
		{"redirects are answers", []int{302}, 3, false, "", 302, 1},
		{"mends", []int{500, 0, 429, 200}, 3, false, "ok", 200, 4},
		{"fails", []int{503}, 2, false, "", 0, 3},
		{"no retries", []int{503, 200}, 0, false, "", 0, 1},
		{"once", []int{0, 200}, 3, true, "", 0, 1},
		{"at the limit", []int{200}, 0, false, "123456789", 200, 1},
		{"beyond the limit", []int{200}, 0, false, "1234567890", 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var tries atomic.Int32
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n := int(tries.Add(1))
				status := c.answers[min(n, len(c.answers))-1]
				if text, _ := io.ReadAll(r.Body); string(text) != "question" || r.Header.Get("A") != "b" {
					t.Errorf("got %q, %v", text, r.Header)
				}
				if status == 0 {
					panic(http.ErrAbortHandler)
				}
				w.Header().Set("Location", "/other")
				w.WriteHeader(status)
				io.WriteString(w, c.body)
			}))
			defer s.Close()
			q := Question{Method: "POST", URL: parse(t, strings.Replace(s.URL, "://", "://user:pass@", 1)+"/path?key=hidden"), Header: http.Header{"A": {"b"}}, Body: []byte("question"), Limit: 9, Once: c.once}
			answer, err := asker(t, c.retries).Ask(t.Context(), q)
			switch {
			case c.want == 0 && err == nil, c.want != 0 && err != nil:
				t.Fatalf("got %v, %v", answer, err)
			case err == nil && (answer.Status != c.want || string(answer.Body) != c.body):
				t.Errorf("got %d %q", answer.Status, answer.Body)
			case err != nil && (strings.Contains(err.Error(), "pass") || strings.Contains(err.Error(), "hidden") || !strings.Contains(err.Error(), "/path")):
				t.Errorf("error %v", err)
			}
			if tries.Load() != c.tries {
				t.Errorf("%d tries", tries.Load())
			}
		})
	}
}

func TestAskOnceDialsAgain(t *testing.T) {
	var tries int
	a := &Asker{over(roundTrip(func(*http.Request) (*http.Response, error) {
		tries++
		_, err := http.DefaultTransport.(*http.Transport).DialContext(t.Context(), "tcp", "127.0.0.1:1")
		return nil, err
	})), time.Second, 2}
	if _, err := a.Ask(t.Context(), Question{Method: "POST", URL: parse(t, "http://a.test/"), Once: true}); err == nil || tries != 3 {
		t.Errorf("%v after %d tries", err, tries)
	}
}

func TestWithin(t *testing.T) {
	x := &httpmsg.Exchange{}
	ctx, end := Within(x, time.Hour)
	if ctx.Err() != nil {
		t.Error("ended at once")
	}
	x.Cancel(errors.New("gone"))
	<-ctx.Done()
	end()
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// server is a document's server in fake time.
type server struct {
	asked  int
	down   bool
	body   string
	header http.Header
	delay  time.Duration
}

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked++
	down, body := s.down, s.body
	select {
	case <-time.After(s.delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if down {
		return nil, errors.New("down")
	}
	return &http.Response{StatusCode: 200, Header: s.header, Body: io.NopCloser(strings.NewReader(body))}, nil
}

func document(t *testing.T, s *server) *Doc[string] {
	a := &Asker{over(s), 5 * time.Second, 0}
	return NewDoc(a, Question{Method: "GET", URL: parse(t, "http://a.test/doc"), Limit: 100}, nil, func(a *Answer) (string, error) {
		switch string(a.Body) {
		case "junk":
			return "", errors.New("junk")
		case "panic":
			panic("junk")
		}
		return string(a.Body), nil
	})
}

func TestDoc(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{body: "one", delay: time.Second}
		d := document(t, s)
		defer d.Close()
		get := func(want string, asked int) {
			t.Helper()
			v, err := d.Get(t.Context())
			if err != nil {
				v = "error"
			}
			synctest.Wait()
			if v != want || s.asked != asked {
				t.Errorf("got %q, %v after %d fetches, want %q after %d", v, err, s.asked, want, asked)
			}
		}
		// Many who wait share one fetch, and one that gives up does not end it for others.
		impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		results := make(chan string, 10)
		go func() {
			_, err := d.Get(impatient)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		}()
		for range 10 {
			go func() { v, _ := d.Get(t.Context()); results <- v }()
		}
		for range 10 {
			if v := <-results; v != "one" {
				t.Errorf("got %q", v)
			}
		}
		get("one", 1)
		// Renewed beside those who use it.
		s.body = "two"
		time.Sleep(usualLife + time.Second)
		get("one", 2)
		time.Sleep(2 * time.Second)
		get("two", 2)
		// Kept while the server is down, and asked ever more rarely.
		s.down = true
		time.Sleep(usualLife + time.Second)
		get("two", 3)
		for range 600 {
			time.Sleep(time.Second)
			if v, err := d.Get(t.Context()); v != "two" || err != nil {
				t.Fatalf("got %q, %v", v, err)
			}
		}
		if s.asked < 10 || s.asked > 20 {
			t.Errorf("%d fetches in ten minutes", s.asked-3)
		}
		// Junk is as bad as no answer.
		s.down, s.body = false, "junk"
		time.Sleep(2 * time.Minute)
		asked := s.asked + 1
		get("two", asked)
		s.body = "panic"
		time.Sleep(2 * time.Minute)
		get("two", asked+1)
		s.body = "three"
		time.Sleep(2 * time.Minute)
		get("two", asked+2)
		time.Sleep(2 * time.Second)
		get("three", asked+2)
		// Somebody who misses something cannot cause many fetches.
		s.body = "four"
		before := s.asked
		for range 100 {
			if _, err := d.Renew(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if s.asked != before {
			t.Errorf("%d fetches by renewal", s.asked-before)
		}
		time.Sleep(minRenewal)
		if v, err := d.Renew(t.Context()); v != "four" || err != nil {
			t.Errorf("got %q, %v", v, err)
		}
		s.down = true
		time.Sleep(minRenewal)
		if v, err := d.Renew(t.Context()); v != "four" || err != nil {
			t.Errorf("got %q, %v", v, err)
		}
	})
}

func TestDocNeverThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{down: true}
		d := document(t, s)
		defer d.Close()
		if _, err := d.Get(t.Context()); err == nil || s.asked != 1 {
			t.Fatalf("got %v after %d", err, s.asked)
		}
		for range 100 {
			if _, err := d.Get(t.Context()); err == nil {
				t.Fatal("no error")
			}
			if _, err := d.Renew(t.Context()); err == nil {
				t.Fatal("no error")
			}
		}
		if s.asked != 1 {
			t.Errorf("%d fetches without a pause", s.asked)
		}
		s.down, s.body = false, "one"
		time.Sleep(firstBackoff)
		if v, err := d.Get(t.Context()); v != "one" || err != nil {
			t.Errorf("got %q, %v", v, err)
		}
	})
}

func TestDocClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{delay: time.Hour}
		d := document(t, s)
		go d.Get(t.Context())
		synctest.Wait()
		d.Close() // ends the fetch
		if _, err := d.Get(t.Context()); err == nil || s.asked != 1 {
			t.Errorf("got %v after %d", err, s.asked)
		}
		d = document(t, s)
		d.Close()
		if _, err := d.Get(t.Context()); err == nil || s.asked != 1 {
			t.Errorf("got %v after %d", err, s.asked)
		}
	})
}

func TestLifeOf(t *testing.T) {
	for line, want := range map[string]time.Duration{"": usualLife, "max-age=600": 10 * time.Minute, "public, Max-Age=7200, x": 2 * time.Hour, "max-age=1": minLife,
		"max-age=99999999": maxLife, "no-cache": minLife, "no-store, max-age=600": minLife, "max-age=-1": usualLife, "max-age=99999999999999999999": usualLife, `max-age="600"`: 10 * time.Minute} {
		if got := lifeOf(http.Header{"Cache-Control": {line}}); got != want {
			t.Errorf("%q: got %v", line, got)
		}
	}
}

func TestCheckAsker(t *testing.T) {
	for key, c := range map[string]dynamic.IdentityClient{
		"c.timeoutSeconds": {TimeoutSeconds: 0}, "c.maxRetries": {TimeoutSeconds: 5, MaxRetries: -1},
		"c.tls.ca[0]": {TimeoutSeconds: 5, TLS: &dynamic.ClientTLS{CA: dynamic.Material{Written: "missing.pem"}}},
	} {
		if err := middleware.Refusal(CheckAsker("c", &c)); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
			t.Errorf("%s: got %v", key, err)
		}
	}
	if l := CheckAsker("c", nil); len(l) > 0 {
		t.Errorf("got %v", l)
	}
	if p := asker(t, 3).Patience(); p != 14*time.Second {
		t.Errorf("patience %v", p)
	}
}
