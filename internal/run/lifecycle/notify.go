package lifecycle

import (
	"context"
	"net"
	"strconv"
	"time"
)

// Notifier speaks the readiness protocol of systemd (sd_notify). The zero Notifier has nobody to speak to and does
// nothing.
type Notifier struct {
	// Socket is the value of NOTIFY_SOCKET.
	Socket string
	// Watchdog is the interval in which the manager expects a sign of life; 0 when it expects none.
	Watchdog time.Duration
}

// NewNotifier reads NOTIFY_SOCKET and WATCHDOG_USEC through getenv.
func NewNotifier(getenv func(string) string) Notifier {
	n := Notifier{Socket: getenv("NOTIFY_SOCKET")}
	if usec, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && usec > 0 {
		n.Watchdog = time.Duration(usec) * time.Microsecond
	}
	return n
}

// Send passes one state message such as READY=1 to the service manager.
func (n Notifier) Send(state string) error {
	if n.Socket == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.Socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(state))
	return err
}

// Keepalive sends watchdog messages at half the expected interval while healthy says so, until ctx ends. It returns at
// once when the manager expects none.
func (n Notifier) Keepalive(ctx context.Context, healthy func() bool) {
	if n.Watchdog == 0 || n.Socket == "" {
		return
	}
	t := time.NewTicker(n.Watchdog / 2)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if healthy() {
				_ = n.Send("WATCHDOG=1") // a lost sign of life is the manager's to act on
			}
		}
	}
}
