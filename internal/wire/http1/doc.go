// Package http1 speaks HTTP/1.0 and HTTP/1.1 (RFC 9112) on both sides: the server loop of a client connection and the
// connection to a server. It is stricter than most of its kind: whatever two parsers could read in two ways is refused,
// and a message is always written from its parsed form with exactly one framing.
//
// The codec is shared by both sides. A head is parsed in one pass over a buffer into views of that buffer (requestHead,
// responseHead); parsing takes up where it stopped, line by line, so that a head may arrive in any pieces and costs time
// in proportion to its bytes. Bodies are cut out of what a connection delivered by a stream, which does no I/O. Writing
// appends to byte slices.
package http1
