package docker

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/secret"
	"sluice/internal/intake/decode"
)

// allowed are the paths that are ever asked for, after the version. Nothing else leaves, and nothing but GET and HEAD, so
// that a socket proxy which allows just these is enough.
var allowed = regexp.MustCompile(`^(/v[0-9]+\.[0-9]+)?/(_ping|containers/json|containers/[^/]+/json|events|services|tasks|networks)$`)

// transport brings requests to an engine.
type transport struct {
	base               *http.Transport
	scheme             string
	basePath           string
	username, password string
}

// connectTimeout bounds connecting to an engine.
const connectTimeout = 10 * time.Second

// environment is where an engine is, by the variables that all its clients know.
type environment struct {
	host, version, certPath string
	verify                  bool
}

func readEnvironment(getenv func(string) string) environment {
	return environment{host: getenv("DOCKER_HOST"), version: getenv("DOCKER_API_VERSION"), certPath: getenv("DOCKER_CERT_PATH"),
		verify: getenv("DOCKER_TLS_VERIFY") != ""}
}

// newTransport makes the transport to the engine of s. tlsConfig makes the client's side of TLS.
func newTransport(s *settings, env environment, tlsConfig func(*dynamic.ClientTLS) (*tls.Config, error)) (*transport, error) {
	endpoint, section := s.endpoint, s.tls
	if s.fromEnvironment {
		if env.host != "" {
			endpoint = env.host
		}
		if env.certPath != "" && section == nil {
			var err error
			if section, err = environmentTLS(env); err != nil {
				return nil, err
			}
		}
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme == "" {
		return nil, fmt.Errorf("the endpoint %q is no URL such as unix:///var/run/docker.sock or tcp://host:2375", clip(endpoint))
	}
	t := &transport{scheme: "http"}
	if s.username != "" && s.password != "" {
		t.username, t.password = s.username, s.password
	}
	dialer := net.Dialer{Timeout: connectTimeout, KeepAlive: 15 * time.Second}
	t.base = &http.Transport{MaxIdleConns: 16, MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
		TLSHandshakeTimeout: connectTimeout,
		// Other requests have a deadline as a whole. The stream of events has none, but its beginning must come.
		ResponseHeaderTimeout: s.timeout}
	to := func(network, address string) {
		t.base.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, address)
		}
	}
	switch u.Scheme {
	case "unix":
		to("unix", u.Host+u.Path)
	case "tcp", "http", "https":
		if u.Hostname() == "" {
			return nil, fmt.Errorf("the endpoint %q has no host", clip(endpoint))
		}
		port := u.Port()
		if port == "" {
			port = "2375"
			if section != nil || u.Scheme == "https" {
				port = "2376"
			}
		}
		to("tcp", net.JoinHostPort(u.Hostname(), port))
		t.basePath = strings.TrimRight(u.Path, "/")
	case "npipe":
		c, err := client.New(client.WithHost(endpoint))
		if err != nil {
			return nil, err
		}
		open := c.Dialer()
		t.base.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return open(ctx) }
	case "ssh":
		open, err := sshDialer(u)
		if err != nil {
			return nil, err
		}
		t.base.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return open(ctx) }
	default:
		return nil, fmt.Errorf("the endpoint %q has a scheme that is none of unix, tcp, http, https, ssh, npipe", clip(endpoint))
	}
	if section != nil || u.Scheme == "https" {
		if section == nil {
			section = &dynamic.ClientTLS{}
		}
		config, err := tlsConfig(section)
		if err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		t.scheme = "https"
		// Connections are dialled by DialContext and encrypted by the transport, which needs the name of the host.
		t.base.TLSClientConfig = config.Clone()
		if t.base.TLSClientConfig.ServerName == "" {
			t.base.TLSClientConfig.ServerName = u.Hostname()
		}
		t.base.TLSClientConfig.NextProtos = []string{"http/1.1"}
	}
	return t, nil
}

// environmentTLS reads the directory of DOCKER_CERT_PATH.
func environmentTLS(env environment) (*dynamic.ClientTLS, error) {
	out := &dynamic.ClientTLS{InsecureSkipVerify: !env.verify}
	for _, f := range []struct {
		name string
		into *dynamic.Material
	}{{"ca.pem", &out.CA}, {"cert.pem", &out.Cert}, {"key.pem", &out.Key}} {
		path := filepath.Join(env.certPath, f.name)
		data, err := decode.ReadMaterial(path)
		if errors.Is(err, os.ErrNotExist) && f.name == "ca.pem" {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("DOCKER_CERT_PATH: %w", err)
		}
		*f.into = dynamic.Material{Written: path, Path: path, Content: secret.New(string(data))}
	}
	return out, nil
}

// close lets go of unused connections.
func (t *transport) close() { t.base.CloseIdleConnections() }

// errForbidden says that a request would do more than look.
var errForbidden = errors.New("requests to the engine are limited to looking")

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || !allowed.MatchString(r.URL.Path) {
		return nil, fmt.Errorf("%w: %s %s", errForbidden, r.Method, r.URL.Path)
	}
	out := r.Clone(r.Context())
	out.URL.Path = t.basePath + r.URL.Path
	out.URL.Host = "docker"
	out.Host = "docker"
	if t.base.TLSClientConfig != nil {
		out.URL.Host, out.Host = t.base.TLSClientConfig.ServerName, t.base.TLSClientConfig.ServerName
	}
	if t.username != "" {
		out.SetBasicAuth(t.username, t.password)
	}
	res, err := t.base.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	a, _ := r.Context().Value(answerKey{}).(*answer)
	if a == nil {
		return res, nil
	}
	a.status = res.StatusCode
	if a.stream || res.StatusCode < 200 || res.StatusCode > 299 {
		return res, nil
	}
	a.body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	res.Body.Close()
	if err != nil {
		return nil, err
	}
	if len(a.body) > maxAnswer {
		return nil, fmt.Errorf("the engine's answer is larger than %d bytes", maxAnswer)
	}
	res.Body = io.NopCloser(bytes.NewReader([]byte("null")))
	res.ContentLength = 4
	return res, nil
}
