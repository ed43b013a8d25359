package route

import "slices"

// Opening is what the first bytes of a connection have been recognised as. While that is undecided there is nothing to
// decide here either: more bytes are needed.
type Opening uint8

// What may be known of a connection.
const (
	// Silent: nothing has been read yet.
	Silent Opening = iota
	// NotTLS: the client spoke, and it was neither TLS nor a Postgres SSLRequest.
	NotTLS
	// TLSHello: a whole ClientHello has been read; SNI and ALPN are set.
	TLSHello
	// PostgresRequest: the SSLRequest of Postgres has been read.
	PostgresRequest
	// PostgresHello: a whole ClientHello followed the answer to the SSLRequest.
	PostgresHello
	// SSLv2Hello: the client began as SSLv2 does.
	SSLv2Hello
)

// Action is what to do with a connection.
type Action uint8

// Actions. Router counts in the list that the plain or the TLS table was compiled from, as said.
const (
	// NeedBytes: read the client's first bytes (for TLS, the whole ClientHello) and decide again.
	NeedBytes Action = iota
	// PlainTCPSilent: serve the plain TCP router without waiting for the client, whose server may speak first.
	PlainTCPSilent
	// PlainTCP: serve the plain TCP router.
	PlainTCP
	// PlainHTTP: serve HTTP in clear text.
	PlainHTTP
	// TLSPassthrough: hand the bytes as they are to the TLS router.
	TLSPassthrough
	// TLSTerminate: do the handshake with the options of the TLS router, then serve it.
	TLSTerminate
	// HTTPS: do the handshake with Options, then serve HTTP.
	HTTPS
	// ChallengeTLS: answer the tls-alpn-01 challenge of the name.
	ChallengeTLS
	// AnswerPostgres: send the byte 'S', read a ClientHello and decide again as PostgresHello.
	AnswerPostgres
	// Close: end the connection.
	Close
)

// String names the action for logs and explain.
func (a Action) String() string {
	return [...]string{
		"need bytes", "plain tcp, server may speak first", "plain tcp", "plain http", "tls passthrough", "tls terminated tcp",
		"https", "acme tls challenge", "postgres starttls", "close",
	}[a]
}

// Decision is what to do with a connection, and why.
type Decision struct {
	Action Action
	// Router is the index of the TCP router, for actions that have one.
	Router int
	// Options is the index of the TLS options, for HTTPS.
	Options int
	// Reason is one constant clause for logs and explain.
	Reason string
}

const challengeProtocol = "acme-tls/1"

// EntryPoint holds what decides about the connections of one entry point. It is immutable.
type EntryPoint struct {
	// Plain and TLS are the TCP routers without and with a tls section; nil where there are none.
	Plain, TLS *TCPTable
	// Passthrough tells for each entry of TLS whether its bytes are handed on undecrypted.
	Passthrough []bool
	// HTTPS holds the hosts of the TLS HTTP routers; nil where there are none.
	HTTPS *HTTPSHosts
	// DefaultOptions are for TLS connections that nobody claims: a handshake and then 404. May be RefuseTLS.
	DefaultOptions int
}

// Decide says what to do with a connection as far as it is known. pending tells whether a tls-alpn-01 challenge of ours waits
// for a name; nil means that none ever does. Production and explain both ask this function.
//
// The order: a server may speak first only where nothing on the entry point wants TLS. HTTPS routers that name the host come
// before TCP routers, those before HTTPS routers for any host, and the TCP router that is only HostSNI(`*`) comes last. A
// hello that offers acme-tls/1 is ours only while a challenge for its very name is pending, so that whoever owns a
// passthrough host solves its own.
func (e *EntryPoint) Decide(c *Conn, pending func(name string) bool) Decision {
	switch c.Opening {
	case Silent:
		if e.Plain.Len() > 0 && e.TLS.Len() == 0 && e.HTTPS.Len() == 0 {
			if i, ok := e.Plain.Lookup(&Conn{Client: c.Client}); ok {
				return Decision{Action: PlainTCPSilent, Router: i, Reason: "nothing on the entry point wants TLS, and the router matches any client"}
			}
		}
		return Decision{Action: NeedBytes, Reason: "the client's first bytes decide"}
	case NotTLS:
		if i, ok := e.Plain.Lookup(&Conn{Client: c.Client}); ok {
			return Decision{Action: PlainTCP, Router: i, Reason: "not TLS, and a plain TCP router matches"}
		}
		return Decision{Action: PlainHTTP, Reason: "not TLS, and no plain TCP router matches"}
	case PostgresRequest:
		return Decision{Action: AnswerPostgres, Reason: "Postgres asks for TLS"}
	case PostgresHello:
		if i, ok := e.TLS.Lookup(c); ok {
			return e.tcp(i, "a TLS TCP router matches the Postgres client")
		}
		return Decision{Action: Close, Reason: "no TLS TCP router matches the Postgres client"}
	case SSLv2Hello:
		return Decision{Action: Close, Reason: "SSLv2 is not spoken here"}
	}

	name := canonicalName(c.SNI)
	if pending != nil && name != "" && slices.Contains(c.ALPN, challengeProtocol) && pending(name) {
		return Decision{Action: ChallengeTLS, Reason: "a challenge of ours is pending for the name"}
	}
	options, specific, https := e.HTTPS.Lookup(name)
	if https && specific {
		return e.https(options, "an HTTPS router names the host")
	}
	i, tcp := e.TLS.Lookup(c)
	switch {
	case tcp && !e.TLS.catchAll[i]:
		return e.tcp(i, "a TLS TCP router matches, and no HTTPS router names the host")
	case https:
		return e.https(options, "an HTTPS router takes any host")
	case tcp:
		return e.tcp(i, "only the TLS TCP router for any name matches")
	}
	return e.https(e.DefaultOptions, "no router claims the name")
}

func (e *EntryPoint) https(options int, reason string) Decision {
	if options == RefuseTLS {
		return Decision{Action: Close, Options: RefuseTLS, Reason: "the TLS options for the name are broken"}
	}
	return Decision{Action: HTTPS, Options: options, Reason: reason}
}

func (e *EntryPoint) tcp(i int, reason string) Decision {
	if e.Passthrough[i] {
		return Decision{Action: TLSPassthrough, Router: i, Reason: reason}
	}
	return Decision{Action: TLSTerminate, Router: i, Reason: reason}
}
