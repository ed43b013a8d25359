// Package httpcache answers requests from stored responses (RFC 9111). The middleware's key is httpCache.
//
// It is a shared cache: it keeps what servers allow to be given to more than one user, for as long as they say, and asks
// them whether it still holds when that time is over. What a response depends on is part of its key: the target in every
// letter, the router, the fields that the server names in Vary, and every request field that is not known to be harmless;
// so a request cannot place an answer under the key of requests that look different.
//
// The store is bounded in memory and may go on in a file. It belongs to a middleware's name and settings, is shared by all
// routers that use it, and outlives changes of the configuration that leave it alone.
package httpcache

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/httpmsg"
)

// Kind is the row of httpCache.
func Kind() middleware.Kind {
	return middleware.Kind{Name: "httpCache", Check: check, Build: build}
}

// minBytes is the least memory that makes sense, maxEntry the largest response that can be kept.
const (
	minBytes = 64 << 10
	maxEntry = 1 << 30
)

// cache is what routers share.
type cache struct {
	*store
	flights flights
	passes  *passes
	refresher
}

// Close ends the cache, for State.
func (c *cache) Close() {
	c.refresher.close()
	c.store.close()
}

// handler is the cache as one router uses it. Immutable.
type handler struct {
	*cache
	terms      terms
	router     string
	keyHeaders []string
	maxEntry   int64
	purgers    *middleware.Ranges // nil: nobody
	log        *slog.Logger
	next       httpmsg.Handler
}

func check(c *dynamic.Middleware) diag.List {
	var l diag.List
	o := c.HTTPCache
	sizes := []struct {
		name        string
		value, most int64
	}{
		{"maxBytes", o.MaxBytes, 1 << 50}, {"maxEntryBytes", o.MaxEntryBytes, maxEntry}, {"maxDirectoryBytes", o.MaxDirectoryBytes, 1 << 50},
	}
	for _, n := range sizes {
		switch {
		case n.value < 0:
			l.Add(middleware.Bad("httpCache."+n.name, fmt.Sprintf("%d is less than zero", n.value), "leave it out for the default"))
		case n.value > n.most:
			l.Add(middleware.Bad("httpCache."+n.name, fmt.Sprintf("%d is more than %d", n.value, n.most), ""))
		}
	}
	if o.MaxBytes > 0 && o.MaxBytes < minBytes {
		l.Add(middleware.Bad("httpCache.maxBytes", fmt.Sprintf("%d bytes hold next to nothing: the least is %d", o.MaxBytes, minBytes), ""))
	}
	if o.MaxBytes > 0 && o.MaxEntryBytes > o.MaxBytes/2 {
		l.Add(middleware.Odd("httpCache.maxEntryBytes", "one response may push out all others", "make it a small part of maxBytes"))
	}
	for _, d := range []struct {
		name  string
		value dynamic.Duration
	}{{"defaultTTL", o.DefaultTTL}, {"maxTTL", o.MaxTTL}} {
		if d.value < 0 {
			l.Add(middleware.Bad("httpCache."+d.name, "a time cannot be less than zero", ""))
		}
	}
	for i, name := range o.KeyHeaders {
		key := fmt.Sprintf("httpCache.keyHeaders[%d]", i)
		switch id := httpmsg.IDOf(name); {
		case !httpmsg.IsToken(httpmsg.Text(name)):
			l.Add(middleware.Bad(key, "this is no name of a header", ""))
		case id == httpmsg.HdrAuthorization:
			l.Add(middleware.Odd(key, "responses to requests with Authorization are kept only where the server allows it, whatever is part of the key", "remove it"))
		}
	}
	if len(o.PurgeRange) > 0 {
		if _, err := middleware.ParseRanges(o.PurgeRange); err != nil {
			l.Add(middleware.Bad("httpCache.purgeRange", err.Error(), ""))
		}
	}
	return l
}

