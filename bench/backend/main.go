// Command backend is the server that the benchmark puts behind every proxy.
//
// It answers HTTP/1.1 with bodies of fixed sizes and, on two further ports, plain bytes to whoever has sent a TLS record
// (for tunnels: what a machine behind a passthrough does, without the price of its cryptography). It is lenient and
// does as little as possible, so that what a run measures is the proxy before it. It is no server for anything else.
//
// On start it prints one JSON line with its addresses; it ends when its standard input ends, so that it never outlives
// the benchmark.
package main

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http/httputil"
	"os"
	"strconv"
)

const (
	smallBody = 128      // bytes of the answer to any other path
	bulkBytes = 64 << 20 // bytes that the bulk port sends to each connection
	readSize  = 16 << 10 // largest request head
)

// Addresses is the line that the benchmark reads.
type Addresses struct {
	HTTP  string `json:"http"`  // HTTP/1.1
	Small string `json:"small"` // reads a TLS record, sends 1500 bytes, reads another, sends 300, closes
	Bulk  string `json:"bulk"`  // reads one TLS record, sends 64 MiB, closes
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("backend: ")
	var a Addresses
	for _, l := range []struct {
		to    *string
		serve func(net.Conn)
	}{
		{&a.HTTP, serveHTTP},
		{&a.Small, func(c net.Conn) { serveRecords(c, 1500, 300) }},
		{&a.Bulk, func(c net.Conn) { serveRecords(c, bulkBytes) }},
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		*l.to = ln.Addr().String()
		go accept(ln, l.serve)
	}
	if err := json.NewEncoder(os.Stdout).Encode(a); err != nil {
		log.Fatal(err)
	}
	io.Copy(io.Discard, os.Stdin)
}

func accept(ln net.Listener, serve func(net.Conn)) {
	for {
		c, err := ln.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(c)
	}
}

// response renders a complete answer of n body bytes once, so that a request costs one write.
func response(n int) []byte {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: backend\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", n)
	return append([]byte(head), bytes.Repeat([]byte("x"), n)...)
}

var answers = map[string][]byte{
	"/10k": response(10 << 10),
	"/1m":  response(1 << 20),
}

var small = response(smallBody)

func serveHTTP(c net.Conn) {
	defer c.Close()
	r := bufio.NewReaderSize(c, readSize)
	for {
		head, err := peekHead(r)
		if err != nil {
			return
		}
		answer := small
		if _, rest, ok := bytes.Cut(head, []byte(" ")); ok {
			if path, _, ok := bytes.Cut(rest, []byte(" ")); ok {
				if a, ok := answers[string(path)]; ok {
					answer = a
				}
			}
		}
		closing := hasField(head, "connection:", "close")
		length, chunked := int64(0), hasField(head, "transfer-encoding:", "chunked")
		if v := field(head, "content-length:"); v != nil {
			length, _ = strconv.ParseInt(string(v), 10, 64)
		}
		if key := field(head, "sec-websocket-key:"); key != nil {
			r.Discard(len(head))
			serveWebSocket(c, r, key)
			return
		}
		r.Discard(len(head))
		if chunked {
			if _, err := io.Copy(io.Discard, httputil.NewChunkedReader(r)); err != nil {
				return
			}
			if _, err := r.Discard(2); err != nil { // the empty line after the last chunk
				return
			}
		} else if length > 0 {
			if _, err := io.CopyN(io.Discard, r, length); err != nil {
				return
			}
		}
		if _, err := c.Write(answer); err != nil || closing {
			return
		}
	}
}

// peekHead waits for a whole request head and returns it without consuming it.
func peekHead(r *bufio.Reader) ([]byte, error) {
	for {
		b, _ := r.Peek(r.Buffered())
		if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
			return b[:i+4], nil
		}
		if _, err := r.Peek(len(b) + 1); err != nil {
			return nil, err
		}
	}
}

// field finds the value of the field whose name, lower case and with its colon, is given; nil if there is none.
func field(head []byte, name string) []byte {
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		if len(line) >= len(name) && line[len(name)-1] == ':' && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return bytes.TrimSpace(line[len(name):])
		}
	}
	return nil
}

func hasField(head []byte, name, value string) bool {
	return bytes.EqualFold(field(head, name), []byte(value))
}

// serveWebSocket accepts (RFC 6455 4.2.2) and sends every message back. It knows what the benchmark's client sends: whole
// masked messages below 126 bytes.
func serveWebSocket(c net.Conn, r *bufio.Reader, key []byte) {
	sum := sha1.Sum(append(bytes.Clone(key), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	_, err := fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	var b [2 + 125]byte
	for err == nil {
		var head [6]byte // two bytes and the mask
		if _, err = io.ReadFull(r, head[:]); err != nil {
			return
		}
		n := int(head[1] & 0x7f)
		if n > 125 {
			return
		}
		if _, err = io.ReadFull(r, b[2:2+n]); err != nil {
			return
		}
		for i := range n {
			b[2+i] ^= head[2+i%4]
		}
		b[0], b[1] = head[0], byte(n)
		_, err = c.Write(b[:2+n])
	}
}

// serveRecords answers each TLS record, whatever is in it, with the next number of bytes, and closes after the last.
func serveRecords(c net.Conn, answers ...int) {
	defer c.Close()
	for _, n := range answers {
		var header [5]byte
		if _, err := io.ReadFull(c, header[:]); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint16(header[3:]))); err != nil {
			return
		}
		for n > 0 {
			m, err := c.Write(filler[:min(n, len(filler))])
			if err != nil {
				return
			}
			n -= m
		}
	}
}

var filler [256 << 10]byte
