package otel

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"go.opentelemetry.io/contrib/propagators/autoprop"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"sluice/internal/core/secret"
	"sluice/internal/core/static"
	"sluice/internal/observe/record"
)

// Tracer implements record.Tracer. It is safe for concurrent use.
type Tracer struct {
	provider   *sdktrace.TracerProvider
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	safe       map[string]bool
	// captured header fields, with the attributes that they become.
	requests, responses []capture
}

type capture struct{ name, attribute string }

// NewTracer starts sending spans to the collector. The context of traces is read and written as OTEL_PROPAGATORS says,
// W3C's by default. Close ends it.
func NewTracer(ctx context.Context, c *static.Tracing, e Endpoint, i Identity) (*Tracer, error) {
	exporter, err := traceExporter(ctx, e)
	if err != nil {
		return nil, err
	}
	return newTracer(ctx, c, exporter, i)
}

func newTracer(ctx context.Context, c *static.Tracing, exporter sdktrace.SpanExporter, i Identity) (*Tracer, error) {
	described, err := i.resource(ctx)
	if described == nil {
		return nil, fmt.Errorf("describing the process: %w", err)
	}
	t := &Tracer{propagator: autoprop.NewTextMapPropagator(), safe: map[string]bool{}}
	t.provider = sdktrace.NewTracerProvider(sdktrace.WithResource(described), sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.SampleRate))))
	t.tracer = t.provider.Tracer(scope)
	for _, name := range c.SafeQueryParams {
		t.safe[name] = true
	}
	t.requests = captures("http.request.header.", c.CapturedRequestHeaders)
	t.responses = captures("http.response.header.", c.CapturedResponseHeaders)
	return t, nil
}

// captures leaves User-Agent out, which has an attribute of its own.
func captures(prefix string, names []string) (out []capture) {
	for _, n := range names {
		if !strings.EqualFold(n, "User-Agent") {
			out = append(out, capture{n, prefix + strings.ToLower(n)})
		}
	}
	return out
}

func traceExporter(ctx context.Context, e Endpoint) (*otlptrace.Exporter, error) {
	if e.GRPC {
		o := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(e.Address), otlptracegrpc.WithHeaders(e.Headers), otlptracegrpc.WithCompressor("gzip")}
		if e.Insecure {
			o = append(o, otlptracegrpc.WithInsecure())
		} else {
			o = append(o, otlptracegrpc.WithTLSCredentials(e.credentials()))
		}
		return otlptracegrpc.New(ctx, o...)
	}
	t, err := e.target()
	if err != nil {
		return nil, err
	}
	o := []otlptracehttp.Option{otlptracehttp.WithEndpoint(t.host), otlptracehttp.WithHeaders(e.Headers), otlptracehttp.WithCompression(otlptracehttp.GzipCompression)}
	if t.path != "" {
		o = append(o, otlptracehttp.WithURLPath(t.path))
	}
	switch {
	case t.insecure:
		o = append(o, otlptracehttp.WithInsecure())
	case e.TLS != nil:
		o = append(o, otlptracehttp.WithTLSClientConfig(e.TLS))
	}
	return otlptracehttp.New(ctx, o...)
}

// Close sends what is left, for a bounded time.
func (t *Tracer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	return t.provider.Shutdown(ctx)
}

// Begin implements record.Tracer.
func (t *Tracer) Begin(b *record.Begin) record.Span {
	ctx := t.propagator.Extract(context.Background(), b.Header)
	ctx, s := t.tracer.Start(ctx, method(b.Method), trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(b.Start))
	if s.IsRecording() {
		s.SetAttributes(t.describe(b)...)
	}
	return &span{t: t, ctx: ctx, s: s}
}

// describe are the attributes of a request, after the semantic conventions for HTTP servers. Texts are copied, since spans
// outlive the request.
func (t *Tracer) describe(b *record.Begin) []attribute.KeyValue {
	scheme := "http"
	if b.Secure {
		scheme = "https"
	}
	host, port := b.Host, ""
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host, port = host[:i], host[i+1:]
	}
	out := []attribute.KeyValue{
		attribute.String("entry_point", b.EntryPoint),
		attribute.String("http.request.method", method(b.Method)),
		attribute.String("network.protocol.version", strings.TrimSuffix(strings.TrimPrefix(b.Proto, "HTTP/"), ".0")),
		attribute.String("url.path", text(b.Path)),
		attribute.String("url.query", text(t.query(b.Query))),
		attribute.String("url.scheme", scheme),
		attribute.String("user_agent.original", text(b.Header.Get("User-Agent"))),
		attribute.String("server.address", text(host)),
		attribute.String("network.peer.address", b.ClientIP),
		attribute.String("client.address", b.ClientIP),
		attribute.Int("network.peer.port", b.ClientPort),
		attribute.Int("client.port", b.ClientPort),
	}
	if n, err := strconv.Atoi(port); err == nil {
		out = append(out, attribute.Int("server.port", n))
	}
	for _, c := range t.requests {
		if v := b.Header.Get(c.name); v != "" {
			out = append(out, attribute.StringSlice(c.attribute, []string{text(v)}))
		}
	}
	return out
}

