package upstream

import (
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/certs"
)

// OptionsOf turns a serversTransport into options. Everything wrong with it is in the error. A transport with an error
// must not be used in part: without its authorities or its certificate it would be another one.
func OptionsOf(c *dynamic.ServersTransport) (Options, error) {
	o := Defaults()
	f := c.ForwardingTimeouts
	if f == nil {
		f = &dynamic.ForwardingTimeouts{}
		f.SetDefaults()
	}
	o.DialTimeout = time.Duration(f.DialTimeout)
	o.IdleConnTimeout = time.Duration(f.IdleConnTimeout)
	o.ReadIdleTimeout = time.Duration(f.ReadIdleTimeout)
	o.PingTimeout = time.Duration(f.PingTimeout)
	o.DisableHTTP2 = c.DisableHTTP2
	o.Client.ResponseHeaderTimeout = time.Duration(f.ResponseHeaderTimeout)
	switch n := c.MaxIdleConnsPerHost; {
	case n == 0:
		o.MaxIdlePerHost = 2
	default:
		o.MaxIdlePerHost = max(n, 0)
	}
	var err error
	o.TLS, err = certs.HTTPClient(c)
	return o, err
}
