// Package opa asks an Open Policy Agent about each request, over its data API. The middleware's key is opa.
//
// The policies are the agent's: they are written in Rego, which is not evaluated here (docs/adr says why). A request passes if
// the document that allow names is true; one that is false, undefined or anything else refuses. Where the agent does not
// answer, the answer is 503.
package opa

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/core/route"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/claims"
	"sluice/internal/traffic/middleware/outgoing"
	"sluice/internal/wire/httpmsg"
)

// maxResult is the largest document that is taken from the agent, in bytes.
const maxResult = 256 << 10

// Kind is the row of opa.
func Kind() middleware.Kind {
	return middleware.Kind{Name: "opa", Check: check, Build: build}
}

type guard struct {
	asker *outgoing.Asker
	allow *url.URL // nil where all pass
	tells []tell
	names middleware.Names
	next  httpmsg.Handler
}

// tell is a header with the document that it takes.
type tell struct {
	name string
	from *url.URL
}

func check(c *dynamic.Middleware) diag.List {
	var l diag.List
	o := c.OPA
	bad := func(key, message, hint string) { l.Add(middleware.Bad("opa."+key, message, hint)) }
	for _, own := range []struct{ key, value string }{{"policy", o.Policy}, {"bundlePath", o.BundlePath}} {
		if own.value != "" {
			l.Add(diag.Finding{Severity: diag.Error, Key: "opa." + own.key, Code: "NOT-SUPPORTED", Message: "policies in Rego are not evaluated here",
				Hint: "run `opa run --server` with the policy and give its url; the middleware policy decides by rules without one"})
		}
	}
	base, err := outgoing.ParseURL(o.URL)
	if err != nil {
		bad("url", err.Error(), "write it like http://127.0.0.1:8181")
		base = &url.URL{}
	}
	if o.Allow == "" && len(o.ForwardHeaders) == 0 {
		l.Add(middleware.Bad("opa", "there is nothing to ask", "give allow, such as data.example.allow"))
	}
	if o.Allow != "" {
		if _, err := document(base, o.Allow); err != nil {
			bad("allow", err.Error(), "write it like data.example.allow")
		}
	} else if len(o.ForwardHeaders) > 0 {
		l.Add(middleware.Odd("opa.allow", "without allow every request passes", "give allow, such as data.example.allow"))
	}
	for _, name := range slices.Sorted(maps.Keys(o.ForwardHeaders)) {
		if !middleware.Settable(name) {
			bad("forwardHeaders."+name, fmt.Sprintf("%q is no name of a header that can be set", name), "")
		} else if _, err := document(base, o.ForwardHeaders[name]); err != nil {
			bad("forwardHeaders."+name, err.Error(), "write it like data.example.group")
		}
	}
	return append(l, outgoing.CheckAsker("opa.clientConfig", o.ClientConfig)...)
}

// document returns where the agent has a document such as data.example.allow.
func document(base *url.URL, text string) (*url.URL, error) {
	path, err := claims.ParsePath(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q: %w", text, err)
	case len(path) < 2 || path[0] != "data":
		return nil, fmt.Errorf("%q is no document below data", text)
	}
	for _, name := range path {
		if strings.ContainsAny(name, "()[]{}=<>!&|,\"' \t\r\n/%") || name == "." || name == ".." {
			return nil, fmt.Errorf("%q is an expression; only documents such as data.example.allow can be asked for", text)
		}
	}
	root := *base
	if root.Path == "" {
		root.Path = "/"
	}
	return root.JoinPath(append([]string{"v1"}, path...)...), nil
}

