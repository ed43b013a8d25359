package middleware

import (
	"bytes"
	"crypto/sha256"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/wire/httpmsg"
)

// Fallback is what makes requests belong together where a source criterion says nothing.
type Fallback uint8

const (
	// ByPeer takes the peer's address.
	ByPeer Fallback = iota
	// ByHost takes the requested host.
	ByHost
)

// MaxKey is the longest key that Source.Key makes, in bytes.
const MaxKey = 256

// Source tells which requests belong together, as a sourceCriterion says. Immutable.
type Source struct {
	client Client
	header string // the name, empty if none
	host   bool
}

// CheckSource reports what NewSource would refuse; key is the path of the criterion below the middleware.
func CheckSource(key string, c *dynamic.SourceCriterion) diag.List {
	if c == nil {
		return nil
	}
	l := CheckIPStrategy(key+".ipStrategy", c.IPStrategy)
	ways := 0
	for _, set := range []bool{c.IPStrategy != nil, c.RequestHeaderName != "", c.RequestHost} {
		if set {
			ways++
		}
	}
	if ways > 1 {
		l.Add(Bad(key, "only one of ipStrategy, requestHeaderName and requestHost can be used", "remove the others"))
	}
	if n := c.RequestHeaderName; n != "" && !httpmsg.IsToken(httpmsg.Text(n)) {
		l.Add(Bad(key+".requestHeaderName", "this is no name of a header", ""))
	}
	return l
}

// NewSource builds a criterion; nil and one that says nothing become the fallback.
func NewSource(c *dynamic.SourceCriterion, f Fallback) (Source, error) {
	if err := Refusal(CheckSource("sourceCriterion", c)); err != nil {
		return Source{}, err
	}
	switch {
	case c == nil || c.IPStrategy == nil && c.RequestHeaderName == "" && !c.RequestHost:
		return Source{host: f == ByHost}, nil
	case c.RequestHost:
		return Source{host: true}, nil
	case c.RequestHeaderName != "":
		return Source{header: c.RequestHeaderName}, nil
	}
	client, err := NewClient(c.IPStrategy)
	return Source{client: client}, err
}

// Key appends what identifies the source of x's request to dst: an address of 4 or 16 bytes, a host in lower case with
// its port, or the first value of the header. It is empty where the request has none of it; such requests belong
// together. A long value is replaced by its hash, so a key has at most MaxKey bytes whatever clients send (INV-6). With
// room for them in dst, nothing is allocated.
func (s *Source) Key(x *httpmsg.Exchange, dst []byte) []byte {
	switch {
	case s.header != "":
		return appendBounded(dst, x.Req.Header.Lookup(s.header))
	case s.host:
		return appendHost(dst, x.Req.Host)
	}
	a, _ := s.client.Addr(x)
	// For grouping, a subnet counts with every strategy: a client has a whole one to choose addresses from.
	a = s.client.cut(a)
	switch {
	case a.Is4():
		b := a.As4()
		return append(dst, b[:]...)
	case a.Is6():
		b := a.As16()
		return append(dst, b[:]...)
	}
	return dst
}

func appendBounded(dst []byte, v httpmsg.View) []byte {
	if len(v) <= MaxKey {
		return append(dst, v...)
	}
	sum := sha256.Sum256(v)
	// No field value begins with NUL, so a hash is never the key of a short value.
	return append(append(dst, 0), sum[:]...)
}

// appendHost appends the host as one spelling of it, so that case or a final dot do not make another source.
func appendHost(dst []byte, host httpmsg.View) []byte {
	name, port := splitPort(host)
	if len(name)+len(port) >= MaxKey {
		return appendBounded(dst, host)
	}
	for _, c := range bytes.TrimSuffix(name, []byte{'.'}) {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	if len(port) > 0 {
		dst = append(append(dst, ':'), port...)
	}
	return dst
}