func build(c *dynamic.Middleware, env middleware.Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	if err := middleware.Refusal(check(c)); err != nil {
		return nil, err
	}
	o := *c.HTTPCache
	var usual dynamic.HTTPCache
	usual.SetDefaults()
	for _, n := range [...]struct {
		value *int64
		usual int64
	}{{&o.MaxBytes, usual.MaxBytes}, {&o.MaxEntryBytes, usual.MaxEntryBytes}, {&o.MaxDirectoryBytes, usual.MaxDirectoryBytes}} {
		if *n.value == 0 {
			*n.value = n.usual
		}
	}
	h := &handler{router: env.Router, keyHeaders: o.KeyHeaders, maxEntry: o.MaxEntryBytes, log: env.Log, next: next}
	h.terms = terms{defaultTTL: o.DefaultTTL.Std(), maxTTL: o.MaxTTL.Std()}
	for _, name := range o.KeyHeaders {
		h.terms.byCookie = h.terms.byCookie || httpmsg.IDOf(name) == httpmsg.HdrCookie
	}
	if len(o.PurgeRange) > 0 {
		var err error
		if h.purgers, err = middleware.ParseRanges(o.PurgeRange); err != nil {
			return nil, fmt.Errorf("httpCache.purgeRange: %w", err)
		}
	}
	print, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("httpCache: %w", err)
	}
	make := func() any {
		var disk *ring
		if o.Directory != "" {
			disk = newRing(o.Directory, o.MaxDirectoryBytes, max(1024, int(o.MaxBytes/512)), env.Log)
		}
		return &cache{store: newStore(o.MaxBytes, disk, env.Budget), passes: newPasses()}
	}
	if env.State == nil {
		h.cache = make().(*cache)
	} else {
		h.cache = env.State.Keep("httpCache\x00"+env.Name+"\x00"+string(print), make).(*cache)
	}
	return h, nil
}

// asking is what a request asks of the cache.
type asking struct {
	directives
	aim  aim
	head bool // HEAD
	part bool // it has a Range
}

// Serve implements httpmsg.Handler.
func (h *handler) Serve(x *httpmsg.Exchange) error {
	if len(x.Req.UpgradeTo) > 0 {
		return h.next.Serve(x)
	}
	a := asking{}
	switch m := x.Req.Method; {
	case m.Is("GET"):
	case m.Is("HEAD"):
		a.head = true
	case m.Is("PURGE") && h.purgers != nil:
		return h.purge(x)
	case safe(m):
		return h.next.Serve(x)
	default:
		return h.change(x)
	}
	req := &x.Req.Header
	if x.Req.Body != nil || req.Lookup("If-Match") != nil || req.Lookup("If-Unmodified-Since") != nil {
		// The body is no part of the key; the conditions are for the server to judge (RFC 9111 section 4.3.2).
		return h.forward(x, "bypass")
	}
	a.part = req.Has(httpmsg.HdrRange)
	a.directives = parseDirectives(req)
	if !req.Has(httpmsg.HdrCacheControl) && hasElement(req.Lookup("Pragma"), "no-cache") {
		a.noCache = true // RFC 9111 section 5.4
	}
	a.aim = h.aim(targetOf(x))
	return h.answer(x, &a)
}

// safe reports whether a method other than GET and HEAD changes nothing on the server (RFC 9110 section 9.2.1 and the
// registry). Of a method that nobody knows the opposite is assumed.
func safe(m httpmsg.View) bool {
	for _, name := range [...]string{"OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH", "QUERY"} {
		if m.Is(name) {
			return true
		}
	}
	return false
}

// answer answers a GET or HEAD request from the store if it can.
func (h *handler) answer(x *httpmsg.Exchange, a *asking) error {
	e, k := h.find(x, a)
	now := time.Now()
	how := ask
	if e != nil {
		how = e.usable(&a.directives, now)
	}
	switch {
	case how == serveAndRefresh:
		h.refresh(x, e, k)
		fallthrough
	case how == serve:
		h.serve(x, e, now, came{hit: true})
		return nil
	case a.onlyIfCached:
		// RFC 9111 section 5.2.1.7.
		x.Respond(http.StatusGatewayTimeout, "text/plain; charset=utf-8", http.StatusText(http.StatusGatewayTimeout))
		return nil
	case a.part:
		return h.forward(x, "partial")
	case a.head:
		return h.askHead(x, a, e, k)
	}
	return h.fetch(x, a, e, k)
}

// find looks for the response to a request among those of its target.
func (h *handler) find(x *httpmsg.Exchange, a *asking) (*entry, key) {
	t := a.aim.target
	if t == nil {
		return nil, key{}
	}
	for _, vary := range *t.specs.Load() {
		k := h.keyOf(x, t.number, vary)
		if e := h.get(k); e != nil && (e.policy.shared || !x.Req.Header.Has(httpmsg.HdrAuthorization)) {
			return e, k
		}
	}
	return nil, key{}
}

// forward passes a request on without looking into the store, and says why.
func (h *handler) forward(x *httpmsg.Exchange, why string) error {
	if err := h.next.Serve(x); err != nil || x.Upgrade != nil {
		return err
	}
	say(x, came{why: why}, 0)
	return nil
}
