package push

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/internal/core/static"
	"sluice/internal/observe/meter"
)

// InfluxDB2 starts sending to an InfluxDB server of version 2, by its line protocol.
func InfluxDB2(c *static.InfluxDB2, o Options) (*Pusher, error) {
	u, err := url.Parse(c.Address)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("metrics.influxDB2.address: %q is no URL", c.Address)
	}
	u.Path = strings.TrimSuffix(u.Path, "/") + "/api/v2/write"
	u.RawQuery = url.Values{"org": {c.Org}, "bucket": {c.Bucket}, "precision": {"ns"}}.Encode()
	var fixed []meter.Label
	for name, value := range c.AdditionalLabels {
		fixed = append(fixed, meter.Label{Name: name, Value: value})
	}
	slices.SortFunc(fixed, func(a, b meter.Label) int { return strings.Compare(a.Name, b.Name) })
	token := c.Token.Content.Reveal()
	if token == "" {
		token = c.Token.Written
	}
	o.Every = c.PushInterval.Std()
	return start("InfluxDB "+u.Host, &influx{url: u.String(), token: token, fixed: fixed, client: &http.Client{}}, o), nil
}

// influx writes lines of InfluxDB's protocol.
type influx struct {
	url, token string
	fixed      []meter.Label
	client     *http.Client
	body       bytes.Buffer
}

// plural is how Traefik calls the same metrics in InfluxDB.
var plural = strings.NewReplacer(".request.total", ".requests.total", ".request.tls.total", ".requests.tls.total")

func (i *influx) counter(m *meter.Metric, added float64) { i.line(m, "count="+number(added)) }

func (i *influx) gauge(m *meter.Metric, v float64) { i.line(m, "value="+number(v)) }

func (i *influx) durations(m *meter.Metric, d time.Duration, n uint64) {
	i.line(m, "value="+number(d.Seconds())+",count="+strconv.FormatUint(n, 10))
}

// escaped are the characters that end a name or a value.
var escaped = strings.NewReplacer(",", `\,`, "=", `\=`, " ", `\ `, "\n", " ", "\\", "/")

func (i *influx) line(m *meter.Metric, fields string) {
	i.body.WriteString("traefik.")
	i.body.WriteString(plural.Replace(m.Dotted))
	for _, l := range slices.Concat(m.Labels, i.fixed) {
		if l.Value == "" {
			continue // the protocol has no empty tags
		}
		i.body.WriteByte(',')
		escaped.WriteString(&i.body, l.Name)
		i.body.WriteByte('=')
		escaped.WriteString(&i.body, l.Value)
	}
	fmt.Fprintf(&i.body, " %s %d\n", fields, time.Now().UnixNano())
}

// flush posts the lines. What the server does not take is lost.
func (i *influx) flush(ctx context.Context) error {
	body := bytes.Clone(i.body.Bytes())
	i.body.Reset()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, i.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	if i.token != "" {
		req.Header.Set("Authorization", "Token "+i.token)
	}
	resp, err := i.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	why, _ := io.ReadAll(io.LimitReader(resp.Body, 512)) // only for the message
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(why)))
	}
	return nil
}

func (i *influx) close() { i.client.CloseIdleConnections() }
