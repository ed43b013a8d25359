//go:build unix

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/testkit"
)

// redisServer is a real Redis: in the clear and over TLS, with a password.
type redisServer struct {
	*daemon
	plain, secure string
	conf          string
}

func startRedis(t *testing.T, dir string) *redisServer {
	t.Helper()
	path := need(t, "redis-server")[0]
	ca := testkit.NewCA(t)
	write(t, filepath.Join(dir, "redis-ca.pem"), string(ca.PEM))
	tlsDir := filepath.Join(dir, "redis-tls")
	write(t, filepath.Join(tlsDir, "empty"), "")
	ca.Leaf(t, "localhost").Files(t, tlsDir)
	ps := ports(t, 2)
	r := &redisServer{plain: loopback(ps[0]), secure: fmt.Sprintf("localhost:%d", ps[1]), conf: filepath.Join(dir, "redis.conf")}
	write(t, r.conf, fmt.Sprintf(`bind 127.0.0.1 -::1
port %d
tls-port %d
tls-cert-file %s/cert.pem
tls-key-file %s/key.pem
tls-ca-cert-file %s/redis-ca.pem
tls-auth-clients no
requirepass hunter2
save ""
dir %s
`, ps[0], ps[1], tlsDir, tlsDir, dir, dir))
	r.daemon = start(t, nil, path, r.conf)
	r.listening(t, r.plain)
	return r
}

// limitsConf has one route for each way to the store.
const limitsConf = `
http:
  routers:
    plain: {rule: "Host(` + "`plain.test`" + `)", service: app, entryPoints: [web], middlewares: [plain]}
    tls: {rule: "Host(` + "`tls.test`" + `)", service: app, entryPoints: [web], middlewares: [tls]}
    spread: {rule: "Host(` + "`spread.test`" + `)", service: app, entryPoints: [web], middlewares: [spread]}
    open: {rule: "Host(` + "`open.test`" + `)", service: app, entryPoints: [web], middlewares: [open]}
    sentinel: {rule: "Host(` + "`sentinel.test`" + `)", service: app, entryPoints: [web], middlewares: [sentinel]}
    steady: {rule: "Host(` + "`steady.test`" + `)", service: app, entryPoints: [web], middlewares: [steady]}
    none: {rule: "Host(` + "`none.test`" + `)", service: app, entryPoints: [web], middlewares: [none]}
  middlewares:
    plain: {rateLimit: {average: 1, period: 1h, burst: 20, redis: {endpoints: ["PLAIN"], password: hunter2, db: 3, poolSize: 1}}}
    tls: {rateLimit: {average: 1, period: 1h, burst: 20, redis: {endpoints: ["SECURE"], password: hunter2, tls: {ca: DIR/redis-ca.pem}}}}
    spread: {plugin: {distributedRateLimit: {limit: 1, period: 1h, burst: 20, responseHeaders: true, store: {redis: {endpoints: ["PLAIN"], password: hunter2, timeout: 2s}}}}}
    open: {distributedRateLimit: {limit: 1, period: 1h, burst: 20, denyOnError: false, store: {redis: {endpoints: ["PLAIN"], password: hunter2, timeout: 2s}}}}
    sentinel: {distributedRateLimit: {limit: 1, period: 1h, burst: 20, store: {redis: {endpoints: ["SENTINEL"], password: hunter2, sentinel: {masterSet: limits}}}}}
    steady: {rateLimit: {average: 50, burst: 1, redis: {endpoints: ["PLAIN"], password: hunter2}}}
    none: {rateLimit: {average: 0, redis: {endpoints: ["PLAIN"], password: hunter2}}}
`

