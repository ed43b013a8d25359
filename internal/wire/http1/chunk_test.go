package http1

import (
	"fmt"
	"strings"
	"testing"

	"sluice/internal/wire/httpmsg"
)

// readStream feeds in to a stream in pieces that end at the given offsets and describes what came out.
func readStream(f framing, size int64, in string, ends ...int) string {
	var s stream
	s.begin(f, size, nil)
	var body strings.Builder
	from := 0
	for _, end := range append(ends, len(in)) {
		s.feed([]byte(in[from:end]))
		from = end
		for what := pieceData; what != pieceMore; {
			before := s
			isReady := s.ready()
			if s.chunks.left != before.chunks.left && before.chunks.state == chunkData {
				return "ready used up data"
			}
			var p []byte
			var reason string
			p, what, reason = s.take()
			if isReady == (what == pieceMore) && f != noBody {
				return fmt.Sprintf("ready %v before piece %d", isReady, what)
			}
			switch what {
			case pieceData:
				body.Write(p)
			case pieceBad:
				return "bad: " + reason
			case pieceEnd:
				if !s.ended() {
					return "end but not ended"
				}
				t := ""
				if h := s.trailer(); h != nil {
					for i := range h.Len() {
						t += fmt.Sprintf(" %s=%s", h.At(i).Name, h.At(i).Value)
					}
				}
				return fmt.Sprintf("%q%s rest %q", body.String(), t, string(s.in)+in[end:])
			}
		}
	}
	if s.ended() {
		return "ended without saying so"
	}
	return fmt.Sprintf("open after %q", body.String())
}

