//go:build unix

package e2e

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"sluice/internal/testkit"
)

// TestRealClientHellos sends the first flights of real clients, as they are and cut to pieces on the way, to a host that is
// passed through and to one that is terminated: each must arrive where its name says.
func TestRealClientHellos(t *testing.T) {
	vmCA := testkit.NewCA(t)
	m := startVM(t, vmCA.Leaf(t, vmHost))
	e := startEdge(t, plan{machine: m})

	clients := []struct {
		name string
		get  func(t *testing.T, host, address string) string
	}{
		{"curl", func(t *testing.T, host, address string) string {
			return mustCurl(t, "--insecure", "--connect-to", "::"+address, "https://"+host+"/")
		}},
		{"openssl", func(t *testing.T, host, address string) string {
			openssl := need(t, "openssl", "sh")
			request := fmt.Sprintf(`printf 'GET / HTTP/1.0\r\nHost: %s\r\n\r\n' | exec "$0" s_client -connect %s -servername %s -quiet -ign_eof`, host, address, host)
			return mustRun(t, nil, openssl[1], "-c", request, openssl[0])
		}},
		{"go", func(t *testing.T, host, address string) string {
			conf := &tls.Config{ServerName: host, InsecureSkipVerify: true} // with the post-quantum key share of today
			client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}}
			req, err := http.NewRequest("GET", "https://"+address+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = host
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			return string(b)
		}},
		{"chromium", func(t *testing.T, host, address string) string {
			chromium := need(t, "chromium")[0]
			return mustRun(t, nil, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
				"--disable-background-networking", "--disable-component-update", "--ignore-certificate-errors",
				"--user-data-dir="+directory(t), "--timeout=20000", "--host-resolver-rules=MAP "+host+" "+address+", MAP * ~NOTFOUND",
				"--dump-dom", "https://"+host+"/")
		}},
	}
	ways := []struct {
		name    string
		address string
	}{
		{"as it is", e.secure},
		{"one byte at a time", cutter(t, e.secure, sendBytes)},
		{"in records of 40 bytes", cutter(t, e.secure, sendRecords)},
	}
	for _, client := range clients {
		for _, way := range ways {
			t.Run(client.name+" "+way.name, func(t *testing.T) {
				mustHave(t, "passthrough", client.get(t, vmHost, way.address), "secure VM, SNI "+vmHost)
				mustHave(t, "terminated", client.get(t, appHost, way.address), "app, host "+appHost)
			})
		}
	}
}

// cutter is a relay before target that sends each client's ClientHello with send and everything after it unchanged.
func cutter(t *testing.T, target string, send func(w io.Writer, hello []byte) error) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				server, err := net.Dial("tcp", target)
				if err != nil {
					return
				}
				defer server.Close()
				go func() { io.Copy(client, server); client.(*net.TCPConn).CloseWrite() }()
				hello := make([]byte, 5)
				if _, err := io.ReadFull(client, hello); err != nil {
					return
				}
				hello = append(hello, make([]byte, binary.BigEndian.Uint16(hello[3:]))...)
				if _, err := io.ReadFull(client, hello[5:]); err != nil {
					return
				}
				if send(server, hello) != nil {
					return
				}
				io.Copy(server, client)
				server.(*net.TCPConn).CloseWrite()
			}()
		}
	}()
	return ln.Addr().String()
}

// sendBytes sends each byte in a segment of its own.
func sendBytes(w io.Writer, hello []byte) error {
	for i := range hello {
		if _, err := w.Write(hello[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

// sendRecords puts the message into many TLS records, which RFC 8446 5.1 allows and no handshake hash notices.
func sendRecords(w io.Writer, hello []byte) error {
	header, rest := hello[:5], hello[5:]
	for len(rest) > 0 {
		n := min(40, len(rest))
		record := binary.BigEndian.AppendUint16([]byte{header[0], header[1], header[2]}, uint16(n))
		if _, err := w.Write(append(record, rest[:n]...)); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}
