package entrypoint

import (
	"crypto/tls"
	"net"
	"net/netip"
	"sync/atomic"

	"sluice/internal/core/fault"
	"sluice/internal/core/route"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/sock"
)

// TLSOptions are what a handshake is made with.
type TLSOptions struct {
	// Fingerprint names the demands; requests are only served over connections of the same ones.
	Fingerprint string
	// Config is kept from generation to generation while the fingerprint is the same, and session tickets with it.
	Config *tls.Config
}

// TCPRouter is what a matched TCP router does with its connections.
type TCPRouter struct {
	// Name is the qualified name of the router, for the record.
	Name string
	// Serve brings a connection to a server and returns when it has ended. The stream is c itself, or what was decrypted
	// from it. nil refuses.
	Serve func(stream net.Conn, c *Accepted) Outcome
	// TLS is set where we terminate; nil on a TLS router passes the bytes through.
	TLS *TLSOptions
	// Machine answers HTTP-01 challenges for the hosts of a passthrough router.
	Machine httpmsg.Handler
}

// Outcome is what became of a connection that a TCP router took.
type Outcome struct {
	// Service and Server are where it went.
	Service, Server string
	// In and Out count the bytes from and to the client.
	In, Out int64
	// EndedBy is who ended first: the client, the server, or we by a limit.
	EndedBy fault.Side
	// Fault is why it did not work, or broke; nil for a regular end.
	Fault *fault.Fault
	// Open tells that nobody closed the stream.
	Open bool
}

// Routes is what the configuration in force decides about one entry point; immutable.
type Routes struct {
	// Conn decides about connections. Its indexes count in TCP, TLS and Options.
	Conn *route.EntryPoint
	// TCP and TLS are the TCP routers without and with TLS.
	TCP, TLS []TCPRouter
	// Options are those of HTTPS hosts.
	Options []*TLSOptions
	// Plain and Secure are the HTTP routers without and with TLS.
	Plain, Secure HTTPRoutes
	// Others are the routes of the other entry points, which are asked for the owner of a passthrough host.
	Others []*Routes

	// severalOptions tells that connections for different hosts may have been made with different options.
	severalOptions bool
	// passthrough tells that some host is passed through, here or elsewhere.
	passthrough bool
}

// Seal prepares r for use. Call it once, after all fields, Others included, are set.
func (r *Routes) Seal() {
	for _, o := range r.Options {
		r.severalOptions = r.severalOptions || fingerprintOf(o) != fingerprintOf(r.Options[0])
	}
	r.passthrough = r.hasPassthrough()
	for _, o := range r.Others {
		r.passthrough = r.passthrough || o.hasPassthrough()
	}
}

func (r *Routes) hasPassthrough() bool {
	for _, through := range r.Conn.Passthrough {
		if through {
			return true
		}
	}
	return false
}

func fingerprintOf(o *TLSOptions) string {
	if o == nil {
		return ""
	}
	return o.Fingerprint
}

// fingerprint returns the fingerprint of the options that a connection for host is made with.
func (r *Routes) fingerprint(host string) string {
	at, _, ok := r.Conn.HTTPS.Lookup(host)
	if !ok {
		at = r.Conn.DefaultOptions
	}
	if at < 0 || at >= len(r.Options) {
		return ""
	}
	return fingerprintOf(r.Options[at])
}

// usualProtocols are what browsers offer; an owner is who would get such a hello.
var usualProtocols = []string{"h2", "http/1.1"}

// owner returns the passthrough router whose machine owns host: this entry point is asked first, then the others.
func (r *Routes) owner(host string, client netip.Addr) *TCPRouter {
	if !r.passthrough {
		return nil
	}
	c := route.Conn{SNI: host, Client: client, ALPN: usualProtocols}
	if at, ok := r.Conn.Owner(&c); ok {
		return &r.TLS[at]
	}
	for _, o := range r.Others {
		if at, ok := o.Conn.Owner(&c); ok {
			return &o.TLS[at]
		}
	}
	return nil
}

// Generation is what is in force on all entry points. All of it changes at once.
type Generation struct {
	// Routes by the position of the entry point.
	Routes []*Routes
}

// Current is the one place that says what is in force. Readers load it once per connection and once per request.
type Current = atomic.Pointer[Generation]

// Accepted is a connection on its way, with what is known of it.
type Accepted struct {
	*sock.Conn
	// SNI is the server name of the ClientHello.
	SNI string
	// Postgres tells that the client asked for TLS by Postgres' own message, which was answered.
	Postgres bool
	// Passthrough tells that the bytes are handed on undecrypted.
	Passthrough bool
	// Router is the name of the router that took the connection.
	Router string
}
