package admin

import (
	"testing"

	"sluice/internal/wire/httpmsg"
)

func TestPingTurns(t *testing.T) {
	p := &Ping{Terminating: 503}
	for _, want := range []int{200, 503} {
		x := &httpmsg.Exchange{}
		if err := p.Serve(x); err != nil || x.Res.Status != want {
			t.Errorf("got %d, %v; want %d", x.Res.Status, err, want)
		}
		p.Turn()
	}
	x := &httpmsg.Exchange{}
	if err := (Noop{}).Serve(x); err != nil || x.Res.Status != 418 {
		t.Errorf("noop: %d, %v", x.Res.Status, err)
	}
}