func TestStream(t *testing.T) {
	for _, c := range []struct {
		id   string
		f    framing
		size int64
		in   string
		want string
	}{
		{"counted", counted, 3, "abcGET", `"abc" rest "GET"`},
		{"FRM-20 counted cut", counted, 4, "abc", `open after "abc"`},
		{"none", noBody, 0, "GET", `"" rest "GET"`},
		{"to the close", toClose, 0, "abc", `open after "abc"`},
		{"chunked", chunked, 0, "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nGET", `"abcde" rest "GET"`},
		{"empty", chunked, 0, "0\r\n\r\n", `"" rest ""`},
		{"many zeros", chunked, 0, "000003\r\nabc\r\n000\r\n\r\n", `"abc" rest ""`},
		{"hexadecimal", chunked, 0, "1a\r\n" + strings.Repeat("x", 26) + "\r\nA\r\n0123456789\r\n0\r\n\r\n", `"` + strings.Repeat("x", 26) + `0123456789" rest ""`},
		{"FRM-16 0x", chunked, 0, "0x5\r\nabcde\r\n", "bad: "},
		{"FRM-16 plus", chunked, 0, "+5\r\nabcde\r\n", "bad: "},
		{"FRM-16 minus", chunked, 0, "-1\r\n", "bad: "},
		{"FRM-16 plus zero", chunked, 0, "+0\r\n\r\n", "bad: "},
		{"FRM-16 underscore", chunked, 0, "5_0\r\n", "bad: "},
		{"FRM-16 space before", chunked, 0, " 5\r\nabcde\r\n", "bad: "},
		{"FRM-16 space behind", chunked, 0, "5 \r\nabcde\r\n", "bad: "},
		{"FRM-16 empty", chunked, 0, "\r\n", "bad: "},
		{"FRM-16 empty before an extension", chunked, 0, ";a\r\n", "bad: "},
		{"FRM-16 17 digits", chunked, 0, "00000000000000005\r\nabcde\r\n", "bad: "},
		{"FRM-16 overflow", chunked, 0, "8000000000000000\r\n", "bad: "},
		{"FRM-16 all ones", chunked, 0, "ffffffffffffffff\r\n", "bad: "},
		{"FRM-16 largest", chunked, 0, "7fffffffffffffff\r\nabc", `open after "abc"`},
		{"FRM-12 chunk line", chunked, 0, "5\rabcde\r\n", "bad: "},
		{"FRM-13 size", chunked, 0, "5\nabcde\r\n0\r\n\r\n", "bad: "},
		{"FRM-13 data", chunked, 0, "5\r\nabcde\n0\r\n\r\n", "bad: "},
		{"FRM-13 last", chunked, 0, "0\n\r\n", "bad: "},
		{"FRM-13 trailer", chunked, 0, "0\r\nA: b\n\r\n", "bad: "},
		{"FRM-13 end", chunked, 0, "0\r\n\n", "bad: "},
		{"FRM-17 token", chunked, 0, "3;a=b\r\nabc\r\n0\r\n\r\n", `"abc" rest ""`},
		{"FRM-17 name only", chunked, 0, "3;a;b\r\nabc\r\n0;c\r\n\r\n", `"abc" rest ""`},
		{"FRM-17 quoted", chunked, 0, "3;a=\"b;\\\" \t\xc3\xa4\"\r\nabc\r\n0\r\n\r\n", `"abc" rest ""`},
		{"FRM-17 white space", chunked, 0, "3 ; a = b ; c=\"d\" ;e\r\nabc\r\n0\r\n\r\n", `"abc" rest ""`},
		{"FRM-17 line too long", chunked, 0, "3;" + strings.Repeat("a", 256) + "\r\nabc\r\n", "bad: chunk extensions too long"},
		{"FRM-17 longest line", chunked, 0, "3;" + strings.Repeat("a", 255) + "\r\nabc\r\n0\r\n\r\n", `"abc" rest ""`},
		{"FRM-17 message too long", chunked, 0, strings.Repeat("1;"+strings.Repeat("a", 200)+"\r\nx\r\n", 21) + "0\r\n\r\n", "bad: chunk extensions too long"},
		{"FRM-18 bare semicolon", chunked, 0, "3;\r\nabc\r\n", "bad: "},
		{"FRM-18 two semicolons", chunked, 0, "3;;a\r\nabc\r\n", "bad: "},
		{"FRM-18 trailing semicolon", chunked, 0, "3;a=b;\r\nabc\r\n", "bad: "},
		{"FRM-18 no value", chunked, 0, "3;a=\r\nabc\r\n", "bad: "},
		{"FRM-18 bad token", chunked, 0, "3;a@b\r\nabc\r\n", "bad: "},
		{"FRM-18 bad value", chunked, 0, "3;a=b@\r\nabc\r\n", "bad: "},
		{"FRM-18 NUL", chunked, 0, "3;a\x00\r\nabc\r\n", "bad: "},
		{"FRM-18 NUL in quotes", chunked, 0, "3;a=\"\x00\"\r\nabc\r\n", "bad: "},
		{"FRM-18 LF", chunked, 0, "3;a\nabc\r\n", "bad: "},
		{"FRM-18 LF in quotes", chunked, 0, "3;a=\"\n\"\r\nabc\r\n", "bad: "},
		{"FRM-18 CR in quotes", chunked, 0, "3;a=\"\r\n\"\r\nabc\r\n", "bad: "},
		{"FRM-18 escaped CR", chunked, 0, "3;a=\"\\\r\n\"\r\nabc\r\n", "bad: "},
		{"FRM-18 bare CR", chunked, 0, "3;a\rb\r\nabc\r\n", "bad: "},
		{"FRM-18 unclosed quote", chunked, 0, "3;a=\"b\r\nabc\r\n", "bad: "},
		{"FRM-18 behind quotes", chunked, 0, "3;a=\"b\"c\r\nabc\r\n", "bad: "},
		{"FRM-18 two values", chunked, 0, "3;a=b c\r\nabc\r\n", "bad: "},
		{"FRM-18 white space only", chunked, 0, "3 a\r\nabc\r\n", "bad: "},
		{"FRM-19 longer", chunked, 0, "3\r\nabcd\r\n", "bad: "},
		{"FRM-19 shorter", chunked, 0, "5\r\nabc\r\n0\r\n\r\n", "bad: "},
		{"FRM-19 no CRLF", chunked, 0, "3\r\nabc0\r\n\r\n", "bad: "},
		{"FRM-20 no last chunk", chunked, 0, "3\r\nabc\r\n", `open after "abc"`},
		{"FRM-20 in data", chunked, 0, "3\r\nab", `open after "ab"`},
		{"FRM-20 no final CRLF", chunked, 0, "3\r\nabc\r\n0\r\n", `open after "abc"`},
		{"FRM-21 kept", chunked, 0, "0\r\nX-Sum: 1\r\nGrpc-Status: 0\r\n\r\nGET", `"" X-Sum=1 Grpc-Status=0 rest "GET"`},
		{"FRM-21 dropped", chunked, 0, "0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: b\r\nAuthorization: x\r\nCookie: a\r\nSet-Cookie: a\r\nContent-Type: a\r\n" +
			"Content-Encoding: a\r\nX-Forwarded-For: a\r\nX-Forwarded-Host: a\r\nX-Real-Ip: 1\r\nForwarded: a\r\nConnection: a\r\nX: y\r\n\r\n", `"" X=y rest ""`},
		{"FRM-21 malformed", chunked, 0, "0\r\nX Y: 1\r\n\r\n", "bad: trailer: "},
		{"FRM-21 folded", chunked, 0, "0\r\nX: 1\r\n 2\r\n\r\n", "bad: trailer: "},
		{"FRM-21 control character", chunked, 0, "0\r\nX: 1\x01\r\n\r\n", "bad: trailer: "},
		{"FRM-21 no colon", chunked, 0, "0\r\nGET / HTTP/1.1\r\n\r\n", "bad: trailer: "},
		{"FRM-21 too large", chunked, 0, "0\r\nX: " + strings.Repeat("a", 65<<10) + "\r\n\r\n", "bad: trailer section too large"},
		{"FRM-21 too many", chunked, 0, "0\r\n" + strings.Repeat("X: a\r\n", 101) + "\r\n", "bad: too many trailer fields"},
	} {
		t.Run(c.id, func(t *testing.T) {
			got := readStream(c.f, c.size, c.in)
			if c.want[:3] == "bad" && !strings.HasPrefix(got, c.want) || c.want[:3] != "bad" && got != c.want {
				t.Fatalf("got %.200s, want %.200s", got, c.want)
			}
			step := len(c.in)/211 + 1
			var all []int
			for i := 0; i < len(c.in); i += step {
				if again := readStream(c.f, c.size, c.in, i); again != got {
					t.Fatalf("split at %d: got %.200s, in one piece %.200s", i, again, got)
				}
				all = append(all, i)
			}
			if again := readStream(c.f, c.size, c.in, all...); again != got {
				t.Fatalf("piece by piece: got %.200s, in one piece %.200s", again, got)
			}
		})
	}
}

