package entrypoint

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/core/route"
	"sluice/internal/observe/record"
	"sluice/internal/wire/bridge"
	"sluice/internal/wire/http1"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/sniff"
	"sluice/internal/wire/sock"
)

const (
	// firstByteLimit bounds the wait for the first byte of a connection, and for a PROXY header.
	firstByteLimit = 10 * time.Second
	// handshakeLimit bounds a TLS handshake.
	handshakeLimit = 10 * time.Second
	// challengeLimit bounds the handshake of a tls-alpn-01 challenge.
	challengeLimit = 5 * time.Second
	// lingerTime is how long a refused client may go on sending before its connection is closed.
	lingerTime = time.Second
)

// handle serves one accepted connection and owns it.
func (e *EntryPoint) handle(sc *sock.Conn) {
	c := &Accepted{Conn: sc}
	start := time.Now()
	phase, err := e.dispatch(c)
	if err == nil {
		return
	}
	// FIN and not RST, after reading what was sent: a reset would destroy an alert or answer on its way.
	c.Linger(lingerTime)
	e.ended(c, start, phase, err)
}

// dispatch looks at the connection and hands it over. With an error nobody has it, and the phase says how far it came.
func (e *EntryPoint) dispatch(c *Accepted) (record.Phase, error) {
	limit := min(firstByteLimit, orMax(e.timeouts.Read))
	if e.proxy != nil {
		c.Arm(limit)
		if _, err := c.ReadProxyHeader(e.proxy.believes(c.SocketPeer().Addr())); err != nil {
			return record.Accepted, reading("PROXY header", err)
		}
	}
	routes := e.routes()
	d := routes.Conn.Decide(&route.Conn{Client: c.Peer().Addr()}, e.pending)
	if d.Action == route.NeedBytes {
		c.Arm(limit)
		var err error
		if d, err = e.look(c, routes); err != nil {
			return record.Sniffing, err
		}
	}
	if !c.Disarm() && d.Action != route.PlainTCPSilent && d.Action != route.Close {
		return record.Sniffing, fault.New(fault.RequestTimeout, "the first bytes took too long", nil)
	}
	return e.execute(c, routes, d)
}

func orMax(d time.Duration) time.Duration {
	if d <= 0 {
		return time.Duration(1<<63 - 1)
	}
	return d
}

// look reads until the first bytes say where the connection goes.
func (e *EntryPoint) look(c *Accepted, routes *Routes) (route.Decision, error) {
	ask := route.Conn{Client: c.Peer().Addr()}
	need := 1
	var scan sniff.Scan
	for {
		b, err := c.Peek(need)
		if err != nil {
			return route.Decision{}, reading("first bytes", err)
		}
		kind, more := sniff.Of(b)
		switch kind {
		case sniff.Undecided:
			need = more
			continue
		case sniff.TLS:
			hello, more, err := scan.ClientHello(b)
			if err != nil {
				alert(c, err)
				return route.Decision{}, fault.New(fault.BadRequest, "not a TLS client", err)
			}
			if more > 0 {
				need = more
				continue
			}
			c.SNI = hello.SNI
			ask.SNI, ask.ALPN, ask.Opening = hello.SNI, hello.ALPN, route.TLSHello
			if c.Postgres {
				ask.Opening = route.PostgresHello
			}
		case sniff.Postgres:
			ask.Opening = route.PostgresRequest
		case sniff.SSLv2:
			ask.Opening = route.SSLv2Hello
		default:
			ask.Opening = route.NotTLS
		}
		if c.Postgres && ask.Opening != route.PostgresHello {
			return route.Decision{}, fault.New(fault.BadRequest, "no TLS behind the request for it", nil)
		}
		d := routes.Conn.Decide(&ask, e.pending)
		if d.Action != route.AnswerPostgres {
			return d, nil
		}
		c.Discard(len(sniff.PostgresSSLRequest))
		c.Postgres = true
		if _, err := c.Write([]byte{'S'}); err != nil {
			return d, reading("answer to Postgres", err)
		}
		need, scan = 1, sniff.Scan{}
	}
}

// alert tells a client why its hello was refused.
func alert(c *Accepted, err error) {
	var s *sniff.Error
	if errors.As(err, &s) {
		r := s.Record()
		_, _ = c.Write(r[:]) // the client may be gone; it is refused either way
	}
}

