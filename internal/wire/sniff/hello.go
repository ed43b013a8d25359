package sniff

import "iter"

// Hello is what a ClientHello says, as far as routing and logs care.
type Hello struct {
	// SNI is the server name as rules see it: lower case, one final dot removed, empty if none was sent. It is ASCII without
	// spaces and control characters and at most 255 bytes long; it may still be no sensible host name.
	SNI string
	// ALPN holds the protocols offered, in the client's order; nil if the extension is absent.
	ALPN []string
	// Version is the legacy_version field: 0x0303 for TLS 1.2 and all later versions.
	Version uint16
	// ECH is set if the hello is an encrypted one: SNI is then the outer, public name.
	ECH bool
	// EarlyData is set if 0-RTT data follows.
	EarlyData bool

	ciphers    []byte
	versions   []byte
	extensions []byte
}

// CipherSuites yields the suites offered. It reads the bytes that ClientHello was given: use it while they are unchanged.
func (h *Hello) CipherSuites() iter.Seq[uint16] { return pairs(h.ciphers) }

// Versions yields the supported_versions (RFC 8446 4.2.1), nothing for a client of TLS 1.2 or earlier. It reads the bytes
// that ClientHello was given.
func (h *Hello) Versions() iter.Seq[uint16] { return pairs(h.versions) }

// Extensions yields the type and data of each extension in order. It reads the bytes that ClientHello was given.
func (h *Hello) Extensions() iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		rest := h.extensions
		for len(rest) > 0 {
			// parse has checked all lengths.
			kind, size := be16(rest), int(be16(rest[2:]))
			if !yield(kind, rest[4:4+size]) {
				return
			}
			rest = rest[4+size:]
		}
	}
}

// Offers reports whether the client offered the protocol.
func (h *Hello) Offers(protocol string) bool {
	for _, p := range h.ALPN {
		if p == protocol {
			return true
		}
	}
	return false
}

func pairs(b []byte) iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		for ; len(b) >= 2; b = b[2:] {
			if !yield(be16(b)) {
				return
			}
		}
	}
}

func be16(b []byte) uint16 { return uint16(b[0])<<8 | uint16(b[1]) }

const (
	extServerName        = 0
	extALPN              = 16
	extPreSharedKey      = 41
	extEarlyData         = 42
	extSupportedVersions = 43
	extECH               = 0xfe0d

	maxServerName = 255
)

// parse reads the body of a ClientHello (RFC 8446 4.1.2, RFC 5246 7.4.1.2).
func parse(msg []byte) (h Hello, err error) {
	const fixed = 2 + 32 // legacy_version, random
	if len(msg) < fixed {
		return h, ErrTruncated
	}
	h.Version = be16(msg)
	rest := msg[fixed:]

	sessionID, rest, ok := prefixed8(rest)
	if !ok {
		return h, ErrTruncated
	}
	if len(sessionID) > 32 {
		return h, ErrSessionID
	}
	if h.ciphers, rest, ok = prefixed16(rest); !ok {
		return h, ErrTruncated
	}
	if len(h.ciphers) == 0 || len(h.ciphers)%2 != 0 {
		return h, ErrCipherSuites
	}
	compression, rest, ok := prefixed8(rest)
	if !ok {
		return h, ErrTruncated
	}
	if len(compression) == 0 {
		return h, ErrCompression
	}
	if len(rest) == 0 {
		return h, nil // hellos before TLS 1.2 may end here
	}
	if h.extensions, rest, ok = prefixed16(rest); !ok {
		return h, ErrTruncated
	}
	if len(rest) > 0 {
		return h, ErrTrailing
	}
	return h, h.readExtensions()
}

