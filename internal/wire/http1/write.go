package http1

import (
	"net/http"
	"strconv"

	"sluice/internal/wire/httpmsg"
)

// appendField appends one field line. Whatever a name or a value was made of, it stays one line (RFC 9112 section 11.1):
// control characters in a value become spaces, a field whose name is no token is left out.
func appendField(b []byte, f *httpmsg.Field) []byte {
	if f.ID == httpmsg.HdrOther && !validName(f.Name) {
		return b
	}
	b = append(b, f.Name...)
	b = append(b, ':', ' ')
	from := len(b)
	b = append(b, f.Value...)
	for {
		k := controlAt(b[from:])
		if k < 0 {
			break
		}
		if from += k; b[from] != '\t' {
			b[from] = ' '
		}
		from++
	}
	return append(b, '\r', '\n')
}

func validName(name httpmsg.View) bool {
	for _, c := range name {
		if !isToken[c] {
			return false
		}
	}
	return len(name) > 0
}

// appendFields appends the fields of h whose names are not in skip.
func appendFields(b []byte, h *httpmsg.Header, skip httpmsg.Set) []byte {
	for i := range h.Len() {
		if f := h.At(i); !skip.Has(f.ID) {
			b = appendField(b, f)
		}
	}
	return b
}

// appendLength appends a canonical Content-Length.
func appendLength(b []byte, n int64) []byte {
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, n, 10)
	return append(b, '\r', '\n')
}

const chunkedField = "Transfer-Encoding: chunked\r\n"

// statusLines has the status lines of all registered statuses.
var statusLines = func() (t [600]string) {
	for s := range t {
		if text := http.StatusText(s); text != "" {
			t[s] = "HTTP/1.1 " + strconv.Itoa(s) + " " + text + "\r\n"
		}
	}
	return t
}()

// appendStatus appends the status line. The version is ours, whatever the client's was (RFC 9110 section 2.5).
func appendStatus(b []byte, status int) []byte {
	if status < len(statusLines) && statusLines[status] != "" {
		return append(b, statusLines[status]...)
	}
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	return append(b, ' ', '\r', '\n')
}
