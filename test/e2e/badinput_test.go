//go:build unix

package e2e

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"sluice/internal/testkit"
)

// patience is more than any first-byte deadline allows: a connection that is still open then is a defect.
const patience = 15 * time.Second

// talkRaw sends bytes and reads until the other side closes. It gives what came, and an error if the end did not come in
// time.
func talkRaw(address string, send []byte) (string, error) {
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(send); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return string(b), fmt.Errorf("still open after %s", patience)
	}
	return string(b), nil // a reset is an end too
}

func status(answer string) string {
	line, _, _ := strings.Cut(answer, "\r\n")
	return strings.TrimPrefix(line, "HTTP/1.1 ")
}

// TestBadInput sends what should not be sent, while somebody else uses the same entry points and must notice nothing. The
// rows of the security cases that stand in the names say what is to come out.
func TestBadInput(t *testing.T) {
	vmLeaf := testkit.NewCA(t).Leaf(t, vmHost)
	m := startVM(t, vmLeaf)
	ps := ports(t, 2)
	dead, trusting := loopback(ps[0]), loopback(ps[1])
	e := startEdge(t, plan{machine: m,
		static: `
[entryPoints.trusting]
  address = "` + trusting + `"
  [entryPoints.trusting.proxyProtocol]
    trustedIPs = ["10.1.2.3"]
`,
		dynamic: `
[tcp.routers.dead]
  rule = "HostSNI(` + "`dead.mydomain.com`" + `)"
  service = "dead"
  entryPoints = ["secure"]
  [tcp.routers.dead.tls]
    passthrough = true
[[tcp.services.dead.loadBalancer.servers]]
  address = "` + dead + `"
[http.routers.who]
  rule = "Host(` + "`who.mydomain.com`" + `)"
  service = "app"
  entryPoints = ["trusting", "web"]
`})
	others := keepAsking(t, e)

	ended := func(t *testing.T, address string, send []byte) string {
		t.Helper()
		got, err := talkRaw(address, send)
		if err != nil {
			t.Error(err)
		}
		return got
	}
	notOurs := func(t *testing.T, answer string) {
		t.Helper()
		if strings.Contains(answer, "app, host") || strings.Contains(answer, "VM") {
			t.Errorf("somebody's content came back: %q", answer)
		}
	}

	t.Run("TLS-06 garbage on a TLS entry point", func(t *testing.T) {
		for name, b := range map[string][]byte{
			"zeros":        make([]byte, 64),
			"SSH":          []byte("SSH-2.0-OpenSSH_9.2\r\n"),
			"high bytes":   bytes.Repeat([]byte{0xfe, 0x80, 0xc1, 0x11}, 100),
			"SSLv2 hello":  append([]byte{0x80, 0x2e, 0x01, 0x00, 0x02, 0x00, 0x15, 0x00, 0x00, 0x00, 0x10}, make([]byte, 37)...),
			"broken hello": append([]byte{0x16, 0x03, 0x01, 0x00, 0x40, 0x01, 0xff, 0xff, 0xff}, make([]byte, 60)...),
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				got := ended(t, e.secure, b)
				notOurs(t, got)
				if strings.HasPrefix(got, "HTTP/") && !strings.HasPrefix(status(got), "400") {
					t.Errorf("answer %q", status(got))
				}
			})
		}
	})
	t.Run("plain HTTP on a TLS entry point", func(t *testing.T) {
		got := ended(t, e.secure, []byte("GET / HTTP/1.1\r\nHost: "+appHost+"\r\nConnection: close\r\n\r\n"))
		notOurs(t, got)
		if s := status(got); !strings.HasPrefix(s, "404") && !strings.HasPrefix(s, "400") {
			t.Errorf("answer %q, want 404 (no plain router of that host) or 400", s)
		}
	})
	t.Run("REQ-17 head of 100 000 bytes in one field", func(t *testing.T) {
		got := ended(t, e.web, []byte("GET / HTTP/1.1\r\nHost: "+vmHost+"\r\nX-Long: "+strings.Repeat("a", 100000)+"\r\n\r\n"))
		if s := status(got); !strings.HasPrefix(s, "431") {
			t.Errorf("answer %q, want 431", s)
		}
	})
	t.Run("TLS-07 unknown SNI", func(t *testing.T) {
		got, err := served(e.secure, "nobody.mydomain.com", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got.Subject.CommonName != "TRAEFIK DEFAULT CERT" {
			t.Errorf("certificate of %q, want the self-signed default", got.Subject.CommonName)
		}
		out := mustCurl(t, "--insecure", "--write-out", "%{response_code}", e.url("nobody.mydomain.com"))
		notOurs(t, out)
		mustHave(t, "status", out, "404")
	})
	t.Run("HST-11 SNI in other spellings", func(t *testing.T) {
		for _, name := range []string{"WWW.VM.MyDomain.Com", vmHost + "."} {
			if got := opensslCertificate(t, e.secure, name); !bytes.Equal(got.Raw, vmLeaf.Pair.Certificate[0]) {
				t.Errorf("%s: the certificate of %v, not the machine's", name, got.DNSNames)
			}
		}
	})
	t.Run("dead machine", func(t *testing.T) {
		begin := time.Now()
		_, err := served(e.secure, "dead.mydomain.com", nil)
		if err == nil {
			t.Error("a handshake with nobody succeeded")
		}
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("the client waited %s", d)
		}
		eventually(t, "a log line that says why", func() error {
			if !strings.Contains(e.said(), dead) {
				return fmt.Errorf("nothing in the log about %s", dead)
			}
			return nil
		})
	})
	t.Run("machine that accepts and says nothing", func(t *testing.T) {
		m.freeze(t)
		c, err := net.DialTimeout("tcp", e.secure, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		conn := tls.Client(c, &tls.Config{ServerName: vmHost, InsecureSkipVerify: true})
		result := make(chan error, 1)
		go func() { result <- conn.Handshake() }()
		e.servesApp(t) // others are served meanwhile
		select {
		case err := <-result:
			t.Fatalf("the handshake ended while the machine was frozen: %v", err)
		default:
		}
		m.thaw()
		if err := <-result; err != nil {
			t.Errorf("the tunnel did not go on when the machine did: %v", err)
		}
	})
	t.Run("PPX-01 PROXY header of a peer that is not trusted", func(t *testing.T) {
		request := "GET / HTTP/1.1\r\nHost: who.mydomain.com\r\nConnection: close\r\n\r\n"
		got := ended(t, trusting, []byte("PROXY TCP4 198.51.100.7 203.0.113.1 1000 80\r\n"+request))
		mustHave(t, "well-formed", got, "200 OK", "for 127.0.0.1")
		got = ended(t, trusting, []byte("PROXY TCP4 999.0.113.7 203.0.113.1 1000 80\r\n"+request))
		if got != "" {
			t.Errorf("malformed: answer %q, want the end", got)
		}
		// Without a proxyProtocol section the header is what it looks like: a bad request.
		got = ended(t, e.web, []byte("PROXY TCP4 198.51.100.7 203.0.113.1 1000 80\r\n"+request))
		if !strings.HasPrefix(status(got), "400") {
			t.Errorf("entry point without a section: answer %q, want 400", status(got))
		}
	})
	t.Run("TCP-01 connects and says nothing", func(t *testing.T) {
		for name, address := range map[string]string{"web": e.web, "secure": e.secure} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				if got := ended(t, address, nil); got != "" {
					t.Errorf("answer %q", got)
				}
			})
		}
	})
	t.Run("TCP-01 half a ClientHello", func(t *testing.T) {
		hello := firstFlight(t, vmHost)
		if got := ended(t, e.secure, hello[:len(hello)/2]); strings.HasPrefix(got, "HTTP/") {
			t.Errorf("answer %q", got)
		}
	})
	if asked, failed := others(); failed > 0 || asked == 0 {
		t.Errorf("meanwhile %d of %d requests to %s failed", failed, asked, appHost)
	}
}
