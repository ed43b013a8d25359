//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"embed"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"text/template"
	"time"
)

//go:embed conf
var confFiles embed.FS

// Names that the proxies know. They are sent in Host and SNI only; nothing resolves them.
const (
	host      = "www.bench.test"
	rsaHost   = "rsa.bench.test"
	smallHost = "small.bench.test" // passthrough to a machine that says little
	bulkHost  = "bulk.bench.test"  // passthrough to a machine that says much
)

// world is all that stays the same over the scenarios.
type world struct {
	dir     string
	kinds   []kind
	backend addresses
	behind  *exec.Cmd      // the backend
	alive   io.WriteCloser // its standard input: it ends when this is closed
	version map[string]string
	missing map[string]string // kind -> why it cannot run
	sluice  string
}

// addresses is what the backend says on start; see bench/backend.
type addresses struct {
	HTTP, Small, Bulk string
}

// kind is a sort of proxy.
type kind struct {
	name    string
	version func(w *world) (string, error) // an error says why it cannot run here
	command func(w *world, dir string) []string
	files   map[string]string // file in the run's directory -> template in conf
}

var kinds = []kind{
	{"sluice",
		func(w *world) (string, error) {
			if w.sluice == "" {
				return "", errors.New(w.missing["sluice"])
			}
			out, err := output(context.Background(), 5*time.Second, w.sluice, "version")
			return firstLine(out), err
		},
		func(w *world, dir string) []string {
			return []string{w.sluice, "--configFile=" + filepath.Join(dir, "static.toml")}
		},
		map[string]string{"static.toml": "sluice.static.toml.tmpl", "dynamic.toml": "sluice.dynamic.toml.tmpl"},
	},
	{"nginx",
		func(w *world) (string, error) { return programVersion("nginx", "-v") },
		func(w *world, dir string) []string {
			return []string{program("nginx"), "-p", dir, "-c", filepath.Join(dir, "nginx.conf")}
		},
		map[string]string{"nginx.conf": "nginx.conf.tmpl"},
	},
	{"haproxy",
		func(w *world) (string, error) { return programVersion("haproxy", "-v") },
		func(w *world, dir string) []string {
			return []string{program("haproxy"), "-W", "-db", "-f", filepath.Join(dir, "haproxy.cfg")}
		},
		map[string]string{"haproxy.cfg": "haproxy.cfg.tmpl"},
	},
	{name: "direct", version: func(w *world) (string, error) { return "the backend alone", nil }},
}

// program finds a program, in the directories of system programs too; empty if it is not installed.
func program(name string) string {
	if p, err := exec.LookPath(name); err == nil {
		return p
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p
		}
	}
	return ""
}

