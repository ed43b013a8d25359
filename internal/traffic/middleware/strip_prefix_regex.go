package middleware

import (
	"fmt"
	"regexp"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/wire/httpmsg"
)

// stripPrefixRegex takes off the path what the first expression matches whose leftmost match is at the path's start. Like
// stripPrefix it looks at the path as rules see it.
type stripPrefixRegex struct {
	patterns []*regexp.Regexp
	next     httpmsg.Handler
}

func checkStripPrefixRegex(c *dynamic.Middleware) diag.List {
	var l diag.List
	if len(c.StripPrefixRegex.Regex) == 0 {
		l.Add(Odd("stripPrefixRegex.regex", "no expression is given, so the middleware does nothing", ""))
	}
	for i, expr := range c.StripPrefixRegex.Regex {
		if _, err := Pattern(expr); err != nil {
			l.Add(Bad(fmt.Sprintf("stripPrefixRegex.regex[%d]", i), err.Error(), ""))
		}
	}
	return l
}

func buildStripPrefixRegex(c *dynamic.Middleware, _ Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	s := &stripPrefixRegex{next: next}
	for _, expr := range c.StripPrefixRegex.Regex {
		re, err := Pattern(expr)
		if err != nil {
			return nil, err
		}
		s.patterns = append(s.patterns, re)
	}
	return s, nil
}

// Serve strips at most one match.
func (s *stripPrefixRegex) Serve(x *httpmsg.Exchange) error {
	if star(x) {
		return s.next.Serve(x)
	}
	seen, err := rulePath(x)
	if err != nil {
		return err
	}
	for _, re := range s.patterns {
		if at := re.FindIndex(seen); at != nil && at[0] == 0 {
			if err := strip(x, at[1]); err != nil {
				return err
			}
			break
		}
	}
	return s.next.Serve(x)
}
