//go:build !nowaf

package waf

import (
	"io"
	"net/http"
	"strings"

	"github.com/corazawaf/coraza/v3/types"

	"sluice/internal/core/fault"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/spool"
	"sluice/internal/wire/httpmsg"
)

// firewall is one instance.
type firewall struct {
	engine *engine
	rules  *rules
	env    middleware.Env
	slots  *middleware.Slots
	next   httpmsg.Handler
}

// inspection is what the rules know about one exchange. It ends with it.
type inspection struct {
	f  *firewall
	tx types.Transaction
}

// Finish implements httpmsg.Finisher.
func (i *inspection) Finish(x *httpmsg.Exchange) {
	i.tx.ProcessLogging()
	if log := i.f.env.Log; log != nil {
		for _, m := range i.tx.MatchedRules() {
			if text := m.Message(); text != "" {
				// Never what matched: that is the client's, and may be a password.
				log.Info("A firewall rule matched", "middleware", i.f.env.Name, "router", i.f.env.Router, "rule", m.Rule().ID(), "message", text,
					"severity", m.Rule().Severity().String(), "client", x.Peer.Addr().String())
			}
		}
	}
	if err := i.tx.Close(); err != nil && i.f.env.Log != nil {
		i.f.env.Log.Error("the firewall could not clean up", "middleware", i.f.env.Name, "err", err)
	}
}

// Serve implements httpmsg.Handler.
func (f *firewall) Serve(x *httpmsg.Exchange) error {
	tx := f.engine.waf.NewTransaction()
	i := &inspection{f, tx}
	x.OnFinish(i)
	if tx.IsRuleEngineOff() {
		return f.next.Serve(x)
	}
	if done, err := i.request(x); done || err != nil {
		return err
	}
	if err := f.next.Serve(x); err != nil || x.Upgrade != nil {
		return err
	}
	return i.response(x)
}

// request runs the rules about requests. done tells that the answer stands on x.
func (i *inspection) request(x *httpmsg.Exchange) (done bool, err error) {
	tx, r := i.tx, &x.Req
	tx.ProcessConnection(x.Peer.Addr().Unmap().String(), int(x.Peer.Port()), x.Local.Addr().Unmap().String(), int(x.Local.Port()))
	target := r.Path.String()
	if r.HasQuery {
		target += "?" + r.Query.String()
	}
	tx.ProcessURI(target, r.Method.String(), r.Proto.String())
	for n := range r.Header.Len() {
		h := r.Header.At(n)
		tx.AddRequestHeader(h.Name.String(), h.Value.String())
	}
	host := r.Host.String()
	tx.AddRequestHeader("Host", host)
	tx.SetServerName(host)
	if it := tx.ProcessRequestHeaders(); it != nil {
		return i.refuse(x, it)
	}
	if r.Body != nil && tx.IsRequestBodyAccessible() {
		if !spool.IsStream(r) {
			return i.requestBody(x)
		}
		// Whoever sends a request chooses its type: that must not be a way around the rules.
		if !i.f.rules.partly {
			return false, fault.New(fault.Forbidden, "waf: the body of a gRPC stream cannot be inspected", nil)
		}
	}
	// Also without a body: the rules of its phase judge all of the request.
	it, err := tx.ProcessRequestBody()
	if err != nil {
		return false, fault.New(fault.Internal, "waf: inspecting the request", err)
	}
	return i.refuse(x, it)
}

