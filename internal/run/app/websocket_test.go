package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// A real client and a real server of WebSocket understand each other through Sluice: messages in one frame and in many, large
// ones, pings while messages are under way, and the closing handshake with its code; in the clear and over TLS, towards servers
// that speak HTTP/1 only and towards those that would rather speak HTTP/2.
func TestWebSocketLibrary(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"echo"}})
		if err != nil {
			t.Error(err)
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(-1)
		for {
			kind, message, err := c.Read(r.Context())
			if err != nil {
				return // the client has closed
			}
			if err := c.Write(r.Context(), kind, message); err != nil {
				return
			}
		}
	})
	plain := httptest.NewServer(echo)
	defer plain.Close()
	secure := httptest.NewUnstartedServer(echo)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	defer secure.Close()
	r := start(t, twoEntryPoints, `
http:
  routers:
    clear: {rule: "PathPrefix(`+"`/`"+`)", service: plain, entryPoints: [web]}
    tls: {rule: "PathPrefix(`+"`/`"+`)", service: secure, tls: {}, entryPoints: [secure]}
  services:
    plain: {loadBalancer: {servers: [{url: "`+plain.URL+`"}]}}
    secure: {loadBalancer: {serversTransport: any, servers: [{url: "`+secure.URL+`"}]}}
  serversTransports: {any: {insecureSkipVerify: true}}
`)
	for entry, base := range map[string]string{"web": "ws://a.test/", "secure": "wss://a.test/"} {
		t.Run(entry, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
				DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return (&net.Dialer{}).DialContext(ctx, network, r.addr(entry))
				}}
			defer transport.CloseIdleConnections()
			c, _, err := websocket.Dial(ctx, base, &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}, Subprotocols: []string{"echo"}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			c.SetReadLimit(-1)
			if c.Subprotocol() != "echo" {
				t.Errorf("subprotocol %q", c.Subprotocol())
			}
			messages := make(chan []byte, 16)
			go func() { // one reader throughout: it is what takes pongs
				defer close(messages)
				for {
					_, m, err := c.Read(ctx)
					if err != nil {
						return
					}
					messages <- m
				}
			}()
			back := func(what string, want []byte) {
				t.Helper()
				if got := <-messages; !bytes.Equal(got, want) {
					t.Fatalf("%s: %d bytes, want %d", what, len(got), len(want))
				}
			}
			for _, size := range []int{0, 1, 125, 126, 65_535, 65_536, 4 << 20} {
				message := bytes.Repeat([]byte("m"), size)
				if err := c.Write(ctx, websocket.MessageBinary, message); err != nil {
					t.Fatal(err)
				}
				back("one frame", message)
			}
			w, err := c.Writer(ctx, websocket.MessageText)
			if err != nil {
				t.Fatal(err)
			}
			var whole []byte
			for i := range 50 {
				piece := bytes.Repeat([]byte{byte('a' + i%26)}, 5000)
				whole = append(whole, piece...)
				if _, err := w.Write(piece); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			back("many frames", whole)
			for range 5 {
				if err := c.Write(ctx, websocket.MessageText, []byte("beside a ping")); err != nil {
					t.Fatal(err)
				}
				if err := c.Ping(ctx); err != nil {
					t.Fatal(err)
				}
				back("beside a ping", []byte("beside a ping"))
			}
			if err := c.Close(websocket.StatusNormalClosure, "done"); err != nil {
				t.Errorf("closing: %v", err)
			}
		})
	}
}
