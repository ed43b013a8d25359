package http1

import (
	"bufio"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"sluice/internal/wire/httpmsg"
)

// stricter are the reasons for which we refuse what net/http accepts, each on purpose. The rows are those of the threat list.
var stricter = map[string]string{
	"bare LF in the head":                                        "FRM-13",
	"malformed version":                                          "FRM-13, REQ-03",
	"folded or indented field line":                              "FRM-14, FRM-15",
	"Content-Length beside Transfer-Encoding":                    "FRM-01",
	"more than one Content-Length":                               "FRM-03",
	"Transfer-Encoding in HTTP/1.0":                              "FRM-07: net/http ignores it there",
	"fragment in the request target":                             "REQ-07",
	"backslash in the path":                                      "REQ-09",
	"CONNECT":                                                    "REQ-13",
	"scheme of the request target is not that of the connection": "REQ-12",
	"malformed host in the request target":                       "REQ-12",
	"malformed Host":                                             "HST-03, HST-05, HST-06",
	"empty Host":                                                 "HST-04",
	"no Host":                                                    "HST-01: checked by net/http's server, not its parser",
	"asterisk target with another method than OPTIONS":           "REQ-14",
	"more than one Transfer-Encoding":                            "FRM-09: net/http ignores the field in HTTP/1.0",
	"unsupported version":                                        "REQ-04: the version is checked by net/http's server",
	"space in or after a field name":                             "FRM-10",
	"method too long":                                            "REQ-01",
}

// laxer are the parts of net/http's errors for which it refuses what we accept, each on purpose.
var laxer = map[string]string{
	`malformed HTTP request ""`: "REQ-06: one or two empty lines in front are skipped",
	"invalid URL escape":        "PTH-04 is for the entry point, which knows the path options",
}

func TestRequestOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 9))
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	// odd picks a fault now and then; more often a head with several would be refused for the first.
	odd := func(good, bad []string) string {
		if r.IntN(12) == 0 {
			return pick(bad...)
		}
		return pick(good...)
	}
	type l = []string
	seen := map[string]int{}
	for range 60_000 {
		const eol = "\r\n"
		var b strings.Builder
		b.WriteString(odd(l{""}, l{"\r\n", "\r\n\r\n", "\r\n\r\n\r\n", "\n"}))
		b.WriteString(odd(l{"GET", "POST", "PUT", "get", "OPTIONS", "HEAD", "X!"}, l{"CONNECT", "G(T", "", strings.Repeat("A", 65)}))
		b.WriteString(odd(l{" "}, l{"  ", "\t", ""}))
		b.WriteString(odd(l{"/", "/a/b?c=d", "/a%2fb", "/\xc3\xa4", "*", "http://a.test/x", "http://b.test?y", "/?a\\b", "/{}|^`", "//x", "/?"},
			l{"https://a.test/", "a", "/a#b", "/a\\b", "/a b", "/a\x01", "/%zz", "?", "http://a b/", "http://u@a/"}))
		b.WriteString(odd(l{" "}, l{"  ", ""}))
		b.WriteString(odd(l{"HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"}, l{"HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.10", "HTTP/1.1 ", ""}))
		b.WriteString(eol)
		if r.IntN(12) != 0 {
			b.WriteString(odd(l{"Host: a.test", "host:a.test:80", "Host: [::1]"}, l{"Host: a b", "Host:", "Host: a,b", "Host: a%2e"}))
			b.WriteString(eol)
		}
		for n := r.IntN(4); n > 0; n-- {
			b.WriteString(odd(l{"Content-Length: 3", "Content-Length: 0", "content-length:\t4 ", "Transfer-Encoding: chunked", "transfer-encoding: CHUNKED", "X: y", "X: \xc3\xa4", "X: a\tb",
				"Connection: close", "Connection: keep-alive", "Expect: 100-continue", "Cookie: a=b"},
				l{"Content-Length: +3", "Content-Length: 3, 3", "Content-Length:", "Content-Length : 3", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: identity", "Transfer-Encoding: ",
					"X-\xc3\xa4: y", "X: a\x01b", " folded", "\tfolded", "nocolon", ": empty", "X Y: z", "X@: z", "Host: a.test"}))
			b.WriteString(eol)
		}
		b.WriteString(eol)
		in := b.String()
		if lines := strings.SplitAfter(in, eol); r.IntN(15) == 0 {
			i := r.IntN(len(lines))
			lines[i] = strings.TrimSuffix(lines[i], eol) + "\n"
			in = strings.Join(lines, "")
		}

		ours, req, head := parseRequest(in, false, Limits{})
		theirs, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(in), strings.NewReader("3\r\nabc\r\n0\r\n\r\n"))))
		switch {
		case req == nil && err != nil:
			seen["both refuse"]++
		case req == nil:
			_, reason, _ := strings.Cut(ours, " ")
			if stricter[reason] == "" {
				t.Fatalf("%q: we say %q, net/http accepts it", in, ours)
			}
			seen["we: "+reason]++
		case err != nil:
			known := ""
			for part := range laxer {
				if strings.Contains(err.Error(), part) {
					known = part
				}
			}
			if known == "" {
				t.Fatalf("%q: we accept it, net/http says %v", in, err)
			}
			seen["net/http: "+known]++
		default:
			seen["both accept"]++
			compare(t, in, req, head, theirs)
		}
	}
	// A difference that no longer shows does not belong in the lists.
	must := []string{"both accept", "both refuse"}
	for reason := range stricter {
		must = append(must, "we: "+reason)
	}
	for part := range laxer {
		must = append(must, "net/http: "+part)
	}
	for _, m := range must {
		if seen[m] == 0 {
			t.Errorf("no case of %q", m)
		}
	}
}

// compare checks that both parsers understood the same.
func compare(t *testing.T, in string, req *httpmsg.Request, head *requestHead, theirs *http.Request) {
	t.Helper()
	host := theirs.Host
	uri := theirs.RequestURI
	path, query, _ := strings.Cut(uri, "?")
	if i := strings.Index(path, "://"); i >= 0 {
		path = path[i+3:]
		if i := strings.IndexByte(path, '/'); i >= 0 {
			path = path[i:]
		} else if path = "/"; theirs.Method == "OPTIONS" && !req.HasQuery {
			path = "*"
		}
	}
	size := map[framing]int64{noBody: 0, counted: head.size, chunked: -1}[head.framing]
	if req.Method.String() != theirs.Method || req.Host.String() != host || req.Path.String() != path || req.Query.String() != query || size != theirs.ContentLength {
		t.Fatalf("%q: we read %s, net/http %s %s host=%s length=%d", in, describeRequest(req, head), theirs.Method, uri, host, theirs.ContentLength)
	}
	if theirs.Close == head.persist && req.Proto == httpmsg.HTTP11 && theirs.ProtoMinor == 1 {
		t.Fatalf("%q: persist=%v, net/http close=%v", in, head.persist, theirs.Close)
	}
}