// TestLimitsAcrossInstances shares buckets between two instances through a real Redis: together they let through what one would.
func TestLimitsAcrossInstances(t *testing.T) {
	dir := directory(t)
	redis := startRedis(t, dir)
	path := need(t, "redis-server")[0]
	sentinelPort := ports(t, 1)[0]
	conf := filepath.Join(dir, "sentinel.conf")
	host, port, _ := strings.Cut(redis.plain, ":")
	write(t, conf, fmt.Sprintf("bind 127.0.0.1\nport %d\ndir %s\nsentinel monitor limits %s %s 1\nsentinel auth-pass limits hunter2\n", sentinelPort, dir, host, port))
	sentinel := start(t, nil, path, conf, "--sentinel")
	sentinel.listening(t, loopback(sentinelPort))

	fill := strings.NewReplacer("PLAIN", redis.plain, "SECURE", redis.secure, "SENTINEL", loopback(sentinelPort), "DIR", dir)
	var edges []*edge
	for range 2 {
		e := startEdge(t, plan{})
		write(t, filepath.Join(e.dir, "dynamic/limits.yml"), fill.Replace(limitsConf))
		edges = append(edges, e)
	}
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	ask := func(e *edge, host string) (*http.Response, error) {
		r, err := http.NewRequest("GET", "http://"+e.web+"/", nil)
		if err != nil {
			return nil, err
		}
		r.Host = host
		res, err := client.Do(r)
		if err == nil {
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		return res, err
	}
	for _, e := range edges {
		eventually(t, "the limits are in force", func() error {
			res, err := ask(e, "none.test")
			if err == nil && res.StatusCode != 200 {
				err = fmt.Errorf("got %d", res.StatusCode)
			}
			return err
		})
	}

	for _, host := range []string{"plain.test", "tls.test", "spread.test", "open.test", "sentinel.test"} {
		var passed, refused, other atomic.Int32
		var all sync.WaitGroup
		for i := range 60 { // twenty may pass, half of them on each instance, at the same time
			all.Go(func() {
				switch res, err := ask(edges[i%2], host); {
				case err != nil:
					t.Error(host, err)
				case res.StatusCode == 200:
					passed.Add(1)
				case res.StatusCode == 429 && res.Header.Get("Retry-After") != "":
					refused.Add(1)
				default:
					other.Add(1)
				}
			})
		}
		all.Wait()
		if passed.Load() != 20 || refused.Load() != 40 {
			t.Errorf("%s: %d passed, %d were refused, %d got something else", host, passed.Load(), refused.Load(), other.Load())
		}
	}
	if res, err := ask(edges[0], "spread.test"); err != nil || res.Header.Get("X-Rate-Limit-Limit") != "1" || res.Header.Get("X-Rate-Limit-Period") != "3600" ||
		res.Header.Get("X-Rate-Limit-Remaining") != "0" || res.Header.Get("X-Rate-Limit-Reset") == "" {
		t.Errorf("what is left: %v %v", res, err)
	}

	// A little too early waits; both instances see one clock, that of the store.
	began := time.Now()
	for i := range 10 {
		if res, err := ask(edges[i%2], "steady.test"); err != nil || res.StatusCode != 200 && res.StatusCode != 429 {
			t.Errorf("steady: %v %v", res, err)
		}
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("waits took %v", took)
	}

	// Without the store requests are refused, or pass where that was asked for; with it the limits are back by themselves.
	if !redis.stop(5 * time.Second) {
		t.Error("Redis does not stop")
	}
	eventually(t, "the instances notice that the store is gone", func() error {
		for host, want := range map[string]int{"plain.test": 500, "spread.test": 500, "open.test": 200, "none.test": 200} {
			if res, err := ask(edges[1], host); err != nil || res.StatusCode != want {
				return fmt.Errorf("%s: %v, %v", host, res, err)
			}
		}
		return nil
	})
	again := start(t, nil, path, redis.conf)
	again.listening(t, redis.plain)
	eventually(t, "the limits are back", func() error {
		if res, err := ask(edges[1], "plain.test"); err != nil || res.StatusCode != 200 {
			return fmt.Errorf("%v %v", res, err)
		}
		return nil
	})
}
