package tunnel

import (
	"net/netip"
	"testing"
)

func TestAllowList(t *testing.T) {
	a, err := NewAllowList([]string{"10.0.0.0/8", "192.0.2.7", "2001:db8::/32"})
	if err != nil {
		t.Fatal(err)
	}
	for client, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "11.0.0.1": false, "192.0.2.7": true, "192.0.2.8": false,
		"2001:db8::1": true, "fe80::1%eth0": false} {
		if _, f := a.Enter(netip.MustParseAddr(client)); (f == nil) != want {
			t.Errorf("%s: got %v", client, f)
		}
	}
	for _, broken := range [][]string{nil, {""}, {"10.0.0.0/33"}, {"host"}} {
		if _, err := NewAllowList(broken); err == nil {
			t.Errorf("%q was accepted", broken)
		}
	}
}

func TestInFlight(t *testing.T) {
	i := NewInFlight(2)
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	leave, _ := i.Enter(a)
	if _, f := i.Enter(netip.MustParseAddr("::ffff:10.0.0.1")); f != nil {
		t.Error(f)
	}
	if _, f := i.Enter(a); f == nil {
		t.Error("a third connection was let in")
	}
	if _, f := i.Enter(b); f != nil {
		t.Error(f)
	}
	leave()
	if _, f := i.Enter(a); f != nil {
		t.Error(f)
	}
	if _, f := NewInFlight(0).Enter(a); f == nil {
		t.Error("a limit of 0 let somebody in")
	}
}
