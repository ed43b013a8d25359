package forward

import (
	"errors"
	"fmt"
	"strconv"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/balance"
	"sluice/internal/traffic/health"
	"sluice/internal/traffic/middleware/statuses"
)

// Check reports everything that is wrong with a service of any kind, without opening anything. Keys are paths below the
// service. What the plan has said already (references, addresses) is not repeated.
func Check(c *dynamic.Service) diag.List {
	var l list
	switch {
	case c.LoadBalancer != nil:
		l.loadBalancer(c.LoadBalancer)
	case c.Weighted != nil:
		l.cookie("weighted", cookieOptions(c.Weighted.Sticky))
	case c.Failover != nil && c.Failover.Errors != nil:
		e := c.Failover.Errors
		if _, at, err := statuses.Parse(e.Status); err != nil {
			l.bad("failover.errors.status["+strconv.Itoa(at)+"]", err)
		}
	}
	return diag.List(l)
}

type list diag.List

func (l *list) bad(key string, err error) {
	*l = append(*l, diag.Finding{Severity: diag.Error, Key: key, Code: "BAD-VALUE", Message: err.Error()})
}

func (l *list) loadBalancer(c *dynamic.LoadBalancer) {
	if balance.New(c.Strategy, nil) == nil {
		l.bad("loadBalancer.strategy", fmt.Errorf("strategy %q is none of wrr, p2c, hrw, leasttime", c.Strategy))
	}
	l.cookie("loadBalancer", cookieOf(c))
	if c.HealthCheck != nil {
		if err := health.Validate(c.HealthCheck); err != nil {
			l.bad("loadBalancer.healthCheck", err)
		}
	}
}

func (l *list) cookie(kind string, o *balance.CookieOptions) {
	if o == nil {
		return
	}
	if err := o.Validate(); err != nil {
		l.bad(kind+".sticky.cookie.sameSite", err)
	}
}

// refusal joins what stands against building.
func refusal(l diag.List) error {
	var wrong []error
	for _, f := range l {
		wrong = append(wrong, errors.New(f.Key+": "+f.Message))
	}
	return errors.Join(wrong...)
}
