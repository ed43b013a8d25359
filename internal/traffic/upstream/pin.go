package upstream

import (
	"sluice/internal/wire/http1"
	"sluice/internal/wire/httpmsg"
)

// NTLM and Negotiate (RFC 4559) authenticate a connection, not a request: whoever sends something over it afterwards is taken
// for the one who has authenticated. So a client that uses them gets connections to the server for itself, from the
// server's first challenge or its own first proof on, until its own connection ends.

// pin is what one client connection has to itself in one pool. It is guarded by Pool.mu.
type pin struct {
	idle   []*http1.ClientConn
	closed bool // the client's connection has ended
}

// mine returns the pin for x, nil where its requests may share connections.
func (p *Pool) mine(x *httpmsg.Exchange) *pin {
	proof := bindsConnection(x.Req.Header.Get(httpmsg.HdrAuthorization))
	if !proof && p.pinned.Load() == 0 {
		return nil
	}
	p.mu.Lock()
	have := p.pins[x.Conn]
	p.mu.Unlock()
	if have != nil || !proof {
		return have
	}
	return p.pin(x)
}

// pin makes connections of x's client its own from now on. A client without a connection that tells its end gets one for this
// request only.
func (p *Pool) pin(x *httpmsg.Exchange) *pin {
	owner, ok := x.Conn.(httpmsg.Pinner)
	if !ok {
		return &pin{closed: true}
	}
	p.mu.Lock()
	if have := p.pins[x.Conn]; have != nil {
		p.mu.Unlock()
		return have
	}
	if p.pins == nil {
		p.pins = map[any]*pin{}
	}
	n := &pin{}
	p.pins[x.Conn] = n
	p.pinned.Add(1)
	p.mu.Unlock()
	key := x.Conn
	owner.OnClose(func() { p.unpin(key) })
	return n
}

// unpin ends what a client's connection had for itself.
func (p *Pool) unpin(key any) {
	p.mu.Lock()
	n := p.pins[key]
	delete(p.pins, key)
	var idle []*http1.ClientConn
	if n != nil {
		p.pinned.Add(-1)
		idle, n.idle, n.closed = n.idle, nil, true
	}
	p.mu.Unlock()
	for _, c := range idle {
		p.drop(c)
	}
}

// challenged pins the client whose request was answered with a challenge.
func (p *Pool) challenged(x *httpmsg.Exchange) {
	h := &x.Res.Header
	for i := h.IndexID(httpmsg.HdrWWWAuthenticate, 0); i >= 0; i = h.IndexID(httpmsg.HdrWWWAuthenticate, i+1) {
		if bindsConnection(h.At(i).Value) {
			if _, ok := x.Conn.(httpmsg.Pinner); ok {
				p.pin(x)
			}
			return
		}
	}
}

// bindsConnection reports whether credentials or a challenge are of a scheme that authenticates connections.
func bindsConnection(v httpmsg.View) bool {
	for _, scheme := range []string{"NTLM", "Negotiate"} {
		if len(v) >= len(scheme) && v[:len(scheme)].EqualFold(scheme) && (len(v) == len(scheme) || v[len(scheme)] == ' ' || v[len(scheme)] == ',') {
			return true
		}
	}
	return false
}
