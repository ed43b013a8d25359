package accesslog

import (
	"crypto/tls"
	"math"
	"net/textproto"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"sluice/internal/core/secret"
	"sluice/internal/core/static"
	"sluice/internal/observe/record"
)

// Names of the fields that other formats ask about.
const (
	fieldClientHost            = "ClientHost"
	fieldClientUsername        = "ClientUsername"
	fieldStartUTC              = "StartUTC"
	fieldStartLocal            = "StartLocal"
	fieldRequestMethod         = "RequestMethod"
	fieldRequestPath           = "RequestPath"
	fieldRequestProtocol       = "RequestProtocol"
	fieldRequestCount          = "RequestCount"
	fieldDownstreamStatus      = "DownstreamStatus"
	fieldDownstreamContentSize = "DownstreamContentSize"
	fieldRouterName            = "RouterName"
	fieldServiceURL            = "ServiceURL"
	fieldDuration              = "Duration"
)

// field is a field of a JSON line: its name, and what writes name and value, or nothing where there is none.
type field struct {
	name  string
	write func(n *line, l *layout, name string)
}

// fields are all fields, by name. Those of Traefik keep its names, units and texts for nothing ("-" where it has one); ours
// are Error, ErrorSide, ErrorReason, EndedBy, Phase, ConnectionType and SNI.
var fields = []field{
	{"ClientAddr", func(n *line, _ *layout, name string) { n.addrPort(name) }},
	{fieldClientHost, func(n *line, _ *layout, name string) {
		if h := n.clientHost(); h != "" {
			n.text(name, h)
			return
		}
		n.key(name)
		n.b = append(n.b, '"')
		n.b = appendAddr(n.b, n.r.Client.Addr())
		n.b = append(n.b, '"')
	}},
	{"ClientPort", func(n *line, _ *layout, name string) {
		if !n.r.Client.IsValid() {
			n.text(name, "-")
			return
		}
		n.key(name)
		n.b = append(n.b, '"')
		n.b = strconv.AppendUint(n.b, uint64(n.r.Client.Port()), 10)
		n.b = append(n.b, '"')
	}},
	{fieldClientUsername, func(n *line, _ *layout, name string) { n.textOr(name, n.r.User) }},
	{"ConnectionType", func(n *line, _ *layout, name string) {
		if n.connection() {
			n.text(name, n.kind())
		}
	}},
	{fieldDownstreamContentSize, func(n *line, _ *layout, name string) { n.int(name, n.r.BytesOut) }},
	{fieldDownstreamStatus, request(func(n *line, name string) { n.int(name, int64(n.r.Status)) })},
	{fieldDuration, func(n *line, _ *layout, name string) { n.int(name, int64(n.r.Duration)) }},
	{"EndedBy", func(n *line, _ *layout, name string) {
		if n.connection() {
			n.text(name, n.r.EndedBy.String())
		}
	}},
	{"Error", func(n *line, _ *layout, name string) {
		if f := n.r.Fault; f != nil {
			n.text(name, f.Kind.Code())
		}
	}},
	{"ErrorReason", func(n *line, _ *layout, name string) {
		if f := n.r.Fault; f != nil {
			n.text(name, f.Error())
		}
	}},
	{"ErrorSide", func(n *line, _ *layout, name string) {
		if f := n.r.Fault; f != nil {
			n.text(name, f.Kind.Side().String())
		}
	}},
	{"GzipRatio", func(n *line, _ *layout, name string) {
		if in, out := n.r.OriginBytes, n.r.BytesOut; in != out && out > 0 {
			n.key(name)
			n.b = strconv.AppendFloat(n.b, math.Round(float64(in)/float64(out)*1e6)/1e6, 'f', -1, 64)
		}
	}},
	{"OriginContentSize", request(func(n *line, name string) { n.int(name, n.r.OriginBytes) })},
	{"OriginDuration", func(n *line, _ *layout, name string) { n.int(name, int64(n.r.OriginDuration)) }},
	{"OriginStatus", request(func(n *line, name string) { n.int(name, int64(n.r.OriginStatus)) })},
	{"Overhead", func(n *line, _ *layout, name string) { n.int(name, int64(n.r.Duration-n.r.OriginDuration)) }},
	{"Phase", func(n *line, _ *layout, name string) {
		if n.connection() || n.r.Fault != nil {
			n.text(name, n.r.Phase.String())
		}
	}},
	{"RequestAddr", request(func(n *line, name string) { n.text(name, n.r.Host) })},
	{"RequestContentSize", func(n *line, _ *layout, name string) { n.int(name, n.r.BytesIn) }},
	{fieldRequestCount, request(func(n *line, name string) { n.int(name, int64(n.count)) })},
	{"RequestHost", request(func(n *line, name string) {
		host, _ := hostPort(n.r.Host)
		n.text(name, host)
	})},
	{fieldRequestMethod, request(func(n *line, name string) { n.text(name, n.r.Method) })},
	{fieldRequestPath, func(n *line, l *layout, name string) {
		if n.connection() {
			return
		}
		n.key(name)
		n.b = append(n.b, '"')
		n.b = appendJSON(n.b, n.r.Path)
		if n.r.Query != "" && l.query {
			n.b = append(n.b, '?')
			n.b = appendJSON(n.b, n.r.Query)
		}
		n.b = append(n.b, '"')
	}},
	{"RequestPort", request(func(n *line, name string) {
		_, port := hostPort(n.r.Host)
		n.textOr(name, port)
	})},
	{fieldRequestProtocol, request(func(n *line, name string) { n.text(name, n.r.Proto) })},
	{"RequestScheme", request(func(n *line, name string) {
		if n.r.Secure {
			n.text(name, "https")
		} else {
			n.text(name, "http")
		}
	})},
	{"RetryAttempts", request(func(n *line, name string) { n.int(name, int64(n.r.Retries)) })},
	{fieldRouterName, func(n *line, _ *layout, name string) { n.textIf(name, n.r.Router) }},
	{"SNI", func(n *line, _ *layout, name string) { n.textIf(name, n.r.SNI) }},
	{"ServiceAddr", func(n *line, _ *layout, name string) { n.textIf(name, serverAddress(n.r.Server)) }},
	{"ServiceName", func(n *line, _ *layout, name string) { n.textIf(name, n.r.Service) }},
	{fieldServiceURL, func(n *line, _ *layout, name string) { n.textIf(name, n.r.Server) }},
	{"SpanId", func(n *line, _ *layout, name string) { n.textIf(name, n.r.SpanID) }},
	{fieldStartLocal, func(n *line, _ *layout, name string) { n.time(name, n.r.Start.Local(), stamp) }},
	{fieldStartUTC, func(n *line, _ *layout, name string) { n.time(name, n.r.Start.UTC(), stamp) }},
	{"TLSCipher", func(n *line, _ *layout, name string) {
		if n.r.TLS.Suite != 0 {
			n.text(name, suiteName(n.r.TLS.Suite))
		}
	}},
	{"TLSClientSubject", func(n *line, _ *layout, name string) { n.textIf(name, n.r.TLS.Subject) }},
	{"TLSVersion", func(n *line, _ *layout, name string) {
		if n.r.TLS.Version != 0 {
			n.text(name, tlsVersion(n.r.TLS.Version))
		}
	}},
	{"TraceId", func(n *line, _ *layout, name string) { n.textIf(name, n.r.TraceID) }},
	{"entryPointName", func(n *line, _ *layout, name string) { n.textIf(name, n.r.EntryPoint) }},
	{"span_id", func(n *line, _ *layout, name string) { n.textIf(name, n.r.SpanID) }},
	{"trace_id", func(n *line, _ *layout, name string) { n.textIf(name, n.r.TraceID) }},
}

