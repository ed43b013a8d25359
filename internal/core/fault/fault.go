// Package fault says what went wrong with traffic: on which side, in what way, and whether the request may be sent again.
//
// A fault is an error. Everything that handles a request or connection returns one; exactly one place turns it into a
// response, by the table in this package. Findings about configuration are package diag's.
package fault

import (
	"errors"
	"net/http"
)

// Side is who caused the fault.
type Side uint8

const (
	// Proxy is ourselves: limits, refusals and decisions of Sluice.
	Proxy Side = iota
	// Client is the peer that connected to us.
	Client
	// Upstream is a server that we connected to.
	Upstream
)

// String returns proxy, client or upstream.
func (s Side) String() string { return [...]string{"proxy", "client", "upstream"}[s] }

// Retry says whether the same request may be sent to another server.
type Retry uint8

const (
	// Never forbids it: bytes of a response or of a body that cannot be replayed have moved.
	Never Retry = iota
	// Idempotent allows it for methods that may be repeated.
	Idempotent
	// Always allows it whatever the method: not one byte of the request was sent.
	Always
)

// Kind is the way in which it went wrong. The table below gives each its code, status and side.
type Kind uint8

// The kinds. Their codes are stable: they stand in the Sluice-Error header and in the access log.
const (
	Internal Kind = iota
	Panic
	BadRequest
	HeaderTooLarge
	URITooLong
	BodyTooLarge
	RequestTimeout
	BodyStalled
	BodyCut
	ClientGone
	VersionNotSupported
	MethodNotImplemented
	CodingNotImplemented
	MethodNotAllowed
	ExpectationFailed
	NoRouter
	RouterRefused
	Misdirected
	LoopDetected
	OutOfBudget
	ShuttingDown
	NoServer
	DialFailed
	DialTimeout
	UpstreamTLS
	UpstreamClosed
	UpstreamProtocol
	UpstreamTooLarge
	UpstreamSilent
	UpstreamCut
	Forbidden
	Unauthorized
	TooManyRequests
	BreakerOpen
	AuthUnavailable
	kinds
)

type row struct {
	code   string
	status int
	side   Side
}

// table is the only map from kinds to statuses. Status 0 means that nothing can be answered: the message is cut.
var table = [kinds]row{
	Internal:             {"INTERNAL", 500, Proxy},
	Panic:                {"PANIC", 500, Proxy},
	BadRequest:           {"BAD-REQUEST", 400, Client},
	HeaderTooLarge:       {"HEADER-TOO-LARGE", 431, Client},
	URITooLong:           {"URI-TOO-LONG", 414, Client},
	BodyTooLarge:         {"BODY-TOO-LARGE", 413, Client},
	RequestTimeout:       {"REQUEST-TIMEOUT", 408, Client},
	BodyStalled:          {"BODY-STALLED", 408, Client},
	BodyCut:              {"BODY-CUT", 400, Client},
	ClientGone:           {"CLIENT-GONE", 499, Client},
	VersionNotSupported:  {"VERSION-NOT-SUPPORTED", 505, Client},
	MethodNotImplemented: {"METHOD-NOT-IMPLEMENTED", 501, Client},
	CodingNotImplemented: {"CODING-NOT-IMPLEMENTED", 501, Client},
	MethodNotAllowed:     {"METHOD-NOT-ALLOWED", 405, Client},
	ExpectationFailed:    {"EXPECTATION-FAILED", 417, Client},
	NoRouter:             {"NO-ROUTER", 404, Proxy},
	RouterRefused:        {"ROUTER-REFUSED", 503, Proxy},
	Misdirected:          {"MISDIRECTED", 421, Client},
	LoopDetected:         {"LOOP-DETECTED", 508, Proxy},
	OutOfBudget:          {"OUT-OF-BUDGET", 503, Proxy},
	ShuttingDown:         {"SHUTTING-DOWN", 503, Proxy},
	NoServer:             {"NO-SERVER", 503, Upstream},
	DialFailed:           {"DIAL-FAILED", 502, Upstream},
	DialTimeout:          {"DIAL-TIMEOUT", 504, Upstream},
	UpstreamTLS:          {"UPSTREAM-TLS", 502, Upstream},
	UpstreamClosed:       {"UPSTREAM-CLOSED", 502, Upstream},
	UpstreamProtocol:     {"UPSTREAM-PROTOCOL", 502, Upstream},
	UpstreamTooLarge:     {"UPSTREAM-TOO-LARGE", 502, Upstream},
	UpstreamSilent:       {"UPSTREAM-SILENT", 504, Upstream},
	UpstreamCut:          {"UPSTREAM-CUT", 0, Upstream},
	Forbidden:            {"FORBIDDEN", 403, Proxy},
	Unauthorized:         {"UNAUTHORIZED", 401, Proxy},
	TooManyRequests:      {"TOO-MANY-REQUESTS", 429, Proxy},
	BreakerOpen:          {"BREAKER-OPEN", 503, Proxy},
	AuthUnavailable:      {"AUTH-UNAVAILABLE", 503, Upstream},
}

// Code returns the stable name of the kind.
func (k Kind) Code() string { return table[k].code }

// Side returns who is to blame for the kind.
func (k Kind) Side() Side { return table[k].side }

// Fault is one failure. Build it with New; the fields may be changed before it is returned, not after.
type Fault struct {
	Kind Kind
	// Retry is the verdict on sending the request again.
	Retry Retry
	// StatusCode overrides the table's status when it is not 0.
	StatusCode int
	// Reason is for the log, never for the client: what was being done, lower case.
	Reason string
	// Body is the response text; empty means the status text.
	Body string
	// RetryAfter is sent as Retry-After, in seconds; 0 sends none.
	RetryAfter int
	// Cause is the underlying error, may be nil.
	Cause error
}

// New returns a fault of kind k. reason says what was being done; cause may be nil.
func New(k Kind, reason string, cause error) *Fault {
	return &Fault{Kind: k, Reason: reason, Cause: cause}
}

// WithRetry sets the verdict and returns f.
func (f *Fault) WithRetry(r Retry) *Fault { f.Retry = r; return f }

// Error implements error.
func (f *Fault) Error() string {
	s := f.Reason
	if s == "" {
		s = f.Kind.Code()
	}
	if f.Cause != nil {
		s += ": " + f.Cause.Error()
	}
	return s
}

// Unwrap gives the cause to errors.Is and errors.As.
func (f *Fault) Unwrap() error { return f.Cause }

// Status returns the response status of the fault; 0 means that the message can only be cut.
func (f *Fault) Status() int {
	if f.StatusCode != 0 {
		return f.StatusCode
	}
	return table[f.Kind].status
}

// Text returns the response body: the text set on the fault, else the status text.
func (f *Fault) Text() string {
	switch {
	case f.Body != "":
		return f.Body
	case f.Kind == NoRouter:
		return "404 page not found\n"
	case f.Kind == ClientGone:
		return "Client Closed Request"
	default:
		return http.StatusText(f.Status())
	}
}

// Of returns the fault in err's chain; an error of another type becomes an Internal fault around it. Of(nil) is nil.
func Of(err error) *Fault {
	if err == nil {
		return nil
	}
	var f *Fault
	if errors.As(err, &f) {
		return f
	}
	return New(Internal, "unexpected error", err)
}

// Status returns the status that err leads to, 200 for nil.
func Status(err error) int {
	if err == nil {
		return http.StatusOK
	}
	return Of(err).Status()
}
