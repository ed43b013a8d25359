package middleware

import (
	"testing"

	"sluice/internal/core/dynamic"
)

func TestIPAllowList(t *testing.T) {
	list := func(status int, s *dynamic.IPStrategy, ranges ...string) *dynamic.Middleware {
		return &dynamic.Middleware{IPAllowList: &dynamic.IPAllowList{SourceRange: ranges, IPStrategy: s, RejectStatusCode: status}}
	}
	for _, c := range []struct {
		name   string
		m      *dynamic.Middleware
		a      ask
		status int
		body   string
	}{
		{"inside", list(403, nil, "10.0.0.0/8"), ask{peer: "10.1.1.1:1"}, 200, "ok"},
		{"outside", list(403, nil, "10.0.0.0/8"), ask{peer: "11.1.1.1:1"}, 403, "Forbidden"},
		{"status", list(404, nil, "10.0.0.0/8"), ask{peer: "11.1.1.1:1"}, 404, "Not Found"},
		{"status zero is the default", list(0, nil, "10.0.0.0/8"), ask{peer: "11.1.1.1:1"}, 403, "Forbidden"},
		{"XFF-05 mapped", list(403, nil, "10.0.0.0/8"), ask{peer: "[::ffff:10.1.1.1]:1"}, 200, "ok"},
		{"XFF-06 forwarded field counts for nothing", list(403, nil, "10.0.0.0/8"), ask{peer: "11.1.1.1:1", fields: []string{"X-Forwarded-For: 10.1.1.1", "X-Real-Ip: 10.1.1.1"}}, 403, "Forbidden"},
		{"depth", list(403, &dynamic.IPStrategy{Depth: 1}, "10.0.0.0/8"), ask{fields: []string{"X-Forwarded-For: 10.1.1.1"}}, 200, "ok"},
		{"depth without field", list(403, &dynamic.IPStrategy{Depth: 1}, "0.0.0.0/0", "::/0"), ask{}, 403, "Forbidden"},
		{"XFF-03 junk fails closed", list(403, &dynamic.IPStrategy{ExcludedIPs: []string{"10.0.0.0/8"}}, "10.0.0.0/8"),
			ask{fields: []string{"X-Forwarded-For: junk, 10.1.1.1"}}, 403, "Forbidden"},
		{"ipWhiteList", &dynamic.Middleware{IPWhiteList: &dynamic.IPWhiteList{SourceRange: []string{"10.0.0.0/8"}}}, ask{peer: "11.1.1.1:1"}, 403, "Forbidden"},
		{"UPG-07 before 101", list(403, nil, "10.0.0.0/8"), ask{peer: "11.1.1.1:1", upgrade: "websocket"}, 403, "Forbidden"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := &origin{}
			x := serve(t, build(t, Env{}, o, c.m), c.a)
			if got := body(x); x.Res.Status != c.status || got != c.body || (o.calls == 1) != (c.status == 200) {
				t.Errorf("got %d %q and %d calls, want %d %q", x.Res.Status, got, o.calls, c.status, c.body)
			}
		})
	}
	refuses(t, list(403, nil), "ipAllowList.sourceRange")
	refuses(t, list(403, nil, "10.0.0.0/8", "x"), "ipAllowList.sourceRange")
	refuses(t, list(403, &dynamic.IPStrategy{Depth: -1}, "10.0.0.0/8"), "ipAllowList.ipStrategy.depth")
	refuses(t, list(599, nil, "10.0.0.0/8"), "ipAllowList.rejectStatusCode")
	refuses(t, list(101, nil, "10.0.0.0/8"), "ipAllowList.rejectStatusCode")
	refuses(t, &dynamic.Middleware{IPWhiteList: &dynamic.IPWhiteList{}}, "ipWhiteList.sourceRange")
	allocations(t, build(t, Env{}, silent, list(403, nil, "10.0.0.0/8", "192.0.2.0/24")), ask{peer: "192.0.2.1:1"})
	allocations(t, build(t, Env{}, silent, list(403, nil, "10.0.0.0/8")), ask{peer: "192.0.2.1:1"})
}
