package httpcache

import (
	"net/http"
	"time"

	"sluice/internal/wire/httpmsg"
)

// untilExpiry is the time from Date to Expires (RFC 9111 section 4.2.1). A value that is no time, such as 0, has passed.
func untilExpiry(h *httpmsg.Header) time.Duration {
	expires, ok := fieldTime(h, "Expires")
	if !ok {
		return 0
	}
	date, ok := fieldTime(h, "Date")
	if !ok {
		date = time.Now()
	}
	return max(expires.Sub(date), 0)
}

// fieldTime reads the time in a field (RFC 9110 section 5.6.7).
func fieldTime(h *httpmsg.Header, name string) (time.Time, bool) {
	v := h.Lookup(name)
	if len(v) == 0 || len(v) > 64 {
		return time.Time{}, false
	}
	t, err := http.ParseTime(v.String())
	return t, err == nil
}

// initialAge is how old a response was when it came (RFC 9111 section 4.2.3), asked being when it was asked for.
func initialAge(h *httpmsg.Header, asked, came time.Time) time.Duration {
	var apparent time.Duration
	if date, ok := fieldTime(h, "Date"); ok {
		apparent = max(came.Sub(date)-time.Second, 0) // Date has whole seconds, rounded down
	}
	var said time.Duration
	if v := h.Lookup("Age"); v != nil {
		said = time.Duration(seconds(v)) * time.Second
	}
	return max(apparent, said+came.Sub(asked))
}

// use is what may be done with a kept response for a request.
type use uint8

const (
	// ask: the server must be asked first.
	ask use = iota
	// serve: it is the answer.
	serve
	// serveAndRefresh: it is the answer, and the server is asked for later ones.
	serveAndRefresh
)

// usable decides what may be done with e for a request with the directives d (RFC 9111 section 4.2, 5.2.1).
func (e *entry) usable(d *directives, now time.Time) use {
	if d.noCache || e.policy.always {
		return ask
	}
	age := e.age(now)
	lifetime := e.policy.lifetime
	if d.maxAge != unset && age > time.Duration(d.maxAge)*time.Second {
		return ask
	}
	if d.minFresh != unset {
		lifetime -= time.Duration(d.minFresh) * time.Second
	}
	if age < lifetime {
		return serve
	}
	if d.minFresh != unset {
		return ask
	}
	late := age - lifetime
	if d.maxStale != unset && !e.policy.revalidate && late <= time.Duration(d.maxStale)*time.Second {
		return serve
	}
	if d.maxAge == unset && late <= e.policy.staleWhileRevalidate && e.policy.staleWhileRevalidate > 0 {
		return serveAndRefresh
	}
	return ask
}

// covers reports whether e may stand in for an answer that could not be had (RFC 5861 section 4).
func (e *entry) covers(d *directives, now time.Time) bool {
	if e.policy.always || d.noCache {
		return false
	}
	limit := e.policy.staleIfError
	if d.staleIfError > 0 && !e.policy.revalidate {
		limit = max(limit, time.Duration(d.staleIfError)*time.Second)
	}
	return limit > 0 && e.age(now)-e.policy.lifetime <= limit
}

// age is how old the response is (RFC 9111 section 4.2.3).
func (e *entry) age(now time.Time) time.Duration { return e.initialAge + max(now.Sub(e.came), 0) }
