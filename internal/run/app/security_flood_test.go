package app

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// FRM-30: no disguise of Transfer-Encoding next to a Content-Length ever becomes two framings, or a field that a lenient
// server could take for one.
func TestSecurityFRM30(t *testing.T) {
	w := newWitness(t)
	r := start(t, twoEntryPoints, everything(w.Addr))
	disguises := []string{
		"Transfer-Encoding: xchunked", "Transfer-Encoding : chunked", "Transfer-Encoding:\tchunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x", " Transfer-Encoding: chunked",
		"X: X\nTransfer-Encoding: chunked", "Transfer-Encoding\r\n: chunked", "Transfer-Encoding: x\r\n chunked", "transfer-encoding: CHUNKED", "Transfer_Encoding: chunked", "Transfer-Encoding: \"chunked\"",
		"Transfer-Encoding: chunked;", "Transfer-Encoding: ,chunked", "Transfer-Encoding: chunked,", "Transfer-Encoding: identity", "Transfer-Encoding: identity, chunked", "X: a\rTransfer-Encoding: chunked",
		"X: a\r\n\rTransfer-Encoding: chunked", "Transfer Encoding: chunked", "Transfer-Encoding", "Transfer-Encoding:", "Transfer-Encoding: chunk", "Transfer-Encoding: chunked x", "TE: chunked", "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
	}
	bytesOf := func(f func(b string) string) {
		for b := 1; b <= 0xff; b++ {
			if b <= 0x20 || b >= 0x7f {
				disguises = append(disguises, f(string([]byte{byte(b)})))
			}
		}
	}
	bytesOf(func(b string) string { return b + "Transfer-Encoding: chunked" })
	bytesOf(func(b string) string { return "Transfer" + b + "Encoding: chunked" })
	bytesOf(func(b string) string { return "Transfer-Encoding" + b + ": chunked" })
	bytesOf(func(b string) string { return "Transfer-Encoding:" + b + "chunked" })
	bytesOf(func(b string) string { return "Transfer-Encoding: chun" + b + "ked" })
	bytesOf(func(b string) string { return "Transfer-Encoding: chunked" + b })
	bytesOf(func(b string) string { return "X: y" + b + "Transfer-Encoding: chunked" })
	for i, d := range disguises {
		for order, in := range []string{"Content-Length: 5\r\n" + d, d + "\r\nContent-Length: 5"} {
			before := w.count()
			c := r.dial("h1")
			raw := fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n%s\r\n\r\n0\r\n\r\n", i, in)
			got := exchange(t, c, raw, "POST", true)
			c.Close()
			if got.status != 200 && got.status != 400 && got.status != 501 {
				t.Errorf("%q (%d): got %+v", d, order, got)
			}
			if m := w.messages(before); got.status == 200 && (len(m) != 1 || m[0].body != "0\r\n\r\n" || m[0].value("Content-Length") != "5") || got.status != 200 && len(m) > 0 {
				t.Errorf("%q (%d): got %+v, the server got %q", d, order, got, m)
			}
		}
	}
	w.noLeak(t)
}

// flooder is a client of HTTP/2 that speaks frames.
type flooder struct {
	net.Conn
	*xhttp2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
}

func (r *router) flooder(transport string) *flooder {
	c := r.dial(transport)
	io.WriteString(c, xhttp2.ClientPreface)
	f := &flooder{Conn: c, Framer: xhttp2.NewFramer(c, c)}
	f.AllowIllegalWrites, f.AllowIllegalReads = true, true
	f.enc = hpack.NewEncoder(&f.block)
	f.WriteSettings()
	return f
}

// head encodes a request head, with fields behind the usual ones.
func (f *flooder) head(fields ...string) []byte {
	f.block.Reset()
	all := append([]string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "a.test"}, fields...)
	for i := 0; i < len(all); i += 2 {
		f.enc.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1]})
	}
	return f.block.Bytes()
}

