// Package otel sends traces and metrics to collectors that speak OTLP (OpenTelemetry's protocol), by HTTP or gRPC.
package otel

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	"google.golang.org/grpc/credentials"
)

// scope is the name under which spans and metrics are grouped, as users' queries expect.
const scope = "github.com/traefik/traefik"

// flushLimit bounds sending what is left at the end.
const flushLimit = 5 * time.Second

// Endpoint is a collector.
type Endpoint struct {
	// GRPC chooses the protocol: gRPC, or HTTP with protobuf.
	GRPC bool
	// Address is host:port for gRPC and a URL for HTTP, where the scheme http means clear text and a path replaces the usual one.
	Address string
	// Insecure is clear text for gRPC.
	Insecure bool
	// Headers are added to each call.
	Headers map[string]string
	// TLS is how we connect; nil is the usual way.
	TLS *tls.Config
}

// Identity is what we call ourselves.
type Identity struct {
	Service, Version string
	// Attributes are added to the description of the process.
	Attributes map[string]string
}

// target is an Endpoint for HTTP in the pieces that exporters want.
type target struct {
	host, path string
	insecure   bool
}

func (e *Endpoint) target() (target, error) {
	u, err := url.Parse(e.Address)
	if err != nil {
		return target{}, err
	}
	return target{host: u.Host, path: strings.TrimSuffix(u.Path, "/"), insecure: u.Scheme == "http"}, nil
}

// credentials returns how gRPC connects.
func (e *Endpoint) credentials() credentials.TransportCredentials {
	c := e.TLS
	if c == nil {
		c = &tls.Config{}
	}
	return credentials.NewTLS(c)
}

// resource describes the process: what the system tells, then our name, then the configuration, then the environment
// (OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME); the later wins.
func (i *Identity) resource(ctx context.Context) (*resource.Resource, error) {
	own := []attribute.KeyValue{attribute.String("service.name", i.Service), attribute.String("service.version", i.Version)}
	var given []attribute.KeyValue
	for name, value := range i.Attributes {
		given = append(given, attribute.String(name, value))
	}
	slices.SortFunc(given, func(a, b attribute.KeyValue) int { return strings.Compare(string(a.Key), string(b.Key)) })
	return resource.New(ctx, resource.WithHost(), resource.WithOS(), resource.WithTelemetrySDK(), resource.WithProcessPID(),
		resource.WithProcessRuntimeName(), resource.WithProcessRuntimeVersion(), resource.WithContainer(),
		resource.WithAttributes(own...), resource.WithAttributes(given...), resource.WithFromEnv())
}

// HandleErrors sends what goes wrong inside the library to log, for the whole process. A collector that is away is told of
// at most once in ten seconds.
func HandleErrors(log *slog.Logger) {
	otel.SetErrorHandler(&errorHandler{log: log})
}
