package middleware

import (
	"fmt"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// ipAllowList lets clients of listed addresses pass. It is ipWhiteList too.
type ipAllowList struct {
	ranges  *Ranges
	client  Client
	refusal *fault.Fault
	next    httpmsg.Handler
}

func checkIPAllowList(c *dynamic.Middleware) diag.List {
	a := c.IPAllowList
	l := checkAllowed("ipAllowList", a.SourceRange, a.IPStrategy)
	if !KnownStatus(rejectStatus(a.RejectStatusCode)) {
		l.Add(Bad("ipAllowList.rejectStatusCode", fmt.Sprintf("%d is not a status code for an answer", a.RejectStatusCode), "a usual one is 403"))
	}
	return l
}

func checkIPWhiteList(c *dynamic.Middleware) diag.List {
	return checkAllowed("ipWhiteList", c.IPWhiteList.SourceRange, c.IPWhiteList.IPStrategy)
}

func checkAllowed(kind string, sourceRange []string, s *dynamic.IPStrategy) diag.List {
	l := CheckIPStrategy(kind+".ipStrategy", s)
	if len(sourceRange) == 0 {
		l.Add(Bad(kind+".sourceRange", "sourceRange is empty", "list the addresses that may pass"))
	} else if _, err := ParseRanges(sourceRange); err != nil {
		l.Add(Bad(kind+".sourceRange", err.Error(), ""))
	}
	return l
}

// rejectStatus applies the default to a status code that is zero.
func rejectStatus(code int) int {
	if code == 0 {
		return 403
	}
	return code
}

func buildIPAllowList(c *dynamic.Middleware, _ Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	a := c.IPAllowList
	return newAllowList(a.SourceRange, a.IPStrategy, rejectStatus(a.RejectStatusCode), next)
}

func buildIPWhiteList(c *dynamic.Middleware, _ Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	return newAllowList(c.IPWhiteList.SourceRange, c.IPWhiteList.IPStrategy, 403, next)
}

func newAllowList(sourceRange []string, s *dynamic.IPStrategy, status int, next httpmsg.Handler) (httpmsg.Handler, error) {
	ranges, err := ParseRanges(sourceRange)
	if err != nil {
		return nil, err
	}
	client, err := NewClient(s)
	if err != nil {
		return nil, err
	}
	return &ipAllowList{ranges: ranges, client: client, refusal: refuse(status, "the client's address is not in the list"), next: next}, nil
}

// refuse returns the answer of a middleware that turns requests away. It is made once and never changed.
func refuse(status int, reason string) *fault.Fault {
	f := fault.New(fault.Forbidden, reason, nil)
	f.StatusCode = status
	return f
}

// Serve refuses a request without a client address as well: no list holds nobody.
func (l *ipAllowList) Serve(x *httpmsg.Exchange) error {
	if a, ok := l.client.Addr(x); ok && l.ranges.Contains(a) {
		return l.next.Serve(x)
	}
	return l.refusal
}
