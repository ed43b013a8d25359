// Package waf refuses requests and responses that rules find hostile, by Coraza and the OWASP core rule set. The
// middleware's key is waf.
//
// Rules are compiled once for each set of directives, whichever middlewares and routers use it. Bodies are read ahead as far
// as the rules say, and then forwarded as they came. Whatever goes wrong on the way refuses the request.
//
// The build tag nowaf leaves the engine out, at six megabytes less: routers that use the middleware then refuse.
package waf

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/middleware"
)

// Kind is the row of waf.
func Kind() middleware.Kind {
	return middleware.Kind{Name: "waf", Check: check, Build: build}
}

const (
	// bodyLimit is how much of a request's body is inspected where no directive says it; a longer one is refused. Rules cost
	// milliseconds for each ten kilobytes.
	bodyLimit = 1 << 20
	// responseLimit is the same for responses, of which the rest passes unless SecResponseBodyLimitAction says otherwise.
	responseLimit = 512 << 10
	// memoryLimit is how much of a body stands in memory.
	memoryLimit = 128 << 10
)

// rules is what a configuration says, ready to be compiled.
type rules struct {
	text string
	// core tells that files of the core rule set may be included.
	core bool
	// request and response are how much of bodies is inspected. partly tells that the rest of a longer request passes, reject
	// that a longer response does not.
	request, response int64
	partly, reject    bool
}

// foreign are directives and parts of rules that reach for files, programs or servers which nobody watches. What is logged
// goes to the log of the process instead.
var foreign = regexp.MustCompile(`(?i)^(secauditlog|secauditlogstoragedir|secauditlogtype|secdebuglog|secdatadir|secuploaddir|secuploadkeepfiles|sectmpdir|secremoterules|secgeolookupdb|secgsblookupdb|sechttpblkey)$`)

// program is a part of a rule that runs one.
var program = regexp.MustCompile(`(?i)@inspectFile|["',\s]exec:`)

// fromDisk is a part of a rule that reads a file which is not among those of the core rule set.
var fromDisk = regexp.MustCompile(`(?i)@(pmFromFile|ipMatchFromFile|pmf|ipMatchF)\s`)

// Where parts of the rules stand that crsEnabled brings.
const (
	builtIn = "@owasp_crs/"
	before  = "Include @coraza.conf-recommended\nSecAuditEngine Off\nSecRuleEngine On\nInclude @crs-setup.conf.example\n"
	after   = "Include @owasp_crs/*.conf\n"
)

// read puts a configuration together. Where crsEnabled is set and no directive includes a file of the core rule set by itself,
// the whole of it is loaded: behind the directives, which may so set its variables and exclude targets, apart from those that
// change rules which must be there already.
func read(o *dynamic.WAF) (*rules, diag.List) {
	r := &rules{core: o.CRSEnabled, request: bodyLimit, response: responseLimit}
	var l diag.List
	own, detection := false, false
	var first, last strings.Builder
	for i, d := range o.Directives {
		key := fmt.Sprintf("waf.directives[%d]", i)
		for _, line := range lines(d) {
			name, rest, _ := strings.Cut(line, " ")
			rest = strings.TrimSpace(rest)
			bare := strings.Trim(rest, `"`)
			switch {
			case foreign.MatchString(name):
				l.Add(middleware.Bad(key, name+" names a file or a server, which the firewall does not use here", "matches are told to the log of the process"))
			case program.MatchString(line):
				l.Add(middleware.Bad(key, "rules cannot run programs", ""))
			case fromDisk.MatchString(line):
				l.Add(middleware.Bad(key, "rules cannot read files", "write the values into the rule, with @pm or @ipMatch"))
			case strings.EqualFold(name, "Include"):
				if !strings.HasPrefix(bare, "@") {
					l.Add(middleware.Bad(key, "only files of the core rule set can be included, such as @owasp_crs/*.conf", "write other rules into the configuration"))
				} else if !o.CRSEnabled {
					l.Add(middleware.Bad(key, "the core rule set is not enabled", "set crsEnabled"))
				}
				own = own || strings.Contains(rest, builtIn)
			case strings.EqualFold(name, "SecRequestBodyLimit"):
				r.request = limit(key, bare, r.request, &l)
				continue
			case strings.EqualFold(name, "SecResponseBodyLimit"):
				r.response = limit(key, bare, r.response, &l)
				continue
			case strings.EqualFold(name, "SecRequestBodyLimitAction"):
				r.partly = strings.EqualFold(bare, "ProcessPartial")
			case strings.EqualFold(name, "SecResponseBodyLimitAction"):
				r.reject = strings.EqualFold(bare, "Reject")
			case strings.EqualFold(name, "SecRuleEngine"):
				detection = strings.EqualFold(bare, "DetectionOnly")
			}
			if n := strings.ToLower(name); strings.HasPrefix(n, "secruleremove") || strings.HasPrefix(n, "secruleupdate") {
				last.WriteString(line + "\n")
			} else {
				first.WriteString(line + "\n")
			}
		}
	}
	if detection { // rules that only watch refuse nothing, whatever the order of the directives
		r.partly, r.reject = true, false
	}
	if len(o.Directives) == 0 && !o.CRSEnabled {
		l.Add(middleware.Bad("waf.directives", "there are no rules", "set crsEnabled, or write directives"))
	}
	// Bodies are cut before the engine sees them, since it takes one that just has the limit for too long.
	limits := fmt.Sprintf("SecRequestBodyLimit %d\nSecRequestBodyInMemoryLimit %d\nSecResponseBodyLimit %d\nSecResponseBodyLimitAction ProcessPartial\n",
		r.request+1, min(memoryLimit, r.request), r.response+1)
	r.text = "SecRxPreFilter On\n"
	if o.CRSEnabled && !own {
		r.text += before + limits + first.String() + after + last.String()
	} else {
		r.text += "SecAuditEngine Off\n" + limits + first.String() + last.String()
	}
	return r, l
}

// lines returns the logical lines of a directive: those that end in a backslash go on in the next one.
func lines(text string) []string {
	var out []string
	var open strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if open.Len() == 0 && (line == "" || line[0] == '#') {
			continue
		}
		if rest, more := strings.CutSuffix(line, `\`); more {
			open.WriteString(strings.TrimSpace(rest) + " ")
			continue
		}
		open.WriteString(line)
		out = append(out, open.String())
		open.Reset()
	}
	if open.Len() > 0 {
		out = append(out, open.String())
	}
	return out
}

// maxLimit is the most that can be inspected of a body.
const maxLimit = 1 << 30

// limit reads the argument of a directive about the length of bodies.
func limit(key, text string, usual int64, l *diag.List) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 || n > maxLimit {
		l.Add(middleware.Bad(key, fmt.Sprintf("the limit is not a number of bytes from 1 to %d", maxLimit), ""))
		return usual
	}
	return n
}
