package spool

import (
	"bytes"
	"io"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// Form reads the body of a request ahead if it is a form (application/x-www-form-urlencoded) of at most most bytes, and
// returns its text, which is good until the exchange ends and is nobody's to change. text is nil for a request without a form,
// and fits false for one whose form is longer. The request keeps its body in any case. An error breaks the request.
func Form(x *httpmsg.Exchange, most int64, budget *httpmsg.Budget) (text []byte, fits bool, err error) {
	req := &x.Req
	kind, _, _ := bytes.Cut(req.Header.Get(httpmsg.HdrContentType), []byte{';'})
	if req.Body == nil || !httpmsg.View(bytes.TrimSpace(kind)).EqualFold("application/x-www-form-urlencoded") {
		return nil, true, nil
	}
	if req.ContentLength > most {
		return nil, false, nil
	}
	body, whole, err := Read(req.Body, req.ContentLength, Limits{Memory: most, Max: most, Budget: budget})
	if err != nil {
		return nil, false, err
	}
	x.OnFinish(body)
	if !whole {
		req.Body, req.Continue = body, false // goes on with what was not read ahead
		return nil, false, nil
	}
	req.Body, req.ContentLength, req.Continue = body.Source(), body.Size(), false
	text, err = body.all()
	return text, true, err
}

// all returns what was read ahead as one piece. What stands in a file takes its part of the budget, until Finish.
func (b *Body) all() ([]byte, error) {
	if b.file == nil {
		return b.memory, nil
	}
	if !b.budget.Take(b.size) {
		return nil, fault.New(fault.OutOfBudget, "there is no memory left for a form", nil)
	}
	b.taken += b.size
	text := make([]byte, b.size)
	if _, err := io.ReadFull(b.Reader(), text); err != nil {
		return nil, fault.New(fault.Internal, "reading a form from a temporary file", err)
	}
	return text, nil
}
