package health

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/testkit"
	"sluice/internal/traffic/balance"
)

// dialTo returns a Dial whose connections are served by serve.
func dialTo(asked *[]string, serve func(c *testkit.PipeConn)) Dial {
	return func(_ context.Context, server, address string) (net.Conn, error) {
		*asked = append(*asked, server+" "+address)
		client, s := testkit.Pipe()
		go func() {
			defer s.Close()
			serve(s)
		}()
		return client, nil
	}
}

func TestTCPProbe(t *testing.T) {
	say := func(parts ...string) func(c *testkit.PipeConn) {
		return func(c *testkit.PipeConn) {
			for _, p := range parts {
				io.WriteString(c, p)
				time.Sleep(time.Second)
			}
		}
	}
	answer := func(c *testkit.PipeConn) {
		question, _ := testkit.ReadUntil(c, "\r\n")
		if question == "PING\r\n" {
			io.WriteString(c, "+PONG\r\n")
		} else {
			io.WriteString(c, "-ERR\r\n")
		}
		io.Copy(io.Discard, c)
	}
	for _, row := range []struct {
		name  string
		check dynamic.TCPHealthCheck
		serve func(c *testkit.PipeConn)
		want  string // a part of the error; empty for none
	}{
		{"connects", dynamic.TCPHealthCheck{}, say(), ""},
		{"sends only", dynamic.TCPHealthCheck{Send: "x"}, func(c *testkit.PipeConn) { io.Copy(io.Discard, c) }, ""},
		{"asks and hears", dynamic.TCPHealthCheck{Send: "PING\r\n", Expect: "+PONG"}, answer, ""},
		{"hears something else", dynamic.TCPHealthCheck{Send: "QUIT\r\n", Expect: "+PONG"}, answer, `it answered "-ERR\r", not "+PONG"`},
		{"banner", dynamic.TCPHealthCheck{Expect: "220 "}, say("220 mail.test ESMTP\r\n"), ""},
		{"banner in pieces", dynamic.TCPHealthCheck{Expect: "220 "}, say("2", "20", " mail"), ""},
		{"wrong from the first byte", dynamic.TCPHealthCheck{Expect: "220 "}, say("5"), `it answered "5"`},
		{"closes", dynamic.TCPHealthCheck{Expect: "220 "}, func(*testkit.PipeConn) {}, `it answered ""`},
		{"closes in between", dynamic.TCPHealthCheck{Expect: "220 "}, say("22"), `it answered "22"`},
		{"silent", dynamic.TCPHealthCheck{Expect: "220 "}, func(c *testkit.PipeConn) { io.Copy(io.Discard, c) }, "no answer within 5s"},
		{"silent, own timeout", dynamic.TCPHealthCheck{Expect: "220 ", Timeout: dynamic.Milliseconds(1500)}, func(c *testkit.PipeConn) { io.Copy(io.Discard, c) }, "no answer within 1.5s"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked []string
				k := NewTCP(&row.check, nil, dialTo(&asked, row.serve), nil)
				err := k.Probe(context.Background(), "10.0.0.1:25")
				time.Sleep(time.Minute) // until the server has ended
				if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
					t.Errorf("got %v, want %q", err, row.want)
				}
				if got := strings.Join(asked, ","); got != "10.0.0.1:25 10.0.0.1:25" {
					t.Errorf("dialled %s", got)
				}
			})
		})
	}
}

func TestTCPPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		k := NewTCP(&dynamic.TCPHealthCheck{Port: 8080}, nil, dialTo(&asked, func(*testkit.PipeConn) {}), nil)
		for _, server := range []string{"10.0.0.1:25", "[2001:db8::1]:25", "name.test:25"} {
			if err := k.Probe(context.Background(), server); err != nil {
				t.Error(err)
			}
		}
		if got := strings.Join(asked, ","); got != "10.0.0.1:25 10.0.0.1:8080,[2001:db8::1]:25 [2001:db8::1]:8080,name.test:25 name.test:8080" {
			t.Errorf("dialled %s", got)
		}
	})
}

// TestTCPRounds probes after one interval, a server that is down at its own pace, and finds one that is back.
func TestTCPRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var at []time.Duration
		var up atomic.Bool
		up.Store(true)
		dial := func(context.Context, string, string) (net.Conn, error) {
			at = append(at, time.Since(start))
			if !up.Load() {
				return nil, errors.New("refused")
			}
			client, server := testkit.Pipe()
			server.Close()
			return client, nil
		}
		var state balance.State
		var told []string
		unhealthy := dynamic.Seconds(2)
		k := NewTCP(&dynamic.TCPHealthCheck{Interval: dynamic.Seconds(10), UnhealthyInterval: &unhealthy},
			[]Server{{URL: "a:1", State: &state, Schedule: &Schedule{}}}, dial, func(server string, up bool, why error) {
				text := server + " up"
				if !up {
					text = server + " down: " + why.Error()
				}
				told = append(told, text)
			})
		k.Start()
		time.Sleep(15 * time.Second)
		synctest.Wait()
		up.Store(false)
		time.Sleep(9 * time.Second) // 20: down, 22, 24
		synctest.Wait()
		if state.Up() {
			t.Error("the server is still up")
		}
		up.Store(true)
		time.Sleep(12 * time.Second) // 26: up, 36
		synctest.Wait()
		if !state.Up() {
			t.Error("the server is still down")
		}
		k.Stop()
		var seconds []int
		for _, d := range at {
			seconds = append(seconds, int(d/time.Second))
		}
		if want := []int{10, 20, 22, 24, 26, 36}; !slices.Equal(seconds, want) {
			t.Errorf("probed at %v, want %v", seconds, want)
		}
		if got := strings.Join(told, "; "); got != "a:1 down: refused; a:1 up" {
			t.Errorf("told %s", got)
		}
	})
}

func TestValidateTCP(t *testing.T) {
	long := strings.Repeat("x", 65536)
	for _, row := range []struct {
		check dynamic.TCPHealthCheck
		want  string
	}{
		{dynamic.TCPHealthCheck{}, ""},
		{dynamic.TCPHealthCheck{Port: 65535, Send: long[1:], Expect: long[1:]}, ""},
		{dynamic.TCPHealthCheck{Port: 65536}, "port 65536"},
		{dynamic.TCPHealthCheck{Port: -1}, "port -1"},
		{dynamic.TCPHealthCheck{Send: long}, "send has 65536 bytes"},
		{dynamic.TCPHealthCheck{Expect: long}, "expect has 65536 bytes"},
	} {
		err := ValidateTCP(&row.check)
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("got %v, want %q", err, row.want)
		}
	}
}
