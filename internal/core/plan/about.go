package plan

import (
	"slices"

	"sluice/internal/core/diag"
)

// note is what is said about an element because of those around it.
type note struct {
	findings diag.List
	// warns lowers the status of the element to Warning.
	warns bool
}

// About returns the state of an element of the plan and all that is said about it: what it is by itself, and what follows
// from the elements around it. The list belongs to the plan.
func (p *Plan) About(n *Node) (Status, diag.List) {
	note := p.notes[n]
	if note == nil {
		return n.Status, n.Findings
	}
	status := n.Status
	if note.warns {
		status = max(status, Warning)
	}
	return status, slices.Concat(n.Findings, note.findings)
}

// note adds a finding about an element that works as written. What is away is not remarked on.
func (b *builder) note(n *Node, severity diag.Severity, code, message, hint string, field ...string) {
	if n.Held() {
		return
	}
	if b.notes[n] == nil {
		b.notes[n] = &note{}
	}
	if f := n.finding(severity, code, message, hint, field...); !slices.Contains(b.notes[n].findings, f) {
		b.notes[n].findings.Add(f)
	}
}

// warn is note for an element that the finding makes a doubtful one.
func (b *builder) warn(n *Node, code, message, hint string, field ...string) {
	if b.note(n, diag.Warning, code, message, hint, field...); b.notes[n] != nil {
		b.notes[n].warns = true
	}
}

// gather brings the list of all findings up to date: it takes out what is said no longer and puts in what is new.
func (b *builder) gather() {
	gone, fresh := slices.Clone(b.base.loose), slices.Clone(b.plan.loose)
	for _, s := range b.gone {
		gone = append(gone, s.fragment.Findings...)
	}
	for _, s := range b.fresh {
		fresh = append(fresh, s.fragment.Findings...)
	}
	said(&gone, members(b.routers.gone), &fresh, members(b.routers.fresh()))
	said(&gone, b.services.gone, &fresh, b.services.fresh())
	said(&gone, b.middlewares.gone, &fresh, b.middlewares.fresh())
	said(&gone, b.transports.gone, &fresh, b.transports.fresh())
	said(&gone, b.tcpRouters.gone, &fresh, b.tcpRouters.fresh())
	said(&gone, b.tcpServices.gone, &fresh, b.tcpServices.fresh())
	said(&gone, b.tcpMiddlewares.gone, &fresh, b.tcpMiddlewares.fresh())
	said(&gone, b.tcpTransports.gone, &fresh, b.tcpTransports.fresh())
	said(&gone, b.udpRouters.gone, &fresh, b.udpRouters.fresh())
	said(&gone, b.udpServices.gone, &fresh, b.udpServices.fresh())
	said(&gone, b.tlsOptions.gone, &fresh, b.tlsOptions.fresh())
	for n, was := range b.base.notes {
		if now := b.notes[n]; now == nil || !slices.Equal(was.findings, now.findings) {
			gone = append(gone, was.findings...)
		}
	}
	for n, now := range b.notes {
		if was := b.base.notes[n]; was == nil || !slices.Equal(was.findings, now.findings) {
			fresh = append(fresh, now.findings...)
		}
	}
	gone.Sort()
	fresh.Sort()
	gone, fresh = cancel(gone, fresh)
	b.plan.said = edited(b.base.said, gone, fresh, diag.Finding.Compare)
	if len(gone) == 0 && len(fresh) == 0 {
		b.plan.Findings = b.base.Findings
		return
	}
	b.plan.Findings = b.plan.said
	// Copies of a split router repeat the remarks of the one that was written.
	for i := 1; i < len(b.plan.said); i++ {
		if b.plan.said[i] == b.plan.said[i-1] {
			b.plan.Findings = slices.Compact(slices.Clone(b.plan.said))
			break
		}
	}
}

// cancel drops what is in both of two sorted lists: most elements that are made anew say what they said before.
func cancel(gone, fresh diag.List) (diag.List, diag.List) {
	var left, came diag.List
	for len(gone) > 0 && len(fresh) > 0 {
		c := gone[0].Compare(fresh[0])
		if c < 0 {
			left.Add(gone[0])
		} else if c > 0 {
			came.Add(fresh[0])
		}
		if c <= 0 {
			gone = gone[1:]
		}
		if c >= 0 {
			fresh = fresh[1:]
		}
	}
	return append(left, gone...), append(came, fresh...)
}

// said collects what was said by nodes that are gone and what is said by fresh ones. What decoding found in them stands in
// their fragments.
func said[E element](was *diag.List, gone []E, now *diag.List, fresh []E) {
	for _, e := range gone {
		n := e.node()
		*was = append(append(*was, n.Findings[n.inherited:]...), n.beside...)
	}
	for _, e := range fresh {
		n := e.node()
		*now = append(append(*now, n.Findings[n.inherited:]...), n.beside...)
	}
}
