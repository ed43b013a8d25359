package httpcache

import (
	"bytes"
	"fmt"
	"net/http"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// change passes on a request that may change what it is about. If it did, what is kept of that is forgotten (RFC 9111
// section 4.4), and of what the answer names as changed too.
func (h *handler) change(x *httpmsg.Exchange) error {
	target := targetOf(x)
	if err := h.next.Serve(x); err != nil || x.Upgrade != nil {
		return err
	}
	if s := x.Res.Status; s >= 200 && s < 400 {
		h.invalidate(target)
		for _, name := range [...]string{"Location", "Content-Location"} {
			if other := sameOrigin(target, x.Res.Header.Lookup(name)); other != nil {
				h.invalidate(other)
			}
		}
	}
	say(x, came{why: "method"}, 0)
	return nil
}

// sameOrigin returns the target that a reference in an answer about target means, nil if it is another server's: nobody
// may make us forget those. References that are neither absolute nor begin with a slash are not looked into.
func sameOrigin(target []byte, ref httpmsg.View) []byte {
	ref, _, _ = bytes.Cut(ref, []byte{'#'})
	at := bytes.Index(target, []byte("://")) + len("://")
	root := len(target)
	if i := bytes.IndexByte(target[at:], '/'); i >= 0 {
		root = at + i
	}
	if len(ref) > 0 && ref[0] == '/' && !bytes.HasPrefix(ref, []byte("//")) {
		return append(target[:root:root], ref...)
	}
	secure := false
	switch {
	case len(ref) > 7 && ref[:7].EqualFold("http://"):
		ref = ref[7:]
	case len(ref) > 8 && ref[:8].EqualFold("https://"):
		ref, secure = ref[8:], true
	default:
		return nil
	}
	host, path := ref, httpmsg.Text("/")
	if i := bytes.IndexByte(ref, '/'); i >= 0 {
		host, path = ref[:i], ref[i:]
	}
	other := appendTarget(nil, secure, host, path, nil, false)
	if !bytes.HasPrefix(other, target[:root]) || len(other) <= root || other[root] != '/' {
		return nil
	}
	return other
}

// purge forgets what is kept of the request's target, under http and https and on all routers. A path that ends in /* means
// everything below.
func (h *handler) purge(x *httpmsg.Exchange) error {
	if !h.purgers.Contains(x.Peer.Addr().Unmap().WithZone("")) {
		return fault.New(fault.Forbidden, "httpCache: the peer is not in purgeRange", nil)
	}
	below := bytes.HasSuffix(x.Req.Path, []byte("/*"))
	path := x.Req.Path
	if below {
		path = path[:len(path)-1]
	}
	n := 0
	for _, secure := range [...]bool{false, true} {
		text := appendTarget(nil, secure, x.Req.Host, path, x.Req.Query, x.Req.HasQuery)
		if below {
			n += h.invalidateBelow(string(text))
		} else if h.invalidate(text) {
			n++
		}
	}
	x.Respond(http.StatusOK, "text/plain; charset=utf-8", fmt.Sprintf("%d forgotten\n", n))
	return nil
}
