package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"sluice/internal/core/dynamic"
)

// maxTCPText bounds what a TCP server is sent and must answer, in bytes.
const maxTCPText = 65535

// Dial connects to a TCP server that the configuration calls server, at address: the server's own, or its host with the port
// of the check. It is as far as the first byte of what is said: a TLS handshake is over.
type Dial func(ctx context.Context, server, address string) (net.Conn, error)

// TCP asks the servers of one TCP service: by connecting, by saying something where that is set, and by comparing the first
// bytes of the answer where that is. It works between Start and Stop.
type TCP struct {
	rounds
	port         int
	send, expect string
	timeout      time.Duration
	dial         Dial
}

// ValidateTCP reports what is wrong with a TCP health check, nil if nothing is.
func ValidateTCP(c *dynamic.TCPHealthCheck) error {
	var wrong []error
	if c.Port < 0 || c.Port > 65535 {
		wrong = append(wrong, fmt.Errorf("port %d is not in 1 to 65535", c.Port))
	}
	if n := len(c.Send); n > maxTCPText {
		wrong = append(wrong, fmt.Errorf("send has %d bytes, more than %d", n, maxTCPText))
	}
	if n := len(c.Expect); n > maxTCPText {
		wrong = append(wrong, fmt.Errorf("expect has %d bytes, more than %d", n, maxTCPText))
	}
	return errors.Join(wrong...)
}

// NewTCP returns a checker that is not started. c must be one that ValidateTCP has nothing to say about; changed may be nil.
func NewTCP(c *dynamic.TCPHealthCheck, servers []Server, dial Dial, changed func(server string, up bool, why error)) *TCP {
	k := &TCP{port: c.Port, send: c.Send, expect: c.Expect, timeout: positive(c.Timeout, defaultTimeout), dial: dial}
	k.rounds = rounds{probe: k.Probe, servers: servers, changed: changed}
	k.interval, k.unhealthy = intervals(c.Interval, c.UnhealthyInterval)
	return k
}

// Probe asks the server once and says why it is not well, nil if it is.
func (k *TCP) Probe(ctx context.Context, server string) error {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	err := k.ask(ctx, server)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", k.timeout)
	}
	return err
}

func (k *TCP) ask(ctx context.Context, server string) error {
	address := server
	if k.port != 0 {
		host, _, err := net.SplitHostPort(server)
		if err != nil {
			return err
		}
		address = net.JoinHostPort(host, strconv.Itoa(k.port))
	}
	conn, err := k.dial(ctx, server, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	// Whoever waits for the server is woken by a deadline that has passed.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // closed: nobody waits
	defer stop()
	if k.send != "" {
		if _, err := io.WriteString(conn, k.send); err != nil {
			return fmt.Errorf("sending: %w", err)
		}
	}
	if k.expect == "" {
		return nil
	}
	got := make([]byte, 0, len(k.expect))
	for len(got) < len(k.expect) {
		n, err := conn.Read(got[len(got):cap(got)])
		got = got[:len(got)+n]
		switch {
		case string(got) != k.expect[:len(got)], errors.Is(err, io.EOF) && len(got) < len(k.expect):
			return fmt.Errorf("it answered %.64q, not %.64q", got, k.expect)
		case err != nil && len(got) < len(k.expect):
			return fmt.Errorf("waiting for an answer: %w", err)
		}
	}
	return nil
}
