// Package sniff recognises what a client speaks from the first bytes it sent, without consuming them.
//
// Everything here is a pure function of a byte slice. A function that cannot decide yet says how many bytes it must see
// before it is worth asking again; it never guesses, so that a hello cut at an unlucky place cannot slip onto another route.
package sniff

// Kind is what the first bytes of a connection announce.
type Kind uint8

const (
	// Undecided needs more bytes.
	Undecided Kind = iota
	// TLS is a handshake record; ClientHello reads on.
	TLS
	// SSLv2 begins with 0x80, as hellos of before 1996 do. It belongs to TLS, where its handshake fails.
	SSLv2
	// Postgres is the SSLRequest message, eight bytes after which the client waits for one byte.
	Postgres
	// HTTP2 is the connection preface of HTTP/2 in clear text with prior knowledge (RFC 9113 3.4).
	HTTP2
	// Other is anything else: HTTP/1 or a protocol that only its server understands.
	Other
)

// String names the kind for logs.
func (k Kind) String() string {
	return [...]string{"undecided", "tls", "sslv2", "postgres", "http2", "other"}[k]
}

const (
	// PostgresSSLRequest is the whole message that Postgres clients send before TLS.
	PostgresSSLRequest = "\x00\x00\x00\x08\x04\xd2\x16\x2f"
	// HTTP2Preface is what an HTTP/2 client sends first.
	HTTP2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
)

// Of tells what b, the first bytes of a connection, announces. While b is a true prefix of several possibilities the kind is
// Undecided and need is the least length of b with which the answer can be another; otherwise need is 0.
func Of(b []byte) (k Kind, need int) {
	if len(b) == 0 {
		return Undecided, 1
	}
	switch b[0] {
	case recordHandshake:
		return TLS, 0
	case 0x80:
		return SSLv2, 0
	case PostgresSSLRequest[0]:
		return literal(b, PostgresSSLRequest, Postgres)
	case HTTP2Preface[0]:
		return literal(b, HTTP2Preface, HTTP2)
	}
	return Other, 0
}

func literal(b []byte, want string, k Kind) (Kind, int) {
	n := min(len(b), len(want))
	if string(b[:n]) != want[:n] {
		return Other, 0
	}
	if n < len(want) {
		// One more byte may already show a difference: "PO" is not the preface, and its sender may be waiting.
		return Undecided, n + 1
	}
	return k, 0
}
