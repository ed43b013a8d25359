package sock

import (
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

// open binds a UDP socket.
func open(t *testing.T, address string) *Datagrams {
	t.Helper()
	sockets, err := Bind([]Spec{{Name: "test", Network: "udp", Address: address}}, nil)
	if err != nil {
		t.Skip(err)
	}
	d := NewDatagrams(sockets[0].UDP)
	t.Cleanup(func() { d.Close() })
	return d
}

// TestAnswersFromTheAddressAsked asks one socket by several addresses of the machine.
func TestAnswersFromTheAddressAsked(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the system does not tell")
	}
	for _, row := range []struct {
		bind, ask string
		local     string
	}{
		{":0", "127.0.0.1", "127.0.0.1"},
		{":0", "127.0.0.77", "127.0.0.77"},
		{":0", "::1", "::1"},
		{"0.0.0.0:0", "127.0.0.78", "127.0.0.78"},
		{"127.0.0.1:0", "127.0.0.1", "invalid IP"},
		{"[::1]:0", "::1", "invalid IP"},
	} {
		t.Run(row.bind+" "+row.ask, func(t *testing.T) {
			d := open(t, row.bind)
			to := &net.UDPAddr{IP: net.ParseIP(row.ask), Port: d.Addr().(*net.UDPAddr).Port}
			// A connected client takes answers from the address that it asked and from no other.
			client, err := net.DialUDP("udp", nil, to)
			if err != nil {
				t.Skip(err)
			}
			defer client.Close()
			client.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := client.Write([]byte("ping")); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, MaxDatagram)
			n, peer, local, err := d.Read(buf)
			if err != nil || string(buf[:n]) != "ping" {
				t.Fatalf("got %q, %v", buf[:n], err)
			}
			if want := client.LocalAddr().(*net.UDPAddr).AddrPort(); peer != want {
				t.Errorf("peer: got %s, want %s", peer, want)
			}
			if local.String() != row.local {
				t.Errorf("local: got %s, want %s", local, row.local)
			}
			if err := d.Write([]byte("pong"), peer, d.Source(local)); err != nil {
				t.Fatal(err)
			}
			if n, err := client.Read(buf); err != nil || string(buf[:n]) != "pong" {
				t.Fatalf("got %q, %v", buf[:n], err)
			}
		})
	}
}

// TestSourceThatIsNone answers all the same when the address has gone.
func TestSourceThatIsNone(t *testing.T) {
	d := open(t, ":0")
	client, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, source := range []string{"192.0.2.1", "2001:db8::1", "fe80::1%4000000000"} {
		if err := d.Write([]byte("x"), client.LocalAddr().(*net.UDPAddr).AddrPort(), d.Source(netip.MustParseAddr(source))); err != nil {
			t.Errorf("from %s: %v", source, err)
		}
	}
	client.SetDeadline(time.Now().Add(10 * time.Second))
	for range 3 {
		if _, err := client.Read(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDatagramsDoNotAllocate holds for both directions.
func TestDatagramsDoNotAllocate(t *testing.T) {
	d := open(t, ":0")
	client, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: d.Addr().(*net.UDPAddr).Port})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	buf, out := make([]byte, MaxDatagram), []byte("ping")
	var source Source
	round := func() {
		client.Write(out)
		n, peer, local, err := d.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if source.oob == nil {
			source = d.Source(local)
		}
		if err := d.Write(buf[:n], peer, source); err != nil {
			t.Fatal(err)
		}
		client.Read(buf)
	}
	if n := testing.AllocsPerRun(100, round); n > 0 {
		t.Errorf("got %v allocations", n)
	}
}
