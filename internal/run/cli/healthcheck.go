package cli

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"sluice/internal/core/static"
)

// healthcheckTimeout bounds the whole question.
const healthcheckTimeout = 5 * time.Second

// runHealthcheck asks the ping endpoint of the instance that the same configuration describes.
func runHealthcheck(p *Process, args []string) int {
	l, code, ok := loadStatic(p, args)
	if !ok {
		return code
	}
	url, err := pingURL(l.config)
	if err != nil {
		p.errorf("Error calling healthcheck: %v", err)
		return exitFailed
	}
	ctx, cancel := context.WithTimeout(context.Background(), healthcheckTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		p.errorf("Error calling healthcheck: %v", err)
		return exitFailed
	}
	client := http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		p.errorf("Error calling healthcheck: %v", err)
		return exitFailed
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		p.errorf("Bad healthcheck status: %s", resp.Status)
		return exitFailed
	}
	fmt.Fprintf(p.Stdout, "OK: %s\n", url)
	return exitFine
}

// pingURL returns where the ping endpoint of a configuration listens.
func pingURL(c *static.Config) (string, error) {
	if c.Ping == nil {
		return "", fmt.Errorf("please enable `ping` to use the health check")
	}
	ep, ok := c.EntryPoints[c.Ping.EntryPoint]
	if !ok {
		return "", fmt.Errorf("ping: the entry point %q does not exist", c.Ping.EntryPoint)
	}
	address, err := static.ParseAddress(ep.Address)
	if err != nil {
		return "", fmt.Errorf("ping: %w", err)
	}
	host := address.Host
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(int(address.Port))) + "/ping", nil
}
