package app

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// lines is a log that can be read while it is written.
type lines struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// A broken change under load fails nothing but what is broken; it is in the log once, and in the API as long as it is there.
func TestBrokenChangeIsSeen(t *testing.T) {
	server := sockets(t)
	text := func(status, more string) string {
		return `
http:
  routers:
    stays: {rule: "Host(` + "`stays.test`" + `)", service: stays, entryPoints: [web]}
    over: {rule: "Host(` + "`over.test`" + `)", service: over, entryPoints: [web]}
  services:
    stays: {loadBalancer: {servers: [{url: "` + server.URL + `"}]}}
    over: {failover: {service: stays, fallback: stays, errors: {status: ["` + status + `"]}}}
` + more
	}
	log := &lines{}
	r := startLogging(t, slog.New(slog.NewTextHandler(log, nil)), `
entryPoints: {web: {address: "127.0.0.1:0"}, traefik: {address: "127.0.0.1:0"}}
api: {insecure: true}
`, text("503", ""))
	transport := &http.Transport{MaxIdleConnsPerHost: 4}
	defer transport.CloseIdleConnections()
	var load steady
	stop, end := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	defer clients.Wait()
	defer end()
	for range 4 {
		clients.Go(func() { load.run(stop, &http.Client{Transport: transport}, "http://"+r.addr("web")+"/") })
	}
	const message = "is no status code or range"
	for _, broken := range []string{"50x", "5-"} {
		r.reload(text(broken, ""))
		r.reload(text(broken, "  middlewares: {other: {addPrefix: {prefix: /x}}}\n"))
		if n := strings.Count(log.String(), "key=http.services.over.failover.errors.status[0]"); n != 1 {
			t.Errorf("%q is %d times in the log:\n%s", broken, n, log)
		}
		log.mu.Lock()
		log.all.Reset()
		log.mu.Unlock()
		_, service := r.get("traefik", "http://x/api/http/services/over@file")
		_, router := r.get("traefik", "http://x/api/http/routers/over@file")
		for _, told := range []string{service, router} {
			if !strings.Contains(told, message) || !strings.Contains(told, `"status":"disabled"`) {
				t.Errorf("the API tells %s", told)
			}
		}
		if resp, _ := r.get("web", "http://over.test/"); resp.StatusCode != 503 || resp.Header.Get("Sluice-Error") != "ROUTER-REFUSED" {
			t.Errorf("the broken one answers %d", resp.StatusCode)
		}
		r.reload(text("503", ""))
		if resp, body := r.get("web", "http://over.test/"); resp.StatusCode != 200 {
			t.Errorf("mended it answers %d %s", resp.StatusCode, body)
		}
		if _, service := r.get("traefik", "http://x/api/http/services/over@file"); strings.Contains(service, message) {
			t.Errorf("mended, the API tells %s", service)
		}
	}
	end()
	clients.Wait()
	if first := load.first.Load(); first != nil || load.asked.Load() == 0 {
		t.Errorf("%d of %d requests failed: %v", load.failed.Load(), load.asked.Load(), first)
	}
}