// text copies a text that others wrote, since spans outlive the request, and makes it valid UTF-8: one that is not would cost
// the whole batch of spans.
func text(s string) string { return strings.Clone(strings.ToValidUTF8(s, "\uFFFD")) }

// query redacts the values of parameters that nobody has called safe.
func (t *Tracer) query(raw string) string {
	if raw == "" {
		return ""
	}
	var out strings.Builder
	for i, pair := range strings.Split(raw, "&") {
		if i > 0 {
			out.WriteByte('&')
		}
		name, value, has := strings.Cut(pair, "=")
		out.WriteString(name)
		if has {
			out.WriteByte('=')
			if plain, err := url.QueryUnescape(name); err == nil && t.safe[plain] {
				out.WriteString(value)
			} else {
				out.WriteString(secret.Redacted)
			}
		}
	}
	return out.String()
}

// method returns a text that may be kept: one of the usual methods, else _OTHER, as the conventions have it.
func method(m string) string {
	for _, known := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"} {
		if m == known {
			return known
		}
	}
	return "_OTHER"
}

// span implements record.Span.
type span struct {
	t      *Tracer
	ctx    context.Context
	s      trace.Span
	client bool
}

// Child implements record.Span.
func (s *span) Child(name string, client bool, attributes ...string) record.Span {
	kind := trace.SpanKindInternal
	if client {
		kind = trace.SpanKindClient
	}
	ctx, child := s.t.tracer.Start(s.ctx, name, trace.WithSpanKind(kind))
	if child.IsRecording() {
		for i := 0; i+1 < len(attributes); i += 2 {
			child.SetAttributes(attribute.String(attributes[i], attributes[i+1]))
		}
	}
	return &span{t: s.t, ctx: ctx, s: child, client: client}
}

// Inject implements record.Span.
func (s *span) Inject(c record.Carrier) { s.t.propagator.Inject(s.ctx, c) }

// IDs implements record.Span.
func (s *span) IDs() (traceID, spanID string) {
	if c := s.s.SpanContext(); c.IsSampled() {
		return c.TraceID().String(), c.SpanID().String()
	}
	return "", ""
}

// End implements record.Span.
func (s *span) End(r *record.Record) {
	if r != nil && s.s.IsRecording() {
		s.outcome(r)
	}
	s.s.End()
}

// outcome writes what became of the request. For servers a failure is a status from 500 on, for clients from 400 on.
func (s *span) outcome(r *record.Record) {
	status, failed := r.Status, 500
	if s.client {
		status, failed = r.OriginStatus, 400
		if u, err := url.Parse(r.Server); err == nil && u.Host != "" {
			s.s.SetAttributes(attribute.String("server.address", u.Hostname()), attribute.String("url.scheme", u.Scheme),
				attribute.String("url.full", text(u.Scheme+"://"+u.Host+r.Path)), attribute.String("http.request.method", method(r.Method)))
			if n, err := strconv.Atoi(u.Port()); err == nil {
				s.s.SetAttributes(attribute.Int("server.port", n))
			}
		}
	} else {
		for _, c := range s.t.responses {
			if v, ok := record.Value(r.Response, c.name); ok {
				s.s.SetAttributes(attribute.StringSlice(c.attribute, []string{text(v)}))
			}
		}
	}
	if status != 0 {
		s.s.SetAttributes(attribute.Int("http.response.status_code", status))
	}
	switch {
	case r.Fault != nil && (!s.client || r.OriginStatus == 0):
		s.s.SetAttributes(attribute.String("error.type", r.Fault.Kind.Code()))
		if status >= failed || status == 0 {
			s.s.SetStatus(codes.Error, text(r.Fault.Error()))
		}
	case status >= failed:
		s.s.SetAttributes(attribute.String("error.type", strconv.Itoa(status)))
		s.s.SetStatus(codes.Error, "")
	}
}
