package bridge

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// breaking is a body that yields pieces and then breaks.
type breaking struct{ pieces []string }

func (b *breaking) Ready() bool              { return true }
func (b *breaking) Trailer() *httpmsg.Header { return nil }
func (b *breaking) Close()                   {}
func (b *breaking) Next() ([]byte, error) {
	if len(b.pieces) == 0 {
		return nil, fault.New(fault.UpstreamProtocol, "bad chunk", nil)
	}
	p := b.pieces[0]
	b.pieces = b.pieces[1:]
	return []byte(p), nil
}

// A response that breaks before its first byte becomes an honest answer; later it is cut.
func TestBrokenResponse(t *testing.T) {
	for _, pieces := range [][]string{nil, {"abc"}} {
		srv := httptest.NewServer(NewServer(httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
			x.Res.Status, x.Res.ContentLength, x.Res.Body = 200, -1, &breaking{pieces}
			x.Res.Header.Add("X-Of", "the server")
			return nil
		}), Options{}))
		res, err := srv.Client().Get(srv.URL)
		switch {
		case len(pieces) > 0:
			if err == nil {
				_, err = io.ReadAll(res.Body)
			}
			if !errors.Is(err, io.ErrUnexpectedEOF) && (err == nil || !strings.Contains(err.Error(), "EOF")) {
				t.Errorf("the cut response ended with %v", err)
			}
		case err != nil:
			t.Error(err)
		case res.StatusCode != http.StatusBadGateway || res.Header.Get("Sluice-Error") != "UPSTREAM-PROTOCOL" || res.Header.Get("X-Of") != "":
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
		if res != nil {
			res.Body.Close()
		}
		srv.Close()
	}
}