func programVersion(name string, args ...string) (string, error) {
	p := program(name)
	if p == "" {
		return "", errors.New("not installed")
	}
	out, err := output(context.Background(), 5*time.Second, p, args...)
	return firstLine(out), err
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

func newWorld(ctx context.Context, dir string, s settings) (*world, error) {
	w := &world{dir: dir, version: map[string]string{}, missing: map[string]string{}}
	root, err := output(ctx, 30*time.Second, "go", "list", "-m", "-f", "{{.Dir}}", "sluice")
	if err != nil {
		return nil, err
	}
	root = strings.TrimSpace(root)
	backend := filepath.Join(dir, "backend")
	if _, err := output(ctx, 5*time.Minute, "go", "build", "-C", root, "-o", backend, "./bench/backend"); err != nil {
		return nil, err
	}
	for _, name := range s.peers {
		found := false
		for _, k := range kinds {
			if k.name != name {
				continue
			}
			found = true
			w.kinds = append(w.kinds, k)
			if name == "sluice" {
				if err := w.buildSluice(ctx, root, s.binary); err != nil {
					w.missing[name] = "not built: " + err.Error()
				}
			}
			if v, err := k.version(w); err != nil {
				w.missing[name] = err.Error()
			} else {
				w.version[name] = v
			}
		}
		if !found {
			return nil, fmt.Errorf("unknown peer %q", name)
		}
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if err := writePair(filepath.Join(dir, "ecdsa.pem"), host, ec, &ec.PublicKey); err != nil {
		return nil, err
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	if err := writePair(filepath.Join(dir, "rsa.pem"), rsaHost, rs, &rs.PublicKey); err != nil {
		return nil, err
	}
	return w, w.startBackend(ctx, backend)
}

func (w *world) buildSluice(ctx context.Context, root, binary string) error {
	if binary != "" {
		abs, err := filepath.Abs(binary)
		w.sluice = abs
		return err
	}
	if _, err := os.Stat(filepath.Join(root, "cmd/sluice/main.go")); err != nil {
		return errors.New("the tree has no cmd/sluice")
	}
	target := filepath.Join(w.dir, "sluice")
	// As `make build` does it.
	if out, err := output(ctx, 10*time.Minute, "env", "CGO_ENABLED=0",
		"go", "build", "-C", root, "-trimpath", "-ldflags=-s -w", "-o", target, "./cmd/sluice"); err != nil {
		return fmt.Errorf("go build: %s", firstLine(out))
	}
	w.sluice = target
	return nil
}

func (w *world) startBackend(ctx context.Context, path string) error {
	cmd := exec.CommandContext(ctx, path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	w.behind, w.alive = cmd, in
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		w.close()
		return fmt.Errorf("the backend did not start: %w", err)
	}
	return json.Unmarshal(line, &w.backend)
}

func (w *world) close() {
	w.alive.Close()
	w.behind.Wait()
}

// writePair writes a self-signed certificate and its key into one PEM file: HAProxy's form, which all take.
func writePair(file, name string, key, public any) error {
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, public, key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	b = append(b, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	return os.WriteFile(file, b, 0o600)
}

// conf is what the templates of bench/conf see.
type conf struct {
	Dir                                string
	HTTPPort, TLSPort, PassPort        int
	Backend, SmallBackend, BulkBackend string
	Host, RSAHost, SmallHost, BulkHost string
	Hosts                              []string // further hosts, each with a router of its own
	Workers                            int
	StreamModule                       string // nginx: the module to load for passthrough
	Stream                             bool   // nginx: whether it can do passthrough at all
	Root                               bool
	Logged                             bool // an access log is written, and requests are counted
	Middlewares                        bool // headers, a rate limit and compression stand before the server
}

// target is a proxy that is running, or the backend itself. Addresses are empty where there is nothing.
type target struct {
	name        string
	http, tls   string
	small, bulk string // where a ClientHello for smallHost and bulkHost goes
	*process           // nil for the backend itself
}

// start starts one proxy for one scenario and waits until it answers.
func (w *world) start(ctx context.Context, k kind, with string, hosts []string) (*target, error) {
	if why := w.missing[k.name]; why != "" {
		return nil, errors.New(why)
	}
	if k.name == "direct" {
		return &target{name: k.name, http: w.backend.HTTP, small: w.backend.Small, bulk: w.backend.Bulk}, nil
	}
	dir, err := os.MkdirTemp(w.dir, k.name+"-")
	if err != nil {
		return nil, err
	}
	for _, f := range []string{"ecdsa.pem", "rsa.pem"} {
		if err := os.Link(filepath.Join(w.dir, f), filepath.Join(dir, f)); err != nil {
			return nil, err
		}
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	c := conf{
		Dir: dir, HTTPPort: ports[0], TLSPort: ports[1], PassPort: ports[2],
		Backend: w.backend.HTTP, SmallBackend: w.backend.Small, BulkBackend: w.backend.Bulk,
		Host: host, RSAHost: rsaHost, SmallHost: smallHost, BulkHost: bulkHost, Hosts: hosts,
		Workers: runtime.NumCPU(), Root: os.Geteuid() == 0, Logged: with == withLog, Middlewares: with == withMiddlewares,
	}
	if k.name == "nginx" {
		c.StreamModule, c.Stream = nginxStream()
	}
	for file, tmpl := range k.files {
		if err := render(filepath.Join(dir, file), tmpl, c); err != nil {
			return nil, err
		}
	}
	var hostMap strings.Builder
	for _, h := range hosts {
		fmt.Fprintf(&hostMap, "%s web\n", h)
	}
	if err := os.WriteFile(filepath.Join(dir, "hosts.map"), []byte(hostMap.String()), 0o644); err != nil {
		return nil, err
	}
	command := k.command(w, dir)
	p, err := startProcess(command[0], command[1:]...)
	if err != nil {
		return nil, err
	}
	t := &target{
		name: k.name, process: p,
		http: loopback(ports[0]), tls: loopback(ports[1]),
	}
	if k.name != "nginx" || c.Stream {
		t.small, t.bulk = loopback(ports[2]), loopback(ports[2])
	}
	if err := t.ready(ctx); err != nil {
		p.stop()
		return nil, err
	}
	return t, nil
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// ready waits until the proxy answers a request with the backend's answer.
func (t *target) ready(ctx context.Context) error {
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	var last error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		if err := t.failure(); err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, "GET", "http://"+t.http+"/", nil)
		if err != nil {
			return err
		}
		req.Host = host
		resp, err := client.Do(req)
		if err != nil {
			last = err
			continue
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
		last = fmt.Errorf("answered %s", resp.Status)
	}
	if last == nil {
		last = ctx.Err()
	}
	return fmt.Errorf("%s does not serve: %w", t.name, last)
}

func (t *target) stop() {
	if t.process != nil {
		t.process.stop()
	}
}

func render(file, tmpl string, c conf) error {
	t, err := template.ParseFS(confFiles, "conf/"+tmpl)
	if err != nil {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := t.Execute(f, c); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// freePorts asks the system for ports that nobody uses. Somebody may take one before the proxy does: the proxy then
// fails to start and the row says so.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close()
		ports = append(ports, ln.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// nginxStream tells whether nginx can look at a ClientHello, and the module that it has to load for it, if any.
func nginxStream() (module string, ok bool) {
	out, err := output(context.Background(), 5*time.Second, program("nginx"), "-V")
	if err != nil || !strings.Contains(out, "stream_ssl_preread_module") {
		return "", false
	}
	if !strings.Contains(out, "--with-stream=dynamic") {
		return "", true
	}
	for _, dir := range []string{"/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/etc/nginx/modules"} {
		m := filepath.Join(dir, "ngx_stream_module.so")
		if _, err := os.Stat(m); err == nil {
			return m, true
		}
	}
	return "", false
}
