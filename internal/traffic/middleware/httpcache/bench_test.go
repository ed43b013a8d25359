package httpcache

import (
	"testing"

	"sluice/internal/traffic/middleware"
)

// BenchmarkMiddlewaresHit is the cost of an answer from memory, beyond that of making the request.
func BenchmarkMiddlewaresHit(b *testing.B) {
	h := cached(b, nil, middleware.Env{}, &origin{answer: always("body", "Cache-Control: max-age=600", "Vary: Accept-Encoding", "Content-Type: text/plain")})
	fields := []string{"Accept-Encoding: gzip", "User-Agent: test/1.0", "Accept: */*", "X-Forwarded-Proto: http"}
	get(h, "GET /x", fields...)
	model := request("GET /x", fields...)
	x := request("GET /x")
	b.ReportAllocs()
	for b.Loop() {
		x.Reset(nil)
		head := x.Req.Header
		head.CopyFrom(&model.Req.Header)
		x.Req = model.Req
		x.Req.Header = head
		if err := h.Serve(x); err != nil || x.Res.Status != 200 || x.Res.Header.Lookup("Age") == nil {
			b.Fatal(err, x.Res.Status)
		}
		x.RunEdits()
		x.Finish()
	}
}
