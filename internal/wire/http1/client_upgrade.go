package http1

import (
	"crypto/sha1"
	"encoding/base64"
	"net"
	"sync"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// upgrade checks a 101 (Switching Protocols) and hands the connection over (UPG-03).
func (k *call) upgrade() *fault.Fault {
	c, x, res := k.c, k.x, &k.x.Res
	refuse := func(reason string) *fault.Fault {
		return fault.New(fault.UpstreamProtocol, "switching protocols: "+reason, nil)
	}
	switch {
	case len(x.Req.UpgradeTo) == 0:
		return refuse("not asked for")
	case k.head.proto == httpmsg.HTTP10 || !k.head.switching:
		return refuse("no Connection: upgrade")
	case !k.head.upgrade.EqualFold(string(x.Req.UpgradeTo)):
		return refuse("to another protocol")
	case x.Req.UpgradeTo.EqualFold("websocket") &&
		!res.Header.Get(httpmsg.HdrSecWebSocketAccept).Is(acceptOf(x.Req.Header.Get(httpmsg.HdrSecWebSocketKey))):
		return refuse("wrong Sec-WebSocket-Accept")
	case k.pump != nil:
		return refuse("before the request body was sent")
	}
	if c.watched(c.opts.ResponseHeaderTimeout) {
		if !c.entry.Disarm() || c.timedOut() {
			return fault.New(fault.UpstreamSilent, "waiting for the response", nil)
		}
	}
	x.Facts.FirstByte = time.Now()
	x.Facts.OriginStatus = res.Status
	res.Origin = true
	k.strip()
	k.onConn.Store(nil)
	k.onExchange.Store(nil)
	x.OnCancel(nil)
	k.c = nil
	if x.Cancelled() != nil {
		// The cancellation may have come in between and spoilt the deadlines.
		c.retire(false)
		return fault.New(fault.ClientGone, "switching protocols", x.Cancelled())
	}
	x.Upgrade = &httpmsg.Upgrade{Server: &serverStream{c: c}, Buffered: append([]byte(nil), k.buf[k.head.pos:k.w]...)}
	k.err = errClosed
	return nil
}

// acceptOf is the Sec-WebSocket-Accept that belongs to a key (RFC 6455 section 4.2.2).
func acceptOf(key httpmsg.View) string {
	sum := sha1.Sum(append(append([]byte(nil), key...), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// serverStream is a connection that speaks another protocol now.
type serverStream struct {
	c    *ClientConn
	once sync.Once
}

func (s *serverStream) Read(p []byte) (int, error)    { return s.c.nc.Read(p) }
func (s *serverStream) Write(p []byte) (int, error)   { return s.c.nc.Write(p) }
func (s *serverStream) SetDeadline(t time.Time) error { return s.c.nc.SetDeadline(t) }
func (s *serverStream) NetConn() net.Conn             { return s.c.nc }

// CloseWrite ends our half. Where the connection has no halves it does nothing: the other side learns from Close.
func (s *serverStream) CloseWrite() error {
	if h, ok := s.c.nc.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return nil
}

// Close closes the connection and tells the keeper, once.
func (s *serverStream) Close() error {
	s.once.Do(func() { s.c.retire(false) })
	return nil
}
