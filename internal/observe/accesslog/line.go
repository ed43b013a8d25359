package accesslog

import (
	"crypto/tls"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"sluice/internal/observe/record"
)

// usualLine is how long lines are at most as a rule, in bytes.
const usualLine = 1 << 10

// maxText bounds each text of a line that comes from a client, in bytes.
const maxText = 8 << 10

// line is one line in the making.
type line struct {
	b     []byte
	r     *record.Record
	count uint64 // which request of the process it is; zero for connections
	first bool   // no JSON field has been written yet
}

func (n *line) start(r *record.Record, count uint64) {
	if cap(n.b) > 16*usualLine {
		n.b = nil // one long line is no reason to keep its memory
	}
	n.b, n.r, n.count, n.first = n.b[:0], r, count, true
}

// connection reports whether the record is of a connection, not of a request.
func (n *line) connection() bool { return n.r.Method == "" && n.r.Status == 0 }

// clientHost is who the request is for: what trusted proxies say, else the peer.
func (n *line) clientHost() string {
	if v, ok := record.Value(n.r.Request, "X-Forwarded-For"); ok && v != "" {
		return v
	}
	return ""
}

// hostPort splits an authority. A missing port is empty.
func hostPort(authority string) (host, port string) {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.IndexByte(authority[i:], ']') >= 0 {
		return authority, ""
	}
	return authority[:i], authority[i+1:]
}

// serverAddress is the part of a server's URL that names the machine.
func serverAddress(url string) string {
	if _, rest, ok := strings.Cut(url, "://"); ok {
		url, _, _ = strings.Cut(rest, "/")
	}
	return url
}

// kind words what a connection without a request was.
func (n *line) kind() string {
	switch {
	case n.r.UDP:
		return "UDP"
	case n.r.Passthrough:
		return "TLS-PASSTHROUGH"
	case n.r.SNI != "":
		return "TLS"
	default:
		return "TCP"
	}
}

func appendAddr(b []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return append(b, '-')
	}
	return a.Unmap().AppendTo(b)
}

func appendAddrPort(b []byte, a netip.AddrPort) []byte {
	if !a.IsValid() {
		return append(b, '-')
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).AppendTo(b)
}

// tlsVersion is the version without its name, as 1.3.
func tlsVersion(v uint16) string {
	return strings.TrimPrefix(tls.VersionName(v), "TLS ")
}

const hexDigits = "0123456789abcdef"

// appendEscaped appends text within quotes of a line: quotes and backslashes get a backslash, and control characters become
// \xNN, so that no text can end its quotes or its line.
func appendEscaped(b []byte, s string) []byte {
	if len(s) > maxText {
		s = s[:maxText]
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c == 0x7f:
			b = append(b, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		default:
			b = append(b, c)
		}
	}
	return b
}

// appendBare appends text that stands between spaces. What could be taken for another column becomes \xNN; nothing is a dash.
func appendBare(b []byte, s string) []byte {
	if s == "" {
		return append(b, '-')
	}
	if len(s) > maxText {
		s = s[:maxText]
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c <= ' ' || c == 0x7f:
			b = append(b, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		default:
			b = append(b, c)
		}
	}
	return b
}

func appendQuoted(b []byte, s string) []byte {
	if s == "" {
		return append(b, `"-"`...)
	}
	b = append(b, '"')
	b = appendEscaped(b, s)
	return append(b, '"')
}

// common writes the common format; generic leaves out what follows the user agent.
func (n *line) common(l *layout, generic bool) {
	r := n.r
	b := n.b
	if h := n.clientHost(); h != "" && l.keeps(fieldClientHost) {
		b = appendEscaped(b, h) // with the spaces of a list, as parsers know it
	} else if l.keeps(fieldClientHost) {
		b = appendAddr(b, r.Client.Addr())
	} else {
		b = append(b, '-')
	}
	b = append(b, " - "...)
	b = appendBare(b, l.ifKept(fieldClientUsername, r.User))
	b = append(b, " ["...)
	switch {
	case l.keeps(fieldStartUTC):
		b = r.Start.UTC().AppendFormat(b, clock)
	case l.keeps(fieldStartLocal):
		b = r.Start.Local().AppendFormat(b, clock)
	default:
		b = append(b, '-')
	}
	b = append(b, `] "`...)
	if n.connection() {
		b = append(b, n.kind()...)
		b = append(b, ' ')
		b = appendBare(b, r.SNI)
		b = append(b, " -"...)
	} else {
		b = appendBare(b, l.ifKept(fieldRequestMethod, r.Method))
		b = append(b, ' ')
		if l.keeps(fieldRequestPath) {
			b = appendEscaped(b, r.Path)
			if r.Query != "" && l.query {
				b = append(b, '?')
				b = appendEscaped(b, r.Query)
			}
		} else {
			b = append(b, '-')
		}
		b = append(b, ' ')
		b = appendBare(b, l.ifKept(fieldRequestProtocol, r.Proto))
	}
	b = append(b, `" `...)
	b = n.number(b, l.keeps(fieldDownstreamStatus), int64(r.Status))
	b = append(b, ' ')
	b = n.number(b, l.keeps(fieldDownstreamContentSize), r.BytesOut)
	b = append(b, ' ')
	b = appendQuoted(b, l.requestHeader(r, "Referer"))
	b = append(b, ' ')
	b = appendQuoted(b, l.requestHeader(r, "User-Agent"))
	if !generic {
		b = append(b, ' ')
		b = n.number(b, l.keeps(fieldRequestCount), int64(n.count))
		b = append(b, ' ')
		b = appendQuoted(b, l.ifKept(fieldRouterName, r.Router))
		b = append(b, ' ')
		b = appendQuoted(b, l.ifKept(fieldServiceURL, r.Server))
		b = append(b, ' ')
		if l.keeps(fieldDuration) {
			b = strconv.AppendInt(b, r.Duration.Milliseconds(), 10)
		} else {
			b = append(b, '-')
		}
		b = append(b, "ms"...)
	}
	n.b = b
}

// clock is the time of the common log format.
const clock = "02/Jan/2006:15:04:05 -0700"

func (n *line) number(b []byte, kept bool, v int64) []byte {
	if !kept {
		return append(b, '-')
	}
	return strconv.AppendInt(b, v, 10)
}

// stamp is the time of JSON fields.
const stamp = time.RFC3339Nano
