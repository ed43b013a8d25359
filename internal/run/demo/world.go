package demo

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// Names of the demo's hosts, those of the article that the product starts from among them.
const (
	vmHost   = "www.vm.mydomain.com"
	appHost  = "app.mydomain.com"
	blogHost = "blog.mydomain.com"
	// challenge is a token as an ACME client on the VM would serve it (RFC 8555 section 8.3).
	challenge    = "yK1iwHnN-_RFgGed5cyyHfi2IjCx7Xbi-DeMaY8zoJw"
	challengeKey = challenge + ".demo-account-thumbprint"
)

// world is what stands behind Sluice: a virtual machine with a certificate of its own, and two services.
type world struct {
	// vmPlain, vmTLS, app and blog are host:port.
	vmPlain, vmTLS, app, blog string
	// cert and key are the certificate of app and blog, which Sluice terminates.
	cert, key []byte
	// dir holds the two authorities as ca-vm.pem and ca-sluice.pem.
	dir     string
	servers []*http.Server
}

// newWorld starts everything on loopback ports that the system chooses.
func newWorld() (w *world, err error) {
	w = &world{}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.dir, err = os.MkdirTemp("", "sluice-demo-"); err != nil {
		return w, err
	}
	vmCA, err := newAuthority("Demo VM authority")
	if err != nil {
		return w, err
	}
	ourCA, err := newAuthority("Demo Sluice authority")
	if err != nil {
		return w, err
	}
	for name, ca := range map[string]*authority{"ca-vm.pem": vmCA, "ca-sluice.pem": ourCA} {
		if err = os.WriteFile(filepath.Join(w.dir, name), ca.pem, 0o644); err != nil {
			return w, err
		}
	}
	vmCert, vmKey, err := vmCA.issue(vmHost)
	if err != nil {
		return w, err
	}
	pair, err := tls.X509KeyPair(vmCert, vmKey)
	if err != nil {
		return w, err
	}
	if w.cert, w.key, err = ourCA.issue(appHost, blogHost); err != nil {
		return w, err
	}
	if w.vmPlain, err = w.serve(vm("plain HTTP"), nil); err != nil {
		return w, err
	}
	if w.vmTLS, err = w.serve(vm("its own TLS"), &tls.Config{Certificates: []tls.Certificate{pair}}); err != nil {
		return w, err
	}
	if w.app, err = w.serve(container("app"), nil); err != nil {
		return w, err
	}
	w.blog, err = w.serve(container("blog"), nil)
	return w, err
}

// serve starts a server and returns its address. With a TLS configuration it speaks TLS.
func (w *world) serve(h http.Handler, config *tls.Config) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s := &http.Server{Handler: h, TLSConfig: config}
	w.servers = append(w.servers, s)
	go func() {
		if config != nil {
			err = s.ServeTLS(l, "", "")
		} else {
			err = s.Serve(l)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "sluice: demo:", err)
		}
	}()
	return l.Addr().String(), nil
}

func (w *world) close() {
	for _, s := range w.servers {
		s.Close()
	}
	if w.dir != "" {
		os.RemoveAll(w.dir)
	}
}

// vm answers as the virtual machine does; how says by which door the request came.
func vm(how string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/acme-challenge/"+challenge, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/octet-stream")
		fmt.Fprint(rw, challengeKey)
	})
	mux.HandleFunc("/", func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(rw, "hello from the VM, over %s\nX-Forwarded-For: %q\n", how, r.Header.Get("X-Forwarded-For"))
	})
	return mux
}

// container answers as a service without a certificate of its own does.
func container(name string) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var b strings.Builder
		fmt.Fprintf(&b, "hello from the service %q\nHost: %s\n", name, r.Host)
		for _, h := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"} {
			fmt.Fprintf(&b, "%s: %s\n", h, r.Header.Get(h))
		}
		fmt.Fprint(rw, b.String())
	})
}