// execute does what was decided.
func (e *EntryPoint) execute(c *Accepted, routes *Routes, d route.Decision) (record.Phase, error) {
	switch d.Action {
	case route.PlainTCP, route.PlainTCPSilent:
		return e.tcp(c, &routes.TCP[d.Router], c)
	case route.TLSPassthrough:
		c.Passthrough = true
		return e.tcp(c, &routes.TLS[d.Router], c)
	case route.TLSTerminate:
		r := &routes.TLS[d.Router]
		c.Router = r.Name
		t, err := e.handshake(c, r.TLS, handshakeLimit)
		if err != nil {
			return record.Handshake, err
		}
		return e.tcp(c, r, t)
	case route.PlainHTTP:
		go e.plainHTTP(c) // a stack of its own: this one has grown while looking
		return record.Done, nil
	case route.HTTPS:
		o := routes.Options[d.Options]
		t, err := e.handshake(c, o, handshakeLimit)
		if err != nil {
			return record.Handshake, err
		}
		go e.secureHTTP(c, t, o) // the handshake's stack ends here
		return record.Done, nil
	case route.ChallengeTLS:
		config := e.challenges.TLS(c.SNI)
		if config == nil {
			return record.Handshake, fault.New(fault.RouterRefused, "the pending challenge has gone", nil)
		}
		t, err := e.handshake(c, &TLSOptions{Config: config}, challengeLimit)
		if err != nil {
			return record.Handshake, err
		}
		t.Close()
		return record.Done, nil
	default:
		return record.Routing, fault.New(fault.RouterRefused, d.Reason, nil)
	}
}

// tcp hands the stream to a TCP router and reports what became of it.
func (e *EntryPoint) tcp(c *Accepted, r *TCPRouter, stream net.Conn) (record.Phase, error) {
	c.Router = r.Name
	if r.Serve == nil {
		return record.Routing, fault.New(fault.RouterRefused, "the router is disabled", nil)
	}
	start := time.Now()
	o := r.Serve(stream, c)
	if o.Open && o.Fault != nil {
		e.tunnelled(c, start, &o, record.Connecting)
		c.Linger(lingerTime)
		return record.Done, nil
	}
	e.tunnelled(c, start, &o, record.Data)
	return record.Done, nil
}

// handshake terminates TLS on c.
func (e *EntryPoint) handshake(c *Accepted, o *TLSOptions, limit time.Duration) (*tlsConn, error) {
	if o == nil || o.Config == nil {
		return nil, fault.New(fault.RouterRefused, "the TLS options are broken", nil)
	}
	c.Arm(min(limit, orMax(e.timeouts.Read)))
	t := &tlsConn{Conn: tls.Server(c.Conn, o.Config), below: c.Conn}
	err := t.Handshake()
	if !c.Disarm() && err == nil {
		err = os.ErrDeadlineExceeded
	}
	if err != nil {
		return nil, reading("TLS handshake", err)
	}
	return t, nil
}

// tlsConn is a terminated connection, with the questions that the HTTP engine asks of a socket.
type tlsConn struct {
	*tls.Conn
	below *sock.Conn
}

// PeerState asks the socket below.
func (t *tlsConn) PeerState() sock.PeerState { return t.below.PeerState() }

// Reset closes the connection so that the client cannot take what it got for complete.
func (t *tlsConn) Reset() error { return t.below.Reset() }

func (e *EntryPoint) plainHTTP(c *Accepted) {
	if kind, _ := sniff.Of(c.Bytes()); kind == sniff.HTTP2 {
		e.serveHTTP2(c.Conn, bridge.Conn{Peer: c.Peer(), Local: c.Local()})
		return
	}
	e.http1.ServeConn(c.Conn, http1.Session{Peer: c.Peer(), Local: c.Local()})
}

func (e *EntryPoint) secureHTTP(c *Accepted, t *tlsConn, o *TLSOptions) {
	state := t.ConnectionState()
	if state.NegotiatedProtocol == "h2" {
		e.serveHTTP2(t.Conn, bridge.Conn{Peer: c.Peer(), Local: c.Local(), TLS: &state, TLSOptions: o.Fingerprint})
		return
	}
	e.http1.ServeConn(t, http1.Session{Peer: c.Peer(), Local: c.Local(), TLS: &state, TLSOptions: o.Fingerprint})
}

// serveHTTP2 serves a connection until it ends, and then lets go of what was tied to it.
func (e *EntryPoint) serveHTTP2(c net.Conn, facts bridge.Conn) {
	pin := new(httpmsg.Closing)
	defer pin.Closed()
	facts.Pin = pin
	_ = e.http2.ServeConn(c, facts) // only fails when stopping
}

// reading words a failed read as a fault: a timeout, a client that left, or bytes that cannot be.
func reading(what string, err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fault.New(fault.RequestTimeout, what+" took too long", nil)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return fault.New(fault.ClientGone, what+": the client closed the connection", nil)
	default:
		return fault.New(fault.BadRequest, what, err)
	}
}
