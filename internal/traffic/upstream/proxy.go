package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/proxy"

	"sluice/internal/wire/httpmsg"
)

// maxProxyHead bounds what a proxy may say before it opens a tunnel.
const maxProxyHead = 64 << 10

// findProxy asks which proxy leads to the server. Servers with scheme h2c are never behind one.
func (p *Pool) findProxy() {
	ask := p.t.opts.Proxy
	if ask == nil || p.addr.Scheme == "h2c" {
		return
	}
	u, err := ask(&url.URL{Scheme: p.addr.Scheme, Host: p.addr.Host})
	if err == nil && u != nil {
		switch u.Scheme {
		case "http", "https":
			if p.addr.Scheme == "http" {
				p.viaProxy = &httpmsg.Proxy{Origin: "http://" + p.addr.Host, Authorization: proxyAuthorization(u)}
			}
		case "socks5", "socks5h":
		default:
			err = fmt.Errorf("the scheme %q of a proxy is none of http, https, socks5", u.Scheme)
		}
	}
	p.proxy, p.proxyError = u, err
}

func proxyAuthorization(u *url.URL) string {
	if u.User == nil {
		return ""
	}
	password, _ := u.User.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
}

// throughProxy opens a connection by way of the proxy: to the proxy itself for servers in the clear, which it is asked for in
// each request, else through a tunnel.
func (p *Pool) throughProxy(ctx context.Context) (net.Conn, error) {
	if p.proxyError != nil {
		return nil, p.proxyError
	}
	u := p.proxy
	port := map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	if u.Port() != "" {
		port = u.Port()
	}
	address := net.JoinHostPort(u.Hostname(), port)
	if u.Scheme == "socks5" || u.Scheme == "socks5h" {
		return p.throughSOCKS(ctx, address)
	}
	nc, err := p.dialTCP(ctx, address)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "https" {
		// The authorities and the client's certificate are for both; the names that are demanded are the server's.
		cfg := p.tlsConfig()
		cfg.ServerName, cfg.VerifyConnection = u.Hostname(), nil
		tc := tls.Client(nc, cfg)
		if err := handshake(ctx, tc); err != nil {
			nc.Close()
			return nil, fmt.Errorf("TLS handshake with the proxy: %w", err)
		}
		nc = tc
	}
	if p.viaProxy != nil {
		return nc, nil
	}
	if err := tunnel(ctx, nc, p.addr.Host, proxyAuthorization(u)); err != nil {
		nc.Close()
		return nil, err
	}
	return nc, nil
}

// tunnel asks a proxy for a tunnel (RFC 9110 section 9.3.6).
func tunnel(ctx context.Context, nc net.Conn, to, authorization string) error {
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	ask := "CONNECT " + to + " HTTP/1.1\r\nHost: " + to + "\r\n"
	if authorization != "" {
		ask += "Proxy-Authorization: " + authorization + "\r\n"
	}
	if _, err := io.WriteString(nc, ask+"\r\n"); err != nil {
		return explain(ctx, err)
	}
	in := bufio.NewReader(io.LimitReader(nc, maxProxyHead))
	answer, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return explain(ctx, err)
	}
	answer.Body.Close()
	switch {
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("the proxy answered %s", answer.Status)
	case in.Buffered() > 0:
		return errors.New("the proxy spoke before the server did")
	case !stop():
		return context.Cause(ctx)
	}
	return nil
}

// explain prefers the reason why an I/O error was brought about.
func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// throughSOCKS opens a connection through a SOCKS5 proxy, which resolves the name.
func (p *Pool) throughSOCKS(ctx context.Context, address string) (net.Conn, error) {
	var auth *proxy.Auth
	if user := p.proxy.User; user != nil {
		password, _ := user.Password()
		auth = &proxy.Auth{User: user.Username(), Password: password}
	}
	d, err := proxy.SOCKS5("tcp", address, auth, dialer(p.dialTCP))
	if err != nil {
		return nil, err
	}
	return d.(proxy.ContextDialer).DialContext(ctx, "tcp", p.addr.Host)
}

// dialer lets dialTCP be what the proxy package wants.
type dialer func(ctx context.Context, host string) (net.Conn, error)

// Dial implements proxy.Dialer.
func (d dialer) Dial(_, address string) (net.Conn, error) { return d(context.Background(), address) }

// DialContext implements proxy.ContextDialer.
func (d dialer) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	return d(ctx, address)
}
