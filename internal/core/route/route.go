// Package route finds the router of a request or connection among any number of them.
//
// HTTPTable and TCPTable are compiled from rules. What every match of a rule must have (a host, a path or its beginning)
// is drawn from the rule's tree and put into an index: hosts by hash, wildcard hosts by what follows their first label,
// paths in a tree of prefixes. A lookup visits the few candidates that the index yields, in order of priority within each
// place, and checks on them only what the index has not already established. A rule without a host or path stands in a
// place that every request visits. So the cost does not grow with the number of routers, and the answer is always that of
// Scan, which asks each rule in turn and is the oracle of the tests.
//
// EntryPoint decides what to do with a connection: which bytes are needed, and to whom it goes then.
//
// Tables are immutable. Compiling a new one from the previous shares all parts that did not change. Everything here is
// pure and safe for concurrent use; only a Request or Conn belongs to one goroutine at a time.
package route

import (
	"net/netip"
	"unsafe"
)

// Fields gives access to the header of a request.
type Fields interface {
	// HeaderValue returns value i (from 0) of the field called name, in the order of the message. Names compare without
	// case. It is false where there are not that many. The bytes need to live only as long as the lookup.
	HeaderValue(name string, i int) ([]byte, bool)
}

// Request is what HTTP rules look at. The caller owns it and everything it points to, and keeps both unchanged during a
// call; a Request that is used again and again allocates nothing. The zero Request has no host and matches only rules
// that need nothing.
type Request struct {
	// Host is the canonical host (CanonicalHost); empty where the request has none.
	Host []byte
	// CNAME is the name that Host was flattened to, canonical, or empty. Host and HostRegexp hold for either name.
	CNAME []byte
	// Path is the routing path (RoutingPath).
	Path []byte
	// Method is the method as received.
	Method []byte
	// Query is the raw query, without '?'. ';' separates parameters as '&' does.
	Query []byte
	// Client is the address of the peer; invalid where it is unknown, and then no ClientIP holds.
	Client netip.Addr
	// Header may be nil.
	Header Fields

	query query
}

// Reset makes r the zero Request, but keeps Header and the memory in which queries are read, unless that grew large.
// Nothing of the last request stays reachable.
func (r *Request) Reset() {
	q := query{pairs: r.query.pairs[:0], decoded: r.query.decoded[:0]}
	if cap(q.pairs) > 128 || cap(q.decoded) > 8<<10 {
		q = query{}
	}
	clear(q.pairs[:cap(q.pairs)])
	*r = Request{Header: r.Header, query: q}
}

// Conn is what TCP rules look at, and how far a connection has come (see EntryPoint.Decide).
type Conn struct {
	// Client is the address of the peer.
	Client netip.Addr
	// Opening says what is known of the client's first bytes.
	Opening Opening
	// SNI is the server name of the ClientHello, lower-case without final dot; empty where there is none. Decide and
	// TCPTable.Lookup put other spellings right.
	SNI string
	// ALPN are the protocols that the ClientHello offers.
	ALPN []string
}

// view is the subject of evaluation, the same for both layers, so that there is one matching code.
type view struct {
	// host is the host or server name, cname a second name for the same, or empty.
	host, cname string
	path        string
	method      string
	client      netip.Addr
	alpn        []string
	req         *Request
	// owner asks for rules that not only hold but name the host.
	owner bool
}

func (r *Request) view() view {
	r.query.read = false
	return view{
		host: text(r.Host), cname: text(r.CNAME), path: text(r.Path), method: text(r.Method),
		client: plainAddr(r.Client), req: r,
	}
}

func (c *Conn) view() view {
	return view{host: canonicalName(c.SNI), client: plainAddr(c.Client), alpn: c.ALPN}
}

// text looks at bytes as a string without copying. It is sound because nobody writes to a request during a lookup, and
// no lookup keeps a part of it.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// plainAddr drops the zone and the IPv6 form of IPv4 addresses.
func plainAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
