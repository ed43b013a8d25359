package http2_test

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	spec2 "github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"

	"sluice/internal/testkit"
	"sluice/internal/wire/http2"
	"sluice/internal/wire/httpmsg"
)

// knownFailures are the cases that net/http fails (docs/adr/0001-http2-interim.md). One that begins to pass is to be
// taken off the list; any other that fails is an error.
var knownFailures = map[string]string{
	"http2/4.2/3":     "a HEADERS frame over the maximum size gets no FRAME_SIZE_ERROR",
	"http2/6.5.3/1":   "SETTINGS with one parameter twice: the last one does not win",
	"http2/8.1.2.2/1": "a connection-specific field gets 400, not a stream error",
	"http2/8.1.2.2/2": "TE other than trailers gets 400, not a stream error",
}

func TestH2Spec(t *testing.T) {
	if testing.Short() {
		t.Skip("takes several seconds")
	}
	leaf := testkit.NewCA(t).Leaf(t, "127.0.0.1")
	conf := leaf.ServerConfig()
	conf.NextProtos = []string{"h2"}
	addr, _ := serve(t, http2.Options{Handler: httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		if x.Req.Body != nil {
			for {
				if _, err := x.Req.Body.Next(); err != nil {
					break
				}
			}
		}
		x.Respond(200, "text/plain", "hello, world")
		return nil
	})}, conf)
	host, port, _ := net.SplitHostPort(addr)
	c := &config.Config{Host: host, Path: "/", Timeout: 2 * time.Second, MaxHeaderLen: 4000, Strict: true, TLS: true, Insecure: true}
	c.Port, _ = strconv.Atoi(port)
	c.RunMode("generic") // builds a map that the cases share
	t.Run("cases", func(t *testing.T) {
		for _, g := range []*spec.TestGroup{generic.Spec(), spec2.Spec(), hpack.Spec()} {
			runGroup(t, c, g)
		}
	})
}

func runGroup(t *testing.T, c *config.Config, g *spec.TestGroup) {
	for i, tc := range append(append([]*spec.TestCase{}, g.Tests...), g.StrictTests...) {
		id := fmt.Sprintf("%s/%d", g.ID(), i+1)
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			conn, err := spec.Dial(c)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			err = tc.Run(c, conn)
			switch reason, known := knownFailures[id]; {
			case errors.Is(err, spec.ErrSkipped):
			case err != nil && known:
				t.Logf("fails as known: %s", reason)
			case err != nil:
				t.Errorf("%s\n%v", tc.Desc, err)
			case known:
				t.Errorf("passes now: take it off the list (%s)", tc.Desc)
			}
		})
	}
	for _, sub := range g.Groups {
		runGroup(t, c, sub)
	}
}
