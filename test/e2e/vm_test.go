//go:build unix

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sluice/internal/testkit"
)

// vmHost is the seed story's virtual machine.
const vmHost = "www.vm.mydomain.com"

// vm is nginx in the part of a virtual machine: plain HTTP with a directory for challenge files, and TLS with a certificate
// that nobody else has.
type vm struct {
	*daemon
	plain, secure string // addresses
	webroot       string
	certFile      string // what its TLS side serves; written anew by certbot's hook
	keyFile       string
}

func startVM(t *testing.T, first *testkit.Leaf) *vm {
	t.Helper()
	nginx := need(t, "nginx")[0]
	dir := directory(t)
	p := ports(t, 2)
	m := &vm{
		plain: loopback(p[0]), secure: loopback(p[1]), webroot: filepath.Join(dir, "www"),
		certFile: filepath.Join(dir, "cert.pem"), keyFile: filepath.Join(dir, "key.pem"),
	}
	write(t, m.certFile, string(first.CertPEM))
	write(t, m.keyFile, string(first.KeyPEM))
	write(t, filepath.Join(m.webroot, ".well-known/acme-challenge/hand-made"), "hand-made.answer")
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;"
	}
	write(t, filepath.Join(dir, "nginx.conf"), fmt.Sprintf(`
%s
daemon off;
worker_processes 1;
pid %[2]s/nginx.pid;
error_log stderr info;
events { worker_connections 512; }
http {
    access_log /dev/stdout;
    client_body_temp_path %[2]s/body; proxy_temp_path %[2]s/proxy; fastcgi_temp_path %[2]s/fcgi;
    uwsgi_temp_path %[2]s/uwsgi; scgi_temp_path %[2]s/scgi;
    server {
        listen %[3]s;
        location /.well-known/acme-challenge/ { root %[4]s; default_type text/plain; }
        location / { return 200 "plain VM, host $host, from $http_x_forwarded_for\n"; }
    }
    server {
        listen %[5]s ssl http2;
        ssl_certificate %[6]s;
        ssl_certificate_key %[7]s;
        location / { return 200 "secure VM, SNI $ssl_server_name, $server_protocol\n"; }
    }
}`, user, dir, m.plain, m.webroot, m.secure, m.certFile, m.keyFile))
	m.daemon = start(t, nil, nginx, "-p", dir, "-e", "stderr", "-c", filepath.Join(dir, "nginx.conf"))
	m.listening(t, m.plain, m.secure)
	return m
}

// hook is a shell command that gives certbot's newest certificate to this machine.
func (m *vm) hook() string {
	return fmt.Sprintf(`cp "$RENEWED_LINEAGE/fullchain.pem" %s && cp "$RENEWED_LINEAGE/privkey.pem" %s && kill -HUP %d`,
		m.certFile, m.keyFile, m.cmd.Process.Pid)
}

// requests tells how many requests whose line begins with prefix the machine has answered.
func (m *vm) requests(prefix string) int { return strings.Count(m.said(), `"`+prefix) }

// freeze makes the machine accept connections and say nothing, as one that hangs does; thaw undoes it.
func (m *vm) freeze(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(-m.cmd.Process.Pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.thaw)
}

func (m *vm) thaw() { syscall.Kill(-m.cmd.Process.Pid, syscall.SIGCONT) }
