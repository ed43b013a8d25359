package record

import "time"

// Carrier is the header that a trace context is read from and written to.
type Carrier interface {
	Get(name string) string
	Set(name, value string)
	Keys() []string
}

// Begin is what is known of a request when its span begins. Its texts are good as long as the exchange.
type Begin struct {
	Start              time.Time
	EntryPoint, Method string
	Host, Path, Query  string
	Proto, ClientIP    string
	ClientPort         int
	Secure             bool
	// Header has the fields of the request.
	Header Carrier
}

// Tracer makes spans of requests. It is safe for concurrent use.
type Tracer interface {
	// Begin starts the span of a request. The span is never nil, though it may be one that nobody gets to see: it carries the
	// client's decision on.
	Begin(b *Begin) Span
}

// Span is a piece of work. One goroutine at a time uses it.
type Span interface {
	// Child starts a span inside this one. client tells that the work is a request to a server. attributes are names and
	// values in turn.
	Child(name string, client bool, attributes ...string) Span
	// Inject writes the trace context into the header of a request.
	Inject(c Carrier)
	// IDs returns the identifiers of trace and span in hexadecimal, empty for a span that nobody gets to see.
	IDs() (trace, span string)
	// End ends the span with what became of its request, nil where that is not known yet.
	End(r *Record)
}