// requestBody reads the body of a request ahead and gives it to the rules.
func (i *inspection) requestBody(x *httpmsg.Exchange) (done bool, err error) {
	f, r := i.f, &x.Req
	if !f.rules.partly && r.ContentLength > f.rules.request {
		return false, fault.New(fault.BodyTooLarge, "waf: the request says it is larger than SecRequestBodyLimit", nil)
	}
	body, whole, err := spool.Read(r.Body, r.ContentLength, spool.Limits{Memory: memoryLimit, Max: f.rules.request, Budget: f.env.Budget})
	if err != nil {
		return false, err
	}
	x.OnFinish(body)
	if whole {
		r.Body, r.ContentLength, r.Continue = body.Source(), body.Size(), false
	} else {
		r.Body = body // goes on with what was not read ahead
		if !f.rules.partly {
			return false, fault.New(fault.BodyTooLarge, "waf: the request is larger than SecRequestBodyLimit", nil)
		}
	}
	if !f.slots.Take() {
		return false, fault.New(fault.OutOfBudget, "waf: too many bodies are being inspected", nil)
	}
	defer f.slots.Give()
	it, _, err := i.tx.ReadRequestBodyFrom(io.LimitReader(body.Reader(), f.rules.request))
	if err != nil {
		return false, fault.New(fault.Internal, "waf: reading the request's body", err)
	}
	if it != nil {
		return i.refuse(x, it)
	}
	it, err = i.tx.ProcessRequestBody()
	if err != nil {
		return false, fault.New(fault.Internal, "waf: inspecting the request's body", err)
	}
	return i.refuse(x, it)
}

// response runs the rules about responses.
func (i *inspection) response(x *httpmsg.Exchange) error {
	tx, res := i.tx, &x.Res
	for n := range res.Header.Len() {
		h := res.Header.At(n)
		tx.AddResponseHeader(h.Name.String(), h.Value.String())
	}
	if it := tx.ProcessResponseHeaders(res.Status, x.Req.Proto.String()); it != nil {
		_, err := i.refuse(x, it)
		return err
	}
	if res.Body == nil || x.Bodiless() || !tx.IsResponseBodyAccessible() || !tx.IsResponseBodyProcessable() || res.Header.Has(httpmsg.HdrContentEncoding) {
		return nil
	}
	tooLarge := func() error {
		return fault.New(fault.Internal, "waf: the response is larger than SecResponseBodyLimit", nil)
	}
	if i.f.rules.reject && res.ContentLength > i.f.rules.response {
		return tooLarge()
	}
	src := res.Body
	body, whole, err := spool.Read(src, res.ContentLength, spool.Limits{Memory: memoryLimit, Max: i.f.rules.response, Budget: i.f.env.Budget})
	if err != nil {
		return err
	}
	x.OnFinish(body)
	res.Body = body
	if i.f.rules.reject && !whole {
		return tooLarge()
	}
	if whole && !body.HasTrailer() { // with a length there is no room for trailers on HTTP/1
		src.Close()
		res.Body, res.ContentLength = body.Source(), body.Size()
	}
	if !i.f.slots.Take() {
		return fault.New(fault.OutOfBudget, "waf: too many bodies are being inspected", nil)
	}
	defer i.f.slots.Give()
	it, _, err := tx.ReadResponseBodyFrom(io.LimitReader(body.Reader(), i.f.rules.response))
	if err == nil && it == nil {
		it, err = tx.ProcessResponseBody()
	}
	if err != nil {
		return fault.New(fault.Internal, "waf: inspecting the response", err)
	}
	_, err = i.refuse(x, it)
	return err
}

// refuse does what a rule wants, if one does.
func (i *inspection) refuse(x *httpmsg.Exchange, it *types.Interruption) (done bool, err error) {
	if it == nil {
		return false, nil
	}
	if log := i.f.env.Log; log != nil {
		log.Warn("The firewall refused an exchange", "middleware", i.f.env.Name, "router", i.f.env.Router, "rule", it.RuleID,
			"action", it.Action, "client", x.Peer.Addr().String())
	}
	if to := strings.TrimSpace(it.Data); it.Action == "redirect" && to != "" && httpmsg.IsFieldValue(httpmsg.Text(to)) {
		status := it.Status
		if status < 300 || status > 399 {
			status = http.StatusFound
		}
		x.Respond(status, "text/plain; charset=utf-8", http.StatusText(status))
		x.Res.Header.AddID(httpmsg.HdrLocation, httpmsg.Text(to))
		return true, nil
	}
	f := fault.New(fault.Forbidden, "waf: rule "+decimal(it.RuleID), nil)
	if middleware.KnownStatus(it.Status) && it.Status >= 400 {
		f.StatusCode = it.Status
	}
	if it.Action == "drop" {
		x.CloseAfter = true
	}
	return true, f
}

func decimal(n int) string { return string(httpmsg.AppendInt(nil, int64(n))) }
