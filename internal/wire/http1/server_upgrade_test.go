package http1

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"sluice/internal/wire/httpmsg"
)

// switching answers with 101 and an echo behind it, which speaks first.
func switching(t *testing.T, greeting string) httpmsg.HandlerFunc {
	return func(x *httpmsg.Exchange) error {
		if !x.Req.UpgradeTo.Is("websocket") {
			return hello(x)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		go func() {
			defer ln.Close()
			c, err := ln.Accept()
			if err != nil {
				return
			}
			io.Copy(c, c)
			c.Close()
		}()
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			return err
		}
		x.Res.Status = 101
		x.Res.Header.Add("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
		x.Res.Header.Add("Connection", "keep-alive, Upgrade")
		x.Res.Header.Add("Upgrade", "websocket")
		x.Upgrade = &httpmsg.Upgrade{Server: c.(*net.TCPConn), Buffered: []byte(greeting)}
		x.OnCommit(mark{"X-On-All", false})
		x.OnCommit(mark{"X-On-Upgrade", true})
		return nil
	}
}

type mark struct {
	name      string
	onUpgrade bool
}

func (m mark) EditResponse(x *httpmsg.Exchange) { x.Res.Header.Set(m.name, "y") }
func (m mark) OnUpgrade() bool                  { return m.onUpgrade }

func TestUpgrade(t *testing.T) {
	for _, c := range []struct{ id, early, greeting string }{
		{"UPG-05", "", ""},
		{"UPG-05 first frames with the 101", "", strings.Repeat("hello ", 5000)},
		{"UPG-02", "early frames", ""},
		{"UPG-02 and UPG-05", "early frames", "hello"},
	} {
		t.Run(c.id, func(t *testing.T) {
			s := serve(t, switching(t, c.greeting))
			conn := s.dial().send(upgradeRequest + c.early)
			res, err := http.ReadResponse(conn.r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != 101 || res.Header.Get("Upgrade") != "websocket" || res.Header.Get("Connection") != "Upgrade" || res.Header.Get("Sec-WebSocket-Accept") == "" ||
				res.Header.Get("X-On-All") != "" || res.Header.Get("X-On-Upgrade") != "y" || len(res.Header) != 4 {
				t.Errorf("got %+v", res)
			}
			conn.send("and more")
			conn.CloseWrite()
			if got, err := io.ReadAll(conn.r); string(got) != c.greeting+c.early+"and more" || err != nil {
				t.Errorf("got %d bytes %.100q, %v", len(got), got, err)
			}
			eventually(t, "the end is told", func() bool { return len(s.seen()) == 1 })
		})
	}
}

// UPG-02: bytes of the other protocol are never read as requests when the switch is refused.
func TestUpgradeRefusedUPG02(t *testing.T) {
	s := serve(t, refusing(403))
	conn := s.dial().send(upgradeRequest + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
	if a := conn.receive("GET"); a.StatusCode != 403 || !a.Close {
		t.Errorf("got %+v", a.Response)
	}
	conn.closed()
	if n := len(s.seen()); n != 1 {
		t.Errorf("%d exchanges", n)
	}
}

// UPG-01: what we do not switch to is a plain request.
func TestUpgradeUPG01(t *testing.T) {
	s := serve(t, switching(t, ""))
	conn := s.dial().send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n")
	if a := conn.receive("GET"); a.StatusCode != 200 || a.Close || a.body != "hello, world\n" {
		t.Errorf("got %+v", a.Response)
	}
	if a := conn.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").receive("GET"); a.StatusCode != 200 {
		t.Errorf("got %+v", a.Response)
	}
}

// A tunnel ends when the server is cut.
func TestUpgradeCut(t *testing.T) {
	s := serve(t, switching(t, ""))
	conn := s.dial().send(upgradeRequest)
	if _, err := http.ReadResponse(conn.r, nil); err != nil {
		t.Fatal(err)
	}
	s.Drain()
	conn.send("x")
	var one [1]byte
	if _, err := io.ReadFull(conn.r, one[:]); err != nil {
		t.Fatalf("drain cut the tunnel: %v", err)
	}
	s.Cut()
	if rest, _ := io.ReadAll(conn.r); len(rest) > 0 {
		t.Errorf("got %q", rest)
	}
}
