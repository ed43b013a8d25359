package middleware

import (
	"errors"
	"regexp"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// replacePath replaces the whole path.
type replacePath struct {
	path httpmsg.View
	next httpmsg.Handler
}

func checkReplacePath(c *dynamic.Middleware) diag.List {
	var l diag.List
	const key = "replacePath.path"
	if _, err := replacement(c.ReplacePath.Path); err != nil {
		l.Add(Bad(key, err.Error(), ""))
	} else if strings.Contains(c.ReplacePath.Path, "?") {
		l.Add(Odd(key, "a question mark in the path begins no query: it becomes %3F", "the query of the request is kept"))
	}
	return l
}

// replacement returns the path that text means, in its normal form.
func replacement(text string) (httpmsg.View, error) {
	p, err := appendPath([]byte{'/'}, strings.TrimPrefix(text, "/"), false)
	if err == nil && !isNormal(p) {
		return nil, errors.New("the path has an empty or a dot segment")
	}
	return p, err
}

func buildReplacePath(c *dynamic.Middleware, _ Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	p, err := replacement(c.ReplacePath.Path)
	return &replacePath{path: p, next: next}, err
}

// Serve replaces the path and tells the server the old one.
func (r *replacePath) Serve(x *httpmsg.Exchange) error {
	if !star(x) {
		setReplacedPath(x, x.Req.Path)
		x.Req.Path = r.path
	}
	return r.next.Serve(x)
}

// replacePathRegex replaces all matches of an expression in the escaped path.
type replacePathRegex struct {
	pattern *regexp.Regexp
	with    []byte
	next    httpmsg.Handler
}

func checkReplacePathRegex(c *dynamic.Middleware) diag.List {
	var l diag.List
	r := c.ReplacePathRegex
	re, err := Pattern(strings.TrimSpace(r.Regex))
	if err != nil {
		l.Add(Bad("replacePathRegex.regex", err.Error(), ""))
	} else if f, ok := checkTemplate("replacePathRegex.replacement", re, r.Replacement); ok {
		l.Add(f)
	}
	return l
}

// checkTemplate finds references to groups that an expression does not have: they would always be empty.
func checkTemplate(key string, re *regexp.Regexp, template string) (diag.Finding, bool) {
	for _, ref := range templateRefs.FindAllStringSubmatch(template, -1) {
		name := ref[1] + ref[2]
		if ref[0] != "$$" && !hasGroup(re, name) {
			return Odd(key, "the expression has no group "+name, "write ${1}x where text follows the number of a group"), true
		}
	}
	return diag.Finding{}, false
}

// templateRefs are the references in a template of regexp.Expand, and its escaped dollar sign.
var templateRefs = regexp.MustCompile(`\$\$|\$(\w+)|\$\{(\w+)\}`)

func hasGroup(re *regexp.Regexp, name string) bool {
	n := 0
	for _, c := range name {
		if c < '0' || c > '9' {
			return re.SubexpIndex(name) >= 0
		}
		if n = n*10 + int(c-'0'); n > re.NumSubexp() {
			return false
		}
	}
	return true
}

func buildReplacePathRegex(c *dynamic.Middleware, _ Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	r := c.ReplacePathRegex
	re, err := Pattern(strings.TrimSpace(r.Regex))
	return &replacePathRegex{pattern: re, with: []byte(strings.TrimSpace(r.Replacement)), next: next}, err
}

// Serve replaces what matches.
func (r *replacePathRegex) Serve(x *httpmsg.Exchange) error {
	if star(x) {
		return r.next.Serve(x)
	}
	if !r.pattern.Match(x.Req.Path) {
		dropForeignReplacedPath(x)
		return r.next.Serve(x)
	}
	old := x.Req.Path
	text := r.pattern.ReplaceAll(old, r.with)
	if len(text) > httpmsg.MaxTarget {
		return fault.New(fault.URITooLong, "the rewritten path is too long", nil)
	}
	var start []byte
	if len(text) > 0 && text[0] != '/' {
		start = append(start, '/')
	}
	p, err := appendPath(start, text, false)
	if err != nil {
		return fault.New(fault.BadRequest, "the rewritten path holds a broken percent code", err)
	}
	if err := setPath(x, p); err != nil {
		return err
	}
	setReplacedPath(x, old)
	return r.next.Serve(x)
}
