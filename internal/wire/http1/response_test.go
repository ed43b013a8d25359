package http1

import (
	"fmt"
	"strings"
	"testing"

	"sluice/internal/wire/httpmsg"
)

func parseResponse(in string, isHead bool, ends ...int) string {
	lim := Limits{Head: 256 << 10, Line: 256 << 10, Field: 256 << 10, Fields: 256 << 10}
	var r responseHead
	var res httpmsg.Response
	r.reset(0)
	buf := []byte(in)
	for _, end := range append(ends, len(in)) {
		done, f := r.parse(buf[:end], &res, &lim)
		if f == nil && done {
			f = r.frame(res.Status, isHead)
		}
		if f != nil {
			return fmt.Sprintf("%d %s", f.Status(), f.Reason)
		}
		if done {
			var b strings.Builder
			fmt.Fprintf(&b, "%s status=%d framing=%d size=%d persist=%v", r.proto, res.Status, r.framing, r.size, r.persist)
			for i := range res.Header.Len() {
				f := res.Header.At(i)
				fmt.Fprintf(&b, "\n%s: %q (%s)", f.Name, f.Value, f.ID)
			}
			return b.String()
		}
	}
	return "incomplete"
}

func TestResponseHead(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, c := range []struct {
		id, in string
		head   bool
		want   string // begins the description
	}{
		{"length", ok + "Content-Length: 5\r\n\r\n", false, "HTTP/1.1 status=200 framing=1 size=5 persist=true"},
		{"no reason", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", false, "HTTP/1.1 status=200 framing=0 size=0 persist=true"},
		{"no space either", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", false, "HTTP/1.1 status=200 framing=0 size=0"},
		{"odd reason", "HTTP/1.1 299 \xe4 \"\t\r\nContent-Length: 0\r\n\r\n", false, "HTTP/1.1 status=299"},
		{"chunked", ok + "Transfer-Encoding: Chunked\r\n\r\n", false, "HTTP/1.1 status=200 framing=2 size=-1 persist=true"},
		{"to the close", ok + "\r\n", false, "HTTP/1.1 status=200 framing=3 size=-1 persist=false"},
		{"close", ok + "Content-Length: 5\r\nConnection: close\r\n\r\n", false, "HTTP/1.1 status=200 framing=1 size=5 persist=false"},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", false, "HTTP/1.0 status=200 framing=1 size=5 persist=false"},
		{"HTTP/1.0 kept", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", false, "HTTP/1.0 status=200 framing=1 size=5 persist=true"},
		{"HTTP/1.0 chunked", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n", false, "HTTP/1.0 status=200 framing=2 size=-1 persist=false"},
		{"status 999", "HTTP/1.1 999 x\r\n\r\n", false, "HTTP/1.1 status=999 framing=3"},
		{"interim", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", false, "HTTP/1.1 status=103 framing=0 size=-1 persist=true\nLink: \"</a>\" ()"},

		{"UPS-03 both", ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", false, "502"},
		{"UPS-03 two lengths", ok + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", false, "502"},
		{"UPS-03 list", ok + "Content-Length: 5, 5\r\n\r\n", false, "502"},
		{"UPS-03 negative", ok + "Content-Length: -3\r\n\r\n", false, "502"},
		{"UPS-03 coding", ok + "Transfer-Encoding: gzip\r\n\r\n", false, "502"},
		{"UPS-03 codings", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n", false, "502"},
		{"UPS-03 two codings", ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", false, "502"},
		{"UPS-03 on HEAD", ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", true, "502"},
		{"UPS-04 garbage", "SSH-2.0-OpenSSH\r\n", false, "502"},
		{"UPS-04 HTTP/0.9", "<html>", false, "502"},
		{"UPS-04 cut", "HTTP/1.1 200 OK\r\nA: b\r\n", false, "incomplete"},
		{"UPS-04 status 99", "HTTP/1.1 099 x\r\n\r\n", false, "502"},
		{"UPS-04 two digits", "HTTP/1.1 99 x\r\n\r\n", false, "502"},
		{"UPS-04 status 1000", "HTTP/1.1 1000 x\r\n\r\n", false, "502"},
		{"UPS-04 no status", "HTTP/1.1 OK\r\n\r\n", false, "502"},
		{"UPS-04 two spaces", "HTTP/1.1  200 OK\r\n\r\n", false, "502"},
		{"UPS-04 bare LF", "HTTP/1.1 200 OK\n\n", false, "502"},
		{"UPS-04 bare LF in a field", ok + "A: b\n\r\n", false, "502"},
		{"UPS-04 NUL", ok + "A: b\x00c\r\n\r\n", false, "502"},
		{"UPS-04 NUL in the reason", "HTTP/1.1 200 O\x00K\r\n\r\n", false, "502"},
		{"UPS-04 HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", false, "502"},
		{"UPS-04 empty line", "\r\nHTTP/1.1 200 OK\r\n\r\n", false, "502"},
		{"UPS-06 HEAD", ok + "Content-Length: 5\r\n\r\n", true, "HTTP/1.1 status=200 framing=0 size=5 persist=true"},
		{"UPS-06 HEAD chunked", ok + "Transfer-Encoding: chunked\r\n\r\n", true, "HTTP/1.1 status=200 framing=0 size=-1 persist=true"},
		{"UPS-06 HEAD without", ok + "\r\n", true, "HTTP/1.1 status=200 framing=0 size=-1 persist=true"},
		{"UPS-06 304", "HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n", false, "HTTP/1.1 status=304 framing=0 size=5 persist=true"},
		{"UPS-06 204", "HTTP/1.1 204 x\r\n\r\n", false, "HTTP/1.1 status=204 framing=0 size=-1 persist=true"},
		{"UPS-06 204 with length", "HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n", false, "HTTP/1.1 status=204 framing=0 size=-1 persist=false"},
		{"UPS-06 204 chunked", "HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n", false, "HTTP/1.1 status=204 framing=0 size=-1 persist=false"},
		{"UPS-06 interim with length", "HTTP/1.1 103 x\r\nContent-Length: 5\r\n\r\n", false, "HTTP/1.1 status=103 framing=0 size=-1 persist=false"},
		{"UPS-08 one field", ok + "A: " + strings.Repeat("b", 257<<10) + "\r\n\r\n", false, "502"},
		{"UPS-08 many fields", ok + strings.Repeat("A: b\r\n", 50_000) + "\r\n", false, "502"},
		{"UPS-08 reason", "HTTP/1.1 200 " + strings.Repeat("b", 257<<10), false, "502"},
		{"UPS-08 within", ok + "A: " + strings.Repeat("b", 100<<10) + "\r\n\r\n", false, "HTTP/1.1 status=200"},
		{"FLD-09 CR", ok + "A: b\rc\r\n\r\n", false, "502"},
		{"FLD-09 name", ok + "A@: b\r\n\r\n", false, "502"},
		{"FLD-09 space before the colon", ok + "Content-Length : 5\r\n\r\n", false, "502"},
		{"FLD-09 space in the name", ok + "X A: 5\r\n\r\n", false, "502"},
		{"FLD-09 fold", ok + "A: b\r\n c\r\n\r\n", false, "502"},
	} {
		t.Run(c.id, func(t *testing.T) {
			got := parseResponse(c.in, c.head)
			if !strings.HasPrefix(got, c.want) {
				t.Fatalf("got %.200q, want %q", got, c.want)
			}
			step := len(c.in)/97 + 1
			var all []int
			for i := 0; i < len(c.in); i += step {
				if again := parseResponse(c.in, c.head, i); again != got {
					t.Fatalf("split at %d: got %.200q, in one piece %.200q", i, again, got)
				}
				all = append(all, i)
			}
			if again := parseResponse(c.in, c.head, all...); again != got {
				t.Fatalf("piece by piece: got %.200q, in one piece %.200q", again, got)
			}
		})
	}
}
