package http2

import (
	"testing"
	"testing/synctest"
	"time"

	frames "golang.org/x/net/http2"

	"sluice/internal/testkit"
	"sluice/internal/wire/watch"
)

// within fails the test unless want has passed since from, and hardly more.
func within(t *testing.T, from time.Time, want time.Duration) {
	t.Helper()
	if d := time.Since(from); d < want || d > want+100*time.Millisecond {
		t.Errorf("after %v, want %v", d, want)
	}
}

func TestUpstreamTimes(t *testing.T) {
	for name, row := range map[string]struct {
		o ClientOptions
		f func(t *testing.T, c *ClientConn, s *origin, k *bag)
	}{
		"response head": {ClientOptions{ResponseHeaderTimeout: 3 * time.Second}, func(t *testing.T, c *ClientConn, s *origin, _ *bag) {
			from := time.Now()
			got := later(c, request("GET"))
			s.request()
			if g := <-got; g != "UPSTREAM-SILENT retry=0" {
				t.Error(g)
			}
			within(t, from, 3*time.Second)
			// The time begins when the request is complete, and ends with the head.
			body := newSource()
			got = later(c, sending(body, -1))
			s.request()
			time.Sleep(time.Minute)
			close(body.pieces)
			time.Sleep(2 * time.Second)
			s.head(3, false, ":status", "200")
			time.Sleep(time.Minute)
			s.fr.WriteData(3, true, []byte("ok"))
			if g := <-got; g != "200 ok" {
				t.Error(g)
			}
		}},
		"body": {ClientOptions{BodyIdleTimeout: 3 * time.Second}, func(t *testing.T, c *ClientConn, s *origin, _ *bag) {
			got := later(c, request("GET"))
			s.request()
			s.head(1, false, ":status", "200")
			for range 5 {
				time.Sleep(2 * time.Second)
				s.fr.WriteData(1, false, []byte("x"))
			}
			from := time.Now()
			if g := <-got; g != "UPSTREAM-SILENT retry=0" {
				t.Error(g)
			}
			within(t, from, 3*time.Second)
		}},
		"ping": {ClientOptions{ReadIdleTimeout: 10 * time.Second, PingTimeout: 5 * time.Second}, func(t *testing.T, c *ClientConn, s *origin, k *bag) {
			from := time.Now()
			p := find[*frames.PingFrame](s)
			within(t, from, 10*time.Second)
			s.fr.WritePing(true, p.Data)
			from = time.Now()
			find[*frames.PingFrame](s)
			within(t, from, 10*time.Second)
			// Anything that is heard shows life.
			time.Sleep(4 * time.Second)
			s.fr.WriteSettings()
			from = time.Now()
			find[*frames.PingFrame](s)
			within(t, from, 10*time.Second)
			from = time.Now()
			if g := <-later(c, request("GET")); g != "UPSTREAM-CLOSED retry=1" {
				t.Error(g)
			}
			within(t, from, 5*time.Second)
			<-k.over
		}},
		"unused": {ClientOptions{}, func(t *testing.T, c *ClientConn, s *origin, k *bag) {
			from := time.Now()
			c.ArmIdle(90 * time.Second)
			<-k.expired
			within(t, from, 90*time.Second)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := watch.New()
				w.Start()
				c, s, k := connect(t, row.o, w)
				s.c.SetDeadline(time.Time{})
				s.greetAfter()
				row.f(t, c, s, k)
				c.Close()
				s.c.Close()
				<-k.over
				w.Stop()
				if w.Len() != 0 {
					t.Errorf("%d entries of the watch left", w.Len())
				}
			})
		})
	}
}

// What a server has answered counts although it takes nothing more; what it has not answered is lost within a bound, uploads
// that wait for its leave among it.
func TestUpstreamDeaf(t *testing.T) {
	for _, silent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c, s, k := connect(t, ClientOptions{}, nil)
			s.c.SetDeadline(time.Time{})
			s.greetAfter(frames.Setting{ID: frames.SettingInitialWindowSize, Val: 1})
			answered := later(c, request("GET"))
			s.request()
			var upload chan string
			if silent {
				body := newSource()
				body.pieces <- "more than the window"
				upload = later(c, sending(body, -1))
				s.request()
			}
			synctest.Wait()
			c.Conn().(*testkit.PipeConn).CloseWrite() // each write fails from now on
			from := time.Now()
			s.fr.WritePing(false, [8]byte{})
			synctest.Wait()
			if c.Reserve() {
				t.Error("room on a connection that cannot be written to")
			}
			s.head(1, false, ":status", "200")
			s.fr.WriteData(1, true, []byte("b"))
			if g := <-answered; g != "200 b" {
				t.Error(g)
			}
			wait := time.Duration(0)
			if silent {
				if g := <-upload; g != "UPSTREAM-CLOSED retry=0" {
					t.Error(g)
				}
				wait = closeTime
			}
			<-k.over
			within(t, from, wait)
		})
	}
}