func (h *Hello) readExtensions() (err error) {
	var seen seenSet
	last := uint16(0)
	for rest := h.extensions; len(rest) > 0; {
		if len(rest) < 4 {
			return ErrTruncated
		}
		kind := be16(rest)
		data, after, ok := prefixed16(rest[2:])
		if !ok {
			return ErrTruncated
		}
		rest = after
		if !seen.add(kind) {
			return ErrDuplicate
		}
		if last == extPreSharedKey {
			return ErrAfterPSK
		}
		last = kind
		switch kind {
		case extServerName:
			h.SNI, err = serverName(data)
		case extALPN:
			h.ALPN, err = protocols(data)
		case extSupportedVersions:
			if h.versions, data, ok = prefixed8(data); !ok || len(data) > 0 || len(h.versions) == 0 || len(h.versions)%2 != 0 {
				err = ErrVersionsField
			}
		case extEarlyData:
			h.EarlyData = true
		case extECH:
			h.ECH = true
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// serverName reads the server_name extension (RFC 6066 3): a list with at most one name of each type, of which only host_name
// is known. Other types have the same shape and are passed over.
func serverName(data []byte) (string, error) {
	list, rest, ok := prefixed16(data)
	if !ok || len(rest) > 0 || len(list) == 0 {
		return "", ErrServerName
	}
	var host []byte
	for len(list) > 0 {
		kind := list[0]
		name, rest, ok := prefixed16(list[1:])
		if !ok {
			return "", ErrServerName
		}
		list = rest
		if kind != 0 {
			continue
		}
		if host != nil || len(name) == 0 || len(name) > maxServerName {
			return "", ErrServerName
		}
		host = name
	}
	var buf [maxServerName]byte
	for i, c := range host {
		switch {
		case c <= ' ' || c >= 0x7f:
			return "", ErrServerName
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	n := len(host)
	if n > 1 && buf[n-1] == '.' {
		n--
	}
	return string(buf[:n]), nil
}

// protocols reads the application_layer_protocol_negotiation extension (RFC 7301 3.1).
func protocols(data []byte) ([]string, error) {
	list, rest, ok := prefixed16(data)
	if !ok || len(rest) > 0 || len(list) == 0 {
		return nil, ErrProtocols
	}
	n := 0
	for rest := list; len(rest) > 0; n++ {
		var name []byte
		if name, rest, ok = prefixed8(rest); !ok || len(name) == 0 {
			return nil, ErrProtocols
		}
	}
	names := make([]string, 0, n)
	for len(list) > 0 {
		var name []byte
		name, list, _ = prefixed8(list)
		names = append(names, protocolName(name))
	}
	return names, nil
}

// protocolName avoids the copy for the names that nearly every client sends.
func protocolName(b []byte) string {
	switch string(b) {
	case "h2":
		return "h2"
	case "http/1.1":
		return "http/1.1"
	case "http/1.0":
		return "http/1.0"
	case "acme-tls/1":
		return "acme-tls/1"
	}
	return string(b)
}

func prefixed8(b []byte) (value, rest []byte, ok bool) {
	if len(b) < 1 || len(b) < 1+int(b[0]) {
		return nil, nil, false
	}
	n := 1 + int(b[0])
	return b[1:n:n], b[n:], true
}

func prefixed16(b []byte) (value, rest []byte, ok bool) {
	if len(b) < 2 || len(b) < 2+int(be16(b)) {
		return nil, nil, false
	}
	n := 2 + int(be16(b))
	return b[2:n:n], b[n:], true
}

// seenSet remembers extension types. Real hellos have fewer than its small part holds; a hostile one with thousands goes to a
// set of bits, so that its cost stays in proportion.
type seenSet struct {
	small [48]uint16
	n     int
	bits  []uint64
}

func (s *seenSet) add(kind uint16) bool {
	if s.bits == nil {
		for _, k := range s.small[:s.n] {
			if k == kind {
				return false
			}
		}
		if s.n < len(s.small) {
			s.small[s.n] = kind
			s.n++
			return true
		}
		s.bits = make([]uint64, 1<<16/64)
		for _, k := range s.small {
			s.bits[k/64] |= 1 << (k % 64)
		}
	}
	if s.bits[kind/64]&(1<<(kind%64)) != 0 {
		return false
	}
	s.bits[kind/64] |= 1 << (kind % 64)
	return true
}
