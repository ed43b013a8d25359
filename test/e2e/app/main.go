// Command app is the service inside the containers of the end-to-end tests: it says its name, starts and answers as slowly
// as it is told to, and closes its listener at once when it gets SIGTERM, as many programs do.
//
//	NAME    what it answers with
//	LISTEN  its address, :8080 unless set
//	DELAY   how long it takes until it listens
//	TLS     the name in its own certificate; unset for plain HTTP
//
// Paths: /health is 200 or 503, /sick and /well decide which, /slow takes half a second. As "app health" it asks a running
// one and exits accordingly.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "health" {
		res, err := http.Get("http://127.0.0.1:8080/health")
		if err != nil || res.StatusCode != http.StatusOK {
			os.Exit(1)
		}
		return
	}
	if err := serve(); err != nil {
		log.Fatal(err)
	}
}

func serve() error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	if text := os.Getenv("DELAY"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			return err
		}
		time.Sleep(d)
	}
	address := os.Getenv("LISTEN")
	if address == "" {
		address = ":8080"
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	if name := os.Getenv("TLS"); name != "" {
		certificate, err := selfSigned(name)
		if err != nil {
			return err
		}
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{certificate}})
	}
	hostname, err := os.Hostname()
	if err != nil {
		return err
	}
	var sick atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "%s %s\n", os.Getenv("NAME"), hostname) })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(500 * time.Millisecond)
		fmt.Fprintln(w, os.Getenv("NAME"))
	})
	mux.HandleFunc("/sick", func(http.ResponseWriter, *http.Request) { sick.Store(true) })
	mux.HandleFunc("/well", func(http.ResponseWriter, *http.Request) { sick.Store(false) })
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
		if sick.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	server := &http.Server{Handler: mux}
	done := make(chan error, 1)
	go func() {
		<-stop
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		done <- server.Shutdown(ctx) // closes the listener first, then waits for what is under way
	}()
	if err := server.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return <-done
}

func selfSigned(name string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
