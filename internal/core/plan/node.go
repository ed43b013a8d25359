package plan

import (
	"strconv"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// Status says whether an element does its work.
type Status uint8

const (
	// Enabled elements are served as written.
	Enabled Status = iota
	// Warning elements are served, in part or probably not as meant.
	Warning
	// Disabled elements are not served; routers among them refuse what they would have taken.
	Disabled
)

// String returns enabled, warning or disabled, the words of the API.
func (s Status) String() string { return [...]string{"enabled", "warning", "disabled"}[s] }

// Codes of the findings that planning makes. docs/findings.md explains each.
const (
	CodeDuplicate       = "DUPLICATE-ELEMENT"
	CodeBadName         = "BAD-NAME"
	CodeNoKind          = "NO-KIND"
	CodeSeveralKinds    = "SEVERAL-KINDS"
	CodeMissing         = "MISSING-REFERENCE"
	CodeBrokenReference = "BROKEN-REFERENCE"
	CodeCycle           = "CYCLE"
	CodeNoService       = "NO-SERVICE"
	CodeNoServers       = "SERVICE-WITHOUT-SERVERS"
	CodeNoHealth        = "CHILD-WITHOUT-HEALTH"
	CodeBadAddress      = "BAD-ADDRESS"
	CodeBadValue        = "BAD-VALUE"
	CodeEntryPoint      = "UNKNOWN-ENTRYPOINT"
	CodeResolver        = "UNKNOWN-RESOLVER"
	CodePriority        = "PRIORITY-TOO-HIGH"
	CodeNoTLS           = "SNI-WITHOUT-TLS"
	CodeTLSConflict     = "TLS-OPTIONS-CONFLICT"
	CodeTLSHostless     = "TLS-OPTIONS-WITHOUT-HOST"
	CodeNameClaimed     = "NAME-CLAIMED-TWICE"
	CodeChildOption     = "CHILD-ROUTER-OPTION"
	CodeUnreachable     = "ROUTER-UNREACHABLE"
	CodeNotSupported    = "NOT-SUPPORTED"
	CodeDeprecated      = "DEPRECATED"
)

// Node is what all elements of a plan share.
type Node struct {
	Name Name
	// Kind is the plural word of the configuration, such as http.routers.
	Kind   string
	Status Status
	// Findings are the remarks on this element by itself and what it refers to, those of decoding included. What follows from
	// the elements around it (that nobody uses it, that another router takes its requests) is added by Plan.About.
	Findings diag.List

	source *dynamic.Fragment
	// written is the name under which the element stands in its fragment; Name.Local may differ for split routers.
	written string
	// inherited is how many of Findings decoding made.
	inherited int
	// beside are findings on other definitions of the name, which have no effect.
	beside diag.List
	// unsettled nodes are built anew in every plan: a name leads nowhere, so that the words of a finding depend on all names
	// there are, or it leads back.
	unsettled bool
}

func (n *Node) node() *Node { return n }

// Held reports whether the source of the element is away for now, see dynamic.Fragment.
func (n *Node) Held() bool { return n.source != nil && n.source.Held }

// Key returns the dotted path of the element in its document, such as http.routers.api.
func (n *Node) Key() string { return n.Kind + "." + n.written }

// Source returns the fragment that defines the element; nil for internal ones.
func (n *Node) Source() *dynamic.Fragment { return n.source }

// Place returns where the element, or one of its fields, was written.
func (n *Node) Place(field ...string) diag.Place {
	if n.source == nil || n.source.Where == nil {
		if n.source != nil {
			return diag.Place{Source: n.source.Name}
		}
		return diag.Place{}
	}
	path := append(strings.Split(n.Kind, "."), n.written)
	return n.source.Where.Locate(append(path, field...)...)
}

// finding makes a finding about a field (none: the element itself).
func (n *Node) finding(severity diag.Severity, code, message, hint string, field ...string) diag.Finding {
	return diag.Finding{Place: n.Place(field...), Severity: severity, Key: keyOf(n.Key(), field), Code: code, Message: message, Hint: hint}
}

// lint adds a finding and leaves the status alone: the element works as written. What is away is not remarked on.
func (n *Node) lint(severity diag.Severity, code, message, hint string, field ...string) {
	if !n.Held() {
		n.Findings.Add(n.finding(severity, code, message, hint, field...))
	}
}

// report adds a finding and lowers the status to fit its severity.
func (n *Node) report(severity diag.Severity, code, message, hint string, field ...string) {
	n.Findings.Add(n.finding(severity, code, message, hint, field...))
	switch {
	case severity == diag.Error:
		n.Status = Disabled
	case severity == diag.Warning && n.Status == Enabled:
		n.Status = Warning
	}
}

// remark is report for an error that leaves the rest of the element at work: its status falls to Warning only.
func (n *Node) remark(severity diag.Severity, code, message, hint string, field ...string) {
	status := n.Status
	n.report(severity, code, message, hint, field...)
	if severity == diag.Error {
		n.Status = max(status, Warning)
	}
}

// keyOf appends a path to a key; list positions are written [n].
func keyOf(key string, path []string) string {
	for _, p := range path {
		if _, err := strconv.Atoi(p); err == nil {
			key += "[" + p + "]"
		} else {
			key += "." + p
		}
	}
	return key
}