func TestChunkSizeIsRead(t *testing.T) {
	for _, n := range []int{1, 9, 10, 15, 16, 255, 256, 4095, 65536, 1<<31 - 1} {
		if got, want := string(appendChunkSize(nil, n)), fmt.Sprintf("%x\r\n", n); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestLastChunk(t *testing.T) {
	var h httpmsg.Header
	h.Add("X-Sum", "1\r\nContent-Length: 5")
	h.Add("Content-Length", "5")
	h.Add("bad name", "5")
	if got, want := string(appendLastChunk(nil, &h)), "0\r\nX-Sum: 1  Content-Length: 5\r\n\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := string(appendLastChunk(nil, nil)), "0\r\n\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FLD-10: whatever is put into a field, one line comes out.
func TestAppendFieldFLD10(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"Location", "/a\r\nSet-Cookie: x", "Location: /a  Set-Cookie: x\r\n"},
		{"X", "a\nb\x00c\x7fd\te", "X: a b c d\te\r\n"},
		{"X\r\nY", "a", ""},
		{"X:", "a", ""},
		{"", "a", ""},
		{"X", "", "X: \r\n"},
		{"X", "\xe4", "X: \xe4\r\n"},
	} {
		f := httpmsg.Field{Name: httpmsg.Text(c.name), Value: httpmsg.Text(c.value), ID: httpmsg.IDOf(c.name)}
		if got := string(appendField(nil, &f)); got != c.want {
			t.Errorf("%q: %q: got %q, want %q", c.name, c.value, got, c.want)
		}
	}
}
