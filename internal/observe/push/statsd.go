package push

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"sluice/internal/core/static"
	"sluice/internal/observe/meter"
)

// maxDatagram is how much goes into one datagram: what fits into the frames of usual networks.
const maxDatagram = 1432

// StatsD starts sending to a StatsD server. It knows no labels: series of one name add up there.
func StatsD(c *static.StatsD, o Options) *Pusher {
	o.Every = c.PushInterval.Std()
	return start("StatsD "+c.Address, &statsd{network: "udp", address: c.Address, prefix: c.Prefix}, o)
}

// Datadog starts sending to a Datadog agent. Without an address that is the one of DD_AGENT_HOST and DD_DOGSTATSD_PORT, as
// getenv has them, else the usual one.
func Datadog(c *static.Datadog, getenv func(string) string, o Options) *Pusher {
	address := c.Address
	if address == "" {
		host, port, _ := net.SplitHostPort(static.DefaultStatsDAddress)
		if h := getenv("DD_AGENT_HOST"); h != "" {
			host = h
		}
		if p := getenv("DD_DOGSTATSD_PORT"); p != "" {
			port = p
		}
		address = net.JoinHostPort(host, port)
	}
	network := "udp"
	for scheme, n := range map[string]string{"unix://": "unixgram", "unixgram://": "unixgram", "unixstream://": "unix"} {
		if path, ok := strings.CutPrefix(address, scheme); ok {
			network, address = n, path
		}
	}
	o.Every = c.PushInterval.Std()
	return start("Datadog "+address, &statsd{network: network, address: address, prefix: c.Prefix, tags: true}, o)
}

// statsd writes lines of the StatsD protocol, or of Datadog's extension of it.
type statsd struct {
	network, address, prefix string
	tags                     bool // Datadog: labels are tags, durations are histograms in seconds

	conn  net.Conn
	lines []string
}

func (s *statsd) counter(m *meter.Metric, added float64) { s.line(m, number(added), "c") }

func (s *statsd) gauge(m *meter.Metric, v float64) { s.line(m, number(v), "g") }

func (s *statsd) durations(m *meter.Metric, d time.Duration, n uint64) {
	rate := ""
	if n > 1 {
		rate = "|@" + strconv.FormatFloat(1/float64(n), 'g', 8, 64)
	}
	if s.tags {
		s.line(m, number(d.Seconds()), "h"+rate)
		return
	}
	s.line(m, number(float64(d)/float64(time.Millisecond)), "ms"+rate)
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func (s *statsd) line(m *meter.Metric, value, kind string) {
	var b strings.Builder
	if s.prefix != "" {
		b.WriteString(s.prefix)
		b.WriteByte('.')
	}
	fmt.Fprintf(&b, "%s:%s|%s", m.Dotted, value, kind)
	if s.tags && len(m.Labels) > 0 {
		b.WriteString("|#")
		for i, l := range m.Labels {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(l.Name)
			b.WriteByte(':')
			b.WriteString(tagValue.Replace(l.Value))
		}
	}
	s.lines = append(s.lines, b.String())
}

// tagValue keeps values from ending their tag or their line.
var tagValue = strings.NewReplacer(",", "_", "|", "_", "\n", "_", "#", "_")

// flush sends the lines, as many in a datagram as fit. What fails is lost, as datagrams may be anyway.
func (s *statsd) flush(ctx context.Context) error {
	lines := s.lines
	s.lines = s.lines[:0]
	if s.conn == nil {
		conn, err := (&net.Dialer{}).DialContext(ctx, s.network, s.address)
		if err != nil {
			return err
		}
		s.conn = conn
	}
	deadline, _ := ctx.Deadline()
	if err := s.conn.SetWriteDeadline(deadline); err != nil {
		return s.broken(err)
	}
	var packet []byte
	for i, line := range lines {
		packet = append(append(packet, line...), '\n')
		if i+1 < len(lines) && len(packet)+len(lines[i+1]) < maxDatagram {
			continue
		}
		if _, err := s.conn.Write(packet); err != nil {
			return s.broken(err)
		}
		packet = packet[:0]
	}
	return nil
}

// broken gives up the connection, so that the next flush makes another one.
func (s *statsd) broken(err error) error {
	s.close()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%s takes nothing: %w", s.address, err)
	}
	return err
}

func (s *statsd) close() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}