// H2-07 to H2-14: floods are ended or cost next to nothing, other clients are served meanwhile, and nothing is left.
func TestSecurityHTTP2Floods(t *testing.T) {
	w := newWitness(t)
	r := start(t, twoEntryPoints, everything(w.Addr))
	const frames = 20_000
	for _, c := range []struct {
		id string
		// ends tells that the connection must end by itself.
		ends bool
		send func(f *flooder, i uint32) error
	}{
		{"H2-07 rapid reset", false, func(f *flooder, i uint32) error {
			f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: f.head(), EndStream: true, EndHeaders: true})
			return f.WriteRSTStream(2*i+1, xhttp2.ErrCodeCancel)
		}},
		{"H2-08 made you reset", false, func(f *flooder, i uint32) error {
			f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: f.head(), EndStream: true, EndHeaders: true})
			return f.WriteWindowUpdate(2*i+1, 0)
		}},
		// net/http takes empty ones without end; they cost it nothing but the reading.
		{"H2-09 empty continuations", false, func(f *flooder, i uint32) error {
			if i == 0 {
				return f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: f.head()})
			}
			return f.WriteContinuation(1, false, nil)
		}},
		{"H2-09 large continuations", true, func(f *flooder, i uint32) error {
			if i == 0 {
				return f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: f.head()})
			}
			f.block.Reset()
			f.enc.WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("a", 8000), Sensitive: true})
			return f.WriteContinuation(1, false, f.block.Bytes())
		}},
		{"H2-11 settings", false, func(f *flooder, _ uint32) error { return f.WriteSettings() }},
		{"H2-11 ping", false, func(f *flooder, _ uint32) error { return f.WritePing(false, [8]byte{}) }},
		{"H2-11 priority", false, func(f *flooder, i uint32) error {
			return f.WritePriority(2*i+1, xhttp2.PriorityParam{StreamDep: 0, Weight: 1})
		}},
		{"H2-11 unknown", false, func(f *flooder, _ uint32) error { return f.WriteRawFrame(0xfa, 0, 0, nil) }},
		{"H2-12 streams", false, func(f *flooder, i uint32) error {
			return f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: f.head("content-length", "5"), EndHeaders: true})
		}},
		{"H2-14 frame size", true, func(f *flooder, _ uint32) error {
			return f.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingMaxFrameSize, Val: 0})
		}},
		{"H2-14 window", true, func(f *flooder, _ uint32) error {
			return f.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 1 << 31})
		}},
		{"H2-14 push", true, func(f *flooder, _ uint32) error {
			return f.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingEnablePush, Val: 2})
		}},
		{"H2-15 even stream", true, func(f *flooder, i uint32) error {
			return f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 2*i + 2, BlockFragment: f.head(), EndStream: true, EndHeaders: true})
		}},
		{"H2-10 table index", true, func(f *flooder, i uint32) error {
			return f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: []byte{0xff, 0xff, 0xff, 0x7f}, EndStream: true, EndHeaders: true})
		}},
		{"H2-10 references", false, func(f *flooder, i uint32) error {
			if i > 20 {
				return io.EOF
			}
			block := bytes.Clone(f.head("x-big", strings.Repeat("a", 3900)))
			block = append(block, bytes.Repeat([]byte{0xbe}, 4000)...) // the newest entry of the table, again and again
			return f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: block, EndStream: true, EndHeaders: true})
		}},
	} {
		for _, transport := range []string{"h2c", "h2"} {
			if c.ends && transport == "h2" {
				continue // the same code, and a second each until GOAWAY has been given its time
			}
			t.Run(c.id+" "+transport, func(t *testing.T) {
				f := r.flooder(transport)
				f.SetDeadline(time.Now().Add(6 * time.Second))
				ended := make(chan error, 1)
				go func() {
					for {
						if _, err := f.ReadFrame(); err != nil {
							ended <- err
							return
						}
					}
				}()
				var err error
				for i := uint32(0); i < frames && err == nil; i++ {
					err = c.send(f, i)
				}
				if c.ends {
					if err := <-ended; isTimeout(err) {
						t.Error("the connection lives on")
					}
				}
				if got := r.tell("h1", ask{}, false); got.status != 200 {
					t.Errorf("another client got %+v", got)
				}
				f.Close()
				if !c.ends {
					<-ended
				}
			})
		}
	}
	soon(t, "all connections have ended", func() bool { return r.open() == 0 })
}