// suiteNames are made once: crypto/tls builds its whole list for each question.
var suiteNames = sync.OnceValue(func() map[uint16]string {
	out := map[uint16]string{}
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		out[s.ID] = s.Name
	}
	return out
})

func suiteName(id uint16) string {
	if name, ok := suiteNames()[id]; ok {
		return name
	}
	return tls.CipherSuiteName(id)
}

// request is for fields that connections do not have.
func request(write func(n *line, name string)) func(*line, *layout, string) {
	return func(n *line, _ *layout, name string) {
		if !n.connection() {
			write(n, name)
		}
	}
}

// json writes the line as an object. The keys level, msg and time are always there, as in Traefik's.
func (n *line) json(l *layout) {
	n.b = append(n.b, '{')
	for _, f := range l.fields {
		f.write(n, l, f.name)
	}
	if l.headers() {
		n.headers("downstream_", n.r.Response, l)
		n.headers("origin_", n.r.Origin, l)
		n.headers("request_", n.r.Request, l)
	}
	n.text("level", "info")
	n.text("msg", "")
	n.time("time", n.r.Start.Add(n.r.Duration).Local(), time.RFC3339)
	n.b = append(n.b, '}')
}

func (n *line) key(name string) {
	if !n.first {
		n.b = append(n.b, ',')
	}
	n.first = false
	n.b = append(n.b, '"')
	n.b = append(n.b, name...)
	n.b = append(n.b, `":`...)
}

