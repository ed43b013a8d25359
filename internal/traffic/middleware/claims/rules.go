package claims

import (
	"fmt"
	"slices"

	"sluice/internal/core/diag"
	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/httpmsg"
)

// User is the text of the claim that a usernameClaim names, for the access log; empty where there is none.
func User(s Source, p Path) string {
	if p == nil {
		return ""
	}
	v, _ := s.Find(p)
	text := Text(v)
	return text[:min(len(text), maxUser)]
}

// maxUser is the longest name of a user that is kept, in bytes.
const maxUser = 256

// Rules are what jwt and oidc have in common: conditions over claims, and what is told to servers and
// logs about them. Immutable.
type Rules struct {
	condition *Condition // nil where all are welcome
	headers   *Headers
	user      Path // nil where logs show none
}

// CheckRules reports what NewRules would refuse; kind is the key of the middleware.
func CheckRules(kind, condition, user string, headers map[string]string) diag.List {
	l := CheckHeaders(kind+".forwardHeaders", headers)
	if condition != "" {
		if _, err := ParseCondition(condition); err != nil {
			l.Add(middleware.Bad(kind+".claims", err.Error(), "write it like Equals(`grp`, `admin`) && !Contains(`areas`, `lab`)"))
		}
	}
	if user != "" {
		if _, err := ParsePath(user); err != nil {
			l.Add(middleware.Bad(kind+".usernameClaim", err.Error(), "a usual one is sub"))
		}
	}
	return l
}

// NewRules builds the rules of the options claims, usernameClaim and forwardHeaders.
func NewRules(condition, user string, headers map[string]string) (*Rules, error) {
	r := &Rules{}
	var err error
	if r.headers, err = NewHeaders(headers); err != nil {
		return nil, err
	}
	if condition != "" {
		if r.condition, err = ParseCondition(condition); err != nil {
			return nil, fmt.Errorf("claims: %w", err)
		}
	}
	if user != "" {
		if r.user, err = ParsePath(user); err != nil {
			return nil, fmt.Errorf("usernameClaim: %w", err)
		}
	}
	return r, nil
}

// Clear removes what the client says about itself. It comes before anything is decided (FLD-08).
func (r *Rules) Clear(x *httpmsg.Exchange) { r.headers.Clear(x) }

// Admit reports whether verified claims are good enough; if so, x tells the server about them. The access log gets the
// user's name in either case.
func (r *Rules) Admit(x *httpmsg.Exchange, s Source) bool {
	if user := User(s, r.user); user != "" {
		x.Facts.User = user
	}
	if r.condition != nil && !r.condition.Holds(s) {
		return false
	}
	r.headers.Set(x, s)
	return true
}

// Paths are the claims that the rules look at.
func (r *Rules) Paths() []Path {
	paths := slices.Clone(r.headers.paths)
	if r.condition != nil {
		paths = append(paths, r.condition.paths...)
	}
	if r.user != nil {
		paths = append(paths, r.user)
	}
	return paths
}
