package forwardauth

import (
	"net/http"
	"slices"
	"testing"

	"sluice/internal/core/dynamic"
	"sluice/internal/wire/httpmsg"
)

// TestUpgradesAreAskedAbout holds row UPG-07: a handshake is checked before anything is switched, and what is sent to the
// auth server is a plain request.
func TestUpgradesAreAskedAbout(t *testing.T) {
	allow := false
	auth := newAuth(t, func(w http.ResponseWriter, _ *http.Request) {
		if !allow {
			w.WriteHeader(401)
		}
	})
	o := &origin{}
	h := handler(t, config(auth.URL, nil), o)
	fields := []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13"}
	for _, allow = range []bool{false, true} {
		x := request("/", fields...)
		x.Req.Method, x.Req.UpgradeTo = httpmsg.Text("GET"), httpmsg.Text("websocket")
		if err := h.Serve(x); err != nil {
			t.Fatal(err)
		}
		if got := values(auth.asked.Header, "Connection", "Upgrade", "Sec-Websocket-Key"); got != "- - x" {
			t.Errorf("the auth server got %s", got)
		}
		if !allow && (x.Res.Status != 401 || o.calls > 0) {
			t.Errorf("refused with %d after %d calls", x.Res.Status, o.calls)
		}
		if allow && (o.calls != 1 || !slices.Equal(o.fields, fields) || !x.Req.UpgradeTo.Is("websocket")) {
			t.Errorf("the service got %q", o.fields)
		}
	}
}

func BenchmarkMiddlewaresQuestion(b *testing.B) {
	auth := newAuth(b, nil)
	h := handler(b, config(auth.URL, func(c *dynamic.ForwardAuth) { c.AuthResponseHeaders = []string{"X-User"} }), &origin{})
	b.ReportAllocs()
	for b.Loop() {
		if err := h.Serve(request("/", "Accept: */*", "Cookie: a=b")); err != nil {
			b.Fatal(err)
		}
	}
}
