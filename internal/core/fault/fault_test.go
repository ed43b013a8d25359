package fault

import (
	"errors"
	"fmt"
	"testing"
)

func TestTableIsWhole(t *testing.T) {
	codes := map[string]bool{}
	for k := range kinds {
		if k.Code() == "" || codes[k.Code()] {
			t.Errorf("kind %d has no code of its own: %q", k, k.Code())
		}
		codes[k.Code()] = true
		if s := New(k, "", nil).Status(); s != 0 && (s < 400 || s > 599) {
			t.Errorf("%s leads to status %d", k.Code(), s)
		}
	}
}

func TestOf(t *testing.T) {
	cause := errors.New("refused")
	f := New(DialFailed, "dial 10.0.0.2:80", cause).WithRetry(Always)
	wrapped := fmt.Errorf("service vm: %w", f)
	if Of(wrapped) != f || Status(wrapped) != 502 || !errors.Is(wrapped, cause) {
		t.Errorf("lost in wrapping: %v", wrapped)
	}
	if f.Error() != "dial 10.0.0.2:80: refused" || f.Kind.Side() != Upstream || f.Text() != "Bad Gateway" {
		t.Errorf("got %q, %v, %q", f.Error(), f.Kind.Side(), f.Text())
	}
	if o := Of(cause); o.Kind != Internal || o.Status() != 500 {
		t.Errorf("foreign error became %v", o)
	}
	if Of(nil) != nil || Status(nil) != 200 {
		t.Error("nil is no fault")
	}
	if New(NoRouter, "", nil).Text() != "404 page not found\n" {
		t.Error("text of a missing router")
	}
	f = New(UpstreamTLS, "", nil)
	f.StatusCode = 418
	if f.Status() != 418 {
		t.Error("override ignored")
	}
}