func build(c *dynamic.Middleware, env middleware.Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	if err := middleware.Refusal(check(c)); err != nil {
		return nil, err
	}
	o := c.OPA
	g := &guard{next: next}
	var err error
	if g.asker, err = outgoing.NewAsker(env, "opa", o.ClientConfig); err != nil {
		return nil, fmt.Errorf("opa.%w", err)
	}
	base, err := outgoing.ParseURL(o.URL)
	if err != nil {
		return nil, fmt.Errorf("opa.url: %w", err)
	}
	if o.Allow != "" {
		if g.allow, err = document(base, o.Allow); err != nil {
			return nil, fmt.Errorf("opa.allow: %w", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.ForwardHeaders)) {
		from, err := document(base, o.ForwardHeaders[name])
		if err != nil {
			return nil, fmt.Errorf("opa.forwardHeaders.%s: %w", name, err)
		}
		g.tells, g.names = append(g.tells, tell{name, from}), append(g.names, name)
	}
	return g, nil
}

// refusal is the answer to all who are not allowed. It is never changed.
var refusal = fault.New(fault.Forbidden, "opa: the policy does not allow the request", nil)

// Serve implements httpmsg.Handler.
func (g *guard) Serve(x *httpmsg.Exchange) error {
	g.names.Remove(&x.Req.Header)
	question, err := input(x)
	if err != nil {
		return err
	}
	ctx, end := outgoing.Within(x, g.asker.Patience())
	allowed, told, err := g.ask(ctx, question)
	end()
	switch {
	case err != nil && x.Cancelled() != nil:
		return fault.New(fault.ClientGone, "opa: asking the agent", x.Cancelled())
	case err != nil:
		return fault.New(fault.AuthUnavailable, "opa", err)
	case !allowed:
		return refusal
	}
	for i, t := range g.tells {
		if told[i] != nil {
			x.Req.Header.Add(t.name, claims.Text(told[i]))
		}
	}
	return g.next.Serve(x)
}

// ask asks for all documents that are needed, the deciding one first.
func (g *guard) ask(ctx context.Context, question []byte) (allowed bool, told []any, err error) {
	if g.allow != nil {
		v, err := g.get(ctx, g.allow, question)
		if err != nil || v != true {
			return false, nil, err
		}
	}
	told = make([]any, len(g.tells))
	for i, t := range g.tells {
		if told[i], err = g.get(ctx, t.from, question); err != nil {
			return false, nil, err
		}
	}
	return true, told, nil
}

// get returns a document, nil where it is undefined.
func (g *guard) get(ctx context.Context, from *url.URL, question []byte) (any, error) {
	answer, err := g.asker.Ask(ctx, outgoing.Question{Method: http.MethodPost, URL: from, Body: question, Limit: maxResult,
		Header: http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}}})
	if err != nil {
		return nil, err
	}
	if answer.Status != http.StatusOK {
		return nil, fmt.Errorf("asking %s: the agent answered %d", outgoing.Shown(from), answer.Status)
	}
	result, err := claims.Decode(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", outgoing.Shown(from), errors.New("the answer is no JSON object"))
	}
	return result["result"], nil
}

// input is the request as policies see it, as JSON.
func input(x *httpmsg.Exchange) ([]byte, error) {
	path, err := route.RoutingPath(nil, x.Req.Path)
	if err != nil {
		return nil, fault.New(fault.BadRequest, "opa: the path holds a broken percent code", err)
	}
	// Several values of a field are one text, as RFC 9110 section 5.2 joins them.
	headers := map[string]string{}
	for i := range x.Req.Header.Len() {
		f := x.Req.Header.At(i)
		name := http.CanonicalHeaderKey(f.Name.String())
		if before, there := headers[name]; there {
			separator := ", "
			if f.ID == httpmsg.HdrCookie {
				separator = "; "
			}
			headers[name] = before + separator + f.Value.String()
		} else {
			headers[name] = f.Value.String()
		}
	}
	scheme := "http"
	if x.Req.TLS {
		scheme = "https"
	}
	query, _ := url.ParseQuery(x.Req.Query.String()) // what is malformed is left out
	type request struct {
		Method   string              `json:"method"`
		Scheme   string              `json:"scheme"`
		Host     string              `json:"host"`
		Path     string              `json:"path"`
		RawQuery string              `json:"rawQuery"`
		Query    map[string][]string `json:"query"`
		Headers  map[string]string   `json:"headers"`
		ClientIP string              `json:"clientIP"`
		User     string              `json:"user"`
	}
	client := ""
	if a := x.Peer.Addr(); a.IsValid() {
		client = a.Unmap().WithZone("").String()
	}
	text, err := json.Marshal(map[string]any{"input": request{x.Req.Method.String(), scheme, x.Req.Host.String(), string(path), x.Req.Query.String(), query, headers, client, x.Facts.User}})
	if err != nil {
		return nil, fault.New(fault.Internal, "opa: describing the request", err)
	}
	return text, nil
}
