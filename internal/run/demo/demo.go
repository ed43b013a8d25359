// Package demo is a small world to try Sluice in, without any other program: a virtual machine that keeps its own
// certificate, two services that have none, and Sluice in front of them, all on the loopback interface.
package demo

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"io"
	"log/slog"
	"net"
	"text/template"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
	"sluice/internal/intake/decode"
	"sluice/internal/run/app"
)

//go:embed static.toml.tmpl dynamic.toml.tmpl
var files embed.FS

// Options are what can be chosen.
type Options struct {
	// Web and Secure are the ports of the entry points; 0 lets the system choose.
	Web, Secure int
	Log         *slog.Logger
}

// Demo is a running world with a router in front of it.
type Demo struct {
	world *world
	app   *app.App
}

// New starts the world and binds the router's sockets. Call Run next, and Close at the end in any case.
func New(o Options) (*Demo, error) {
	w, err := newWorld()
	if err != nil {
		return nil, err
	}
	d := &Demo{world: w}
	st, err := staticConfig(o)
	if err != nil {
		d.Close()
		return nil, err
	}
	fragment, err := dynamicConfig(w)
	if err != nil {
		d.Close()
		return nil, err
	}
	d.app, err = app.New(app.Options{Static: st, Log: o.Log, Hostname: "demo", Providers: app.Fixed("file", fragment)})
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// Run serves until stop ends; kill ends the shutdown at once.
func (d *Demo) Run(stop, kill context.Context) error { return d.app.Run(stop, kill) }

// Reload does nothing: the demo's configuration stands in the program.
func (d *Demo) Reload() { d.app.Reload() }

// Reopen does nothing: the demo has no log files.
func (d *Demo) Reopen() {}

// Close stops the world.
func (d *Demo) Close() { d.world.close() }

func render(name string, data any) ([]byte, error) {
	t, err := template.ParseFS(files, name)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, data)
	return b.Bytes(), err
}

func staticConfig(o Options) (*static.Config, error) {
	if o.Secure == 0 {
		// The redirection names the port, so it has to be known before the socket is bound.
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		o.Secure = l.Addr().(*net.TCPAddr).Port
		l.Close()
	}
	text, err := render("static.toml.tmpl", o)
	if err != nil {
		return nil, err
	}
	doc, err := decode.File("demo static.toml", text, decode.TOML)
	if err != nil {
		return nil, err
	}
	c, findings := doc.Static(nil)
	findings = append(findings, static.Validate(c, doc)...)
	if findings.Has(diag.Error) {
		return nil, fmt.Errorf("demo: %s", findings[0])
	}
	return static.Effective(c), nil
}

func dynamicConfig(w *world) (*dynamic.Fragment, error) {
	text, err := render("dynamic.toml.tmpl", map[string]string{
		"VMHost": vmHost, "AppHost": appHost, "BlogHost": blogHost, "VMPlain": w.vmPlain, "VMTLS": w.vmTLS, "App": w.app, "Blog": w.blog,
		"Cert": string(w.cert), "Key": string(w.key),
	})
	if err != nil {
		return nil, err
	}
	doc, err := decode.File("demo dynamic.toml", text, decode.TOML)
	if err != nil {
		return nil, err
	}
	return doc.Dynamic(&decode.Files{}), nil
}

// Explain prints what to try, and what to expect.
func (d *Demo) Explain(out io.Writer) {
	_, web, _ := net.SplitHostPort(d.app.Addr("web").String())
	_, secure, _ := net.SplitHostPort(d.app.Addr("secure").String())
	resolve := func(host, port string) string { return "--resolve " + host + ":" + port + ":127.0.0.1" }
	fmt.Fprintf(out, `Sluice is running on 127.0.0.1, plain on port %[1]s and TLS on port %[2]s. Behind it stand a virtual machine with a
certificate of its own (%[3]s) and two services without one (%[4]s, %[5]s).

1. TLS for the VM passes through untouched: the certificate is the VM's own.
   curl --cacert %[6]s/ca-vm.pem %[7]s https://%[3]s:%[2]s/
   -> hello from the VM, over its own TLS

2. Its plain HTTP is proxied.
   curl %[8]s http://%[3]s:%[1]s/
   -> hello from the VM, over plain HTTP

3. Its own ACME challenge reaches it, although port %[1]s redirects everybody else to https.
   curl %[8]s http://%[3]s:%[1]s/.well-known/acme-challenge/%[9]s
   -> %[10]s

4. The services are terminated by Sluice, over HTTP/2.
   curl --cacert %[6]s/ca-sluice.pem %[11]s https://%[4]s:%[2]s/
   -> hello from the service "app"
   curl --cacert %[6]s/ca-sluice.pem %[12]s https://%[5]s:%[2]s/
   -> hello from the service "blog"

5. Plain HTTP for a service is redirected.
   curl -i %[13]s http://%[4]s:%[1]s/
   -> 301 to https://%[4]s:%[2]s/

6. A host that nobody routes.
   curl -ik https://127.0.0.1:%[2]s/
   -> 404, with the header Sluice-Error: NO-ROUTER

Ctrl-C ends it.
`, web, secure, vmHost, appHost, blogHost, d.world.dir, resolve(vmHost, secure), resolve(vmHost, web), challenge, challengeKey,
		resolve(appHost, secure), resolve(blogHost, secure), resolve(appHost, web))
}
