// Package grpcweb lets browsers call gRPC services: gRPC-Web calls become gRPC ones and back. The middleware's key is
// grpcWeb.
//
// The two differ in little. Browsers cannot read trailers, so they come as a last frame of the body; and the -text form, for
// browsers that cannot read bytes either, has the body in base64. The service behind must be spoken to in HTTP/2.
package grpcweb

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/httpmsg"
)

const (
	plainType = "application/grpc"
	webType   = "application/grpc-web"
	textType  = "application/grpc-web-text"
	// preflightAge is how long browsers may remember a preflight, in seconds.
	preflightAge = "600"
)

// Kind is the row of grpcWeb.
func Kind() middleware.Kind {
	return middleware.Kind{Name: "grpcWeb", Check: check, Build: build}
}

type translator struct {
	origins []string
	any     bool
	next    httpmsg.Handler
}

func check(c *dynamic.Middleware) diag.List {
	var l diag.List
	for i, o := range c.GRPCWeb.AllowOrigins {
		key := fmt.Sprintf("grpcWeb.allowOrigins[%d]", i)
		switch {
		case o == "*":
		case !httpmsg.IsFieldValue(httpmsg.Text(o)) || strings.ContainsAny(o, " \t"):
			l.Add(middleware.Bad(key, "this can be no origin", "write it like https://app.example.com"))
		case o != "null" && (!strings.Contains(o, "://") || strings.Count(o, "/") > 2):
			l.Add(middleware.Odd(key, "browsers send no such origin", "write it like https://app.example.com, without a path"))
		}
	}
	return l
}

func build(c *dynamic.Middleware, _ middleware.Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	if err := middleware.Refusal(check(c)); err != nil {
		return nil, err
	}
	o := c.GRPCWeb.AllowOrigins
	return &translator{origins: o, any: slices.Contains(o, "*"), next: next}, nil
}

// Serve implements httpmsg.Handler.
func (t *translator) Serve(x *httpmsg.Exchange) error {
	switch {
	case x.Req.Method.Is("OPTIONS") && announces(&x.Req.Header):
		t.preflight(x)
		return nil
	case x.Req.Method.Is("POST") && begins(x.Req.Header.Get(httpmsg.HdrContentType), webType):
		return t.call(x)
	}
	return t.next.Serve(x)
}

// announces reports whether a preflight asks for a gRPC-Web call.
func announces(h *httpmsg.Header) bool {
	for list := h.Lookup("Access-Control-Request-Headers"); len(list) > 0; {
		var name httpmsg.View
		if name, list = cut(list); name.EqualFold("x-grpc-web") {
			return true
		}
	}
	return false
}

func cut(list httpmsg.View) (first, rest httpmsg.View) {
	if i := bytes.IndexByte(list, ','); i >= 0 {
		return bytes.Trim(list[:i], " \t"), list[i+1:]
	}
	return bytes.Trim(list, " \t"), nil
}

func begins(v httpmsg.View, prefix string) bool {
	return len(v) >= len(prefix) && v[:len(prefix)].EqualFold(prefix)
}

func (t *translator) allows(origin httpmsg.View) bool {
	if len(origin) == 0 {
		return false
	}
	return t.any || slices.ContainsFunc(t.origins, func(o string) bool { return origin.Is(o) })
}

// preflight answers for the service (Fetch standard, section 3.3). Without the headers the browser refuses by itself.
func (t *translator) preflight(x *httpmsg.Exchange) {
	origin := x.Req.Header.Get(httpmsg.HdrOrigin)
	method := x.Req.Header.Lookup("Access-Control-Request-Method")
	asked := x.Req.Header.Lookup("Access-Control-Request-Headers")
	x.Respond(200, "", "")
	h := &x.Res.Header
	h.AddID(httpmsg.HdrVary, httpmsg.Text("Origin, Access-Control-Request-Method, Access-Control-Request-Headers"))
	if !t.allows(origin) || !method.Is("POST") {
		return
	}
	h.Append(field("Access-Control-Allow-Origin", origin))
	h.Add("Access-Control-Allow-Methods", "POST")
	h.Append(field("Access-Control-Allow-Headers", asked))
	h.Add("Access-Control-Allow-Credentials", "true")
	h.Add("Access-Control-Max-Age", preflightAge)
}

func field(name string, value httpmsg.View) httpmsg.Field {
	return httpmsg.Field{Name: httpmsg.Text(name), Value: value, ID: httpmsg.IDOf(name)}
}

// call translates one call.
func (t *translator) call(x *httpmsg.Exchange) error {
	req := &x.Req
	written := req.Header.Get(httpmsg.HdrContentType)
	spoken := webType
	if begins(written, textType) {
		spoken = textType
		if req.Body != nil {
			req.Body = &decoder{src: req.Body}
		}
	}
	kind := written[len(spoken):] // +proto and the like
	req.Header.SetID(httpmsg.HdrContentType, joined(x, plainType, kind))
	req.Header.DelID(httpmsg.HdrContentLength)
	if req.Body != nil {
		req.ContentLength = -1
	}
	req.Trailers = true
	if t.allows(req.Header.Get(httpmsg.HdrOrigin)) {
		x.OnCommit(&shares{origin: req.Header.Get(httpmsg.HdrOrigin)})
	}
	err := t.next.Serve(x)
	if err != nil {
		return err
	}
	res := &x.Res
	answered := res.Header.Get(httpmsg.HdrContentType)
	if !begins(answered, plainType) || begins(answered, webType) {
		return nil // no gRPC server answered
	}
	res.Header.SetID(httpmsg.HdrContentType, joined(x, spoken, answered[len(plainType):]))
	res.Header.DelID(httpmsg.HdrContentLength)
	res.Header.DelID(httpmsg.HdrTrailer)
	// An answer without a body has its trailers in the head, where browsers can read them.
	if res.Body != nil {
		res.Body = &framer{x: x, src: res.Body, text: spoken == textType}
		res.ContentLength = -1
	}
	return nil
}

// joined puts a and b together, in memory of the exchange.
func joined(x *httpmsg.Exchange, a string, b httpmsg.View) httpmsg.View {
	out := x.Scratch(len(a) + len(b))
	copy(out[copy(out, a):], b)
	return out
}

// shares lets scripts of an allowed origin read a response. It implements httpmsg.Edit.
type shares struct{ origin httpmsg.View }

// EditResponse implements httpmsg.Edit.
func (s *shares) EditResponse(x *httpmsg.Exchange) {
	h := &x.Res.Header
	h.Del("Access-Control-Expose-Headers")
	h.Del("Access-Control-Allow-Origin")
	h.Del("Access-Control-Allow-Credentials")
	var names strings.Builder
	for i := range h.Len() {
		names.Write(h.At(i).Name)
		names.WriteString(", ")
	}
	names.WriteString("grpc-status, grpc-message")
	h.Append(field("Access-Control-Allow-Origin", s.origin))
	h.Add("Access-Control-Allow-Credentials", "true")
	h.Add("Access-Control-Expose-Headers", names.String())
	if !varies(h) {
		h.AddID(httpmsg.HdrVary, httpmsg.Text("Origin"))
	}
}

func varies(h *httpmsg.Header) bool {
	for i := h.IndexID(httpmsg.HdrVary, 0); i >= 0; i = h.IndexID(httpmsg.HdrVary, i+1) {
		for list := h.At(i).Value; len(list) > 0; {
			var name httpmsg.View
			if name, list = cut(list); name.EqualFold("Origin") || name.Is("*") {
				return true
			}
		}
	}
	return false
}
