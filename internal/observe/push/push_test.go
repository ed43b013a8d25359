package push

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/secret"
	"sluice/internal/core/static"
	"sluice/internal/observe/meter"
	"sluice/internal/observe/record"
)

// counted is a meter that has seen two requests, and one gauge.
func counted() Options {
	m := meter.New(meter.Options{EntryPoints: true, Services: true, Bounds: Bounds()})
	for range 2 {
		m.Record(&record.Record{EntryPoint: "web", Router: "r@file", Service: "s@file", Method: "GET", Protocol: record.HTTP, GRPCStatus: -1, Status: 200,
			OriginStatus: 200, BytesOut: 7, Duration: 20 * time.Millisecond, OriginDuration: 10 * time.Millisecond})
	}
	m.Reloaded(time.Unix(1000, 0))
	return Options{Meter: m, Log: slog.New(slog.DiscardHandler),
		Sources: meter.Sources{Servers: func() []meter.Server {
			return []meter.Server{{Service: "s,|#\n@file", URL: "http://10.0.0.1", Up: true}}
		}}}
}

// received collects datagrams until it holds want.
func received(t *testing.T, c net.PacketConn, want string) string {
	t.Helper()
	var all strings.Builder
	buf := make([]byte, 65536)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	for !strings.Contains(all.String(), want) {
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			t.Fatalf("%v; so far: %s", err, &all)
		}
		if n > maxDatagram+200 {
			t.Errorf("a datagram of %d bytes", n)
		}
		all.Write(buf[:n])
	}
	return all.String()
}

func TestStatsD(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := StatsD(&static.StatsD{Address: c.LocalAddr().String(), Prefix: "edge", PushInterval: dynamic.Duration(time.Hour)}, counted())
	p.Close()
	got := received(t, c, "server.up")
	for _, want := range []string{"edge.config.reload.total:1|c\n", "edge.entrypoint.request.total:2|c\n", "edge.service.server.up:1|g\n", "edge.entrypoint.responses.bytes.total:14|c\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
	if i := strings.Index(got, "edge.entrypoint.request.duration:"); i < 0 || !strings.HasSuffix(strings.SplitN(got[i:], "\n", 2)[0], "|ms|@0.5") {
		t.Errorf("durations: %s", got)
	}
}

func TestDatadog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dog.sock")
	for _, network := range []string{"udp", "unixgram"} {
		address := "127.0.0.1:0"
		if network == "unixgram" {
			address = path
		}
		c, err := net.ListenPacket(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		config := &static.Datadog{Prefix: "traefik", PushInterval: dynamic.Duration(time.Hour)}
		env := map[string]string{}
		if network == "unixgram" {
			config.Address = "unix://" + path
		} else {
			env["DD_AGENT_HOST"], env["DD_DOGSTATSD_PORT"], _ = net.SplitHostPort(c.LocalAddr().String())
		}
		p := Datadog(config, func(name string) string { return env[name] }, counted())
		p.Close()
		got := received(t, c, "server.up")
		for _, want := range []string{"traefik.service.request.total:2|c|#code:200,method:GET,protocol:http,service:s@file\n", "traefik.service.server.up:1|g|#service:s____@file,url:http://10.0.0.1\n"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q in %s", network, want, got)
			}
		}
		if !strings.Contains(got, "|h|@0.5|#") {
			t.Errorf("%s: durations: %s", network, got)
		}
	}
}

func TestInfluxDB(t *testing.T) {
	var mu sync.Mutex
	var bodies []string
	status := 204
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path != "/base/api/v2/write" || r.URL.Query().Get("org") != "o" || r.URL.Query().Get("bucket") != "b" || r.Header.Get("Authorization") != "Token verysecret" {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		bodies = append(bodies, string(body))
		w.WriteHeader(status)
	}))
	defer server.Close()
	o := counted()
	p, err := InfluxDB2(&static.InfluxDB2{Address: server.URL + "/base/", Org: "o", Bucket: "b", Token: dynamic.Material{Content: secret.New("verysecret")},
		PushInterval: dynamic.Duration(20 * time.Millisecond), AdditionalLabels: map[string]string{"zone": "a b"}}, o)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		mu.Lock()
		n := len(bodies)
		mu.Unlock()
		if n >= 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing came")
		}
	}
	p.Close()
	if want := `traefik.entrypoint.requests.total,code=200,method=GET,protocol=http,entrypoint=web,zone=a\ b count=2 `; !strings.Contains(bodies[0], want) {
		t.Errorf("no %q in %s", want, bodies[0])
	}
	if strings.Contains(bodies[1], "requests.total") || !strings.Contains(bodies[1], "server.up") {
		t.Errorf("the second time: %s", bodies[1])
	}
	if _, err := InfluxDB2(&static.InfluxDB2{Address: "nowhere"}, o); err == nil {
		t.Error("an address that is no URL was taken")
	}

	// A server that refuses is told of, and the secret is not.
	var told bytes.Buffer
	o = counted()
	o.Log = slog.New(slog.NewTextHandler(&told, nil))
	status = 401
	p, err = InfluxDB2(&static.InfluxDB2{Address: server.URL + "/base/", Org: "o", Bucket: "b", Token: dynamic.Material{Content: secret.New("verysecret")}, PushInterval: dynamic.Duration(time.Hour)}, o)
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	if !strings.Contains(told.String(), "401") || strings.Contains(told.String(), "verysecret") {
		t.Errorf("told: %s", &told)
	}
}