func (n *line) int(name string, v int64) {
	n.key(name)
	n.b = strconv.AppendInt(n.b, v, 10)
}

func (n *line) text(name, v string) {
	n.key(name)
	n.b = append(n.b, '"')
	n.b = appendJSON(n.b, v)
	n.b = append(n.b, '"')
}

// textOr writes a dash for nothing, textIf leaves the field out.
func (n *line) textOr(name, v string) {
	if v == "" {
		v = "-"
	}
	n.text(name, v)
}

func (n *line) textIf(name, v string) {
	if v != "" {
		n.text(name, v)
	}
}

func (n *line) time(name string, t time.Time, format string) {
	n.key(name)
	n.b = append(n.b, '"')
	n.b = t.AppendFormat(n.b, format)
	n.b = append(n.b, '"')
}

func (n *line) addrPort(name string) {
	n.key(name)
	n.b = append(n.b, '"')
	n.b = appendAddrPort(n.b, n.r.Client)
	n.b = append(n.b, '"')
}

// maxHeaders bounds how many different fields of one message a line shows.
const maxHeaders = 128

// headers writes the fields of a message, those of one name joined by commas.
func (n *line) headers(prefix string, f record.Fields, l *layout) {
	if f == nil {
		return
	}
	count := min(f.Len(), maxHeaders)
	for i := range count {
		name, _ := f.Field(i)
		name = textproto.CanonicalMIMEHeaderKey(name)
		mode := l.mode(name)
		if mode == static.FieldDrop || before(f, i, name) {
			continue
		}
		if !n.first {
			n.b = append(n.b, ',')
		}
		n.first = false
		n.b = append(n.b, '"')
		n.b = append(n.b, prefix...)
		n.b = appendJSON(n.b, name)
		n.b = append(n.b, `":"`...)
		if mode == static.FieldRedact {
			n.b = append(n.b, secret.Redacted...)
		} else {
			for j := i; j < count; j++ {
				other, value := f.Field(j)
				if j > i && textproto.CanonicalMIMEHeaderKey(other) != name {
					continue
				}
				if j > i {
					n.b = append(n.b, ',')
				}
				n.b = appendJSON(n.b, value)
			}
		}
		n.b = append(n.b, '"')
	}
}

// before reports whether a field stands in the list before position i already.
func before(f record.Fields, i int, name string) bool {
	for j := range i {
		if other, _ := f.Field(j); len(other) == len(name) && textproto.CanonicalMIMEHeaderKey(other) == name {
			return true
		}
	}
	return false
}

// appendJSON appends the inside of a JSON string (RFC 8259 section 7). Bytes that are no UTF-8 become U+FFFD, as
// encoding/json has it.
func appendJSON(b []byte, s string) []byte {
	if len(s) > maxText {
		s = s[:maxText]
	}
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c != 0x7f && c < utf8.RuneSelf {
			i++
			continue
		}
		size, replacement := 1, ""
		if c >= utf8.RuneSelf {
			var r rune
			if r, size = utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || size > 1 {
				if r != '\u2028' && r != '\u2029' && r >= 0xa0 {
					i += size
					continue
				}
			} else {
				replacement = `\ufffd`
			}
			if replacement == "" {
				replacement = string([]byte{'\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15]})
			}
		}
		b = append(b, s[from:i]...)
		switch {
		case replacement != "":
			b = append(b, replacement...)
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i += size
		from = i
	}
	return append(b, s[from:]...)
}
