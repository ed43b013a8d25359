package http2

import (
	frames "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

const (
	// tableSize is what the server's compression may remember, the size that HTTP/2 begins with.
	tableSize = 4096
	// maxPieces is how many frames a head may come in.
	maxPieces = 16
	// fieldOverhead is what HTTP/1 writes around a field: limits mean the same on both versions.
	fieldOverhead = 4
)

// head decodes response heads and trailers. It belongs to the reader; the strings it makes belong to nobody.
type head struct {
	hpack *hpack.Decoder
	limit int

	stream uint32
	end    bool // END_STREAM
	fields []httpmsg.Field
	status int
	size   int  // decoded
	coded  int  // as it came
	pieces int  // frames
	plain  bool // a field that is no pseudo-field was seen
	bad    string
	large  bool
}

func (h *head) begin(limit int) {
	h.limit = limit
	h.hpack = hpack.NewDecoder(tableSize, h.field)
	h.hpack.SetMaxStringLength(limit)
}

// start begins a block.
func (h *head) start(id uint32, end bool) {
	clear(h.fields)
	h.stream, h.end, h.fields = id, end, h.fields[:0]
	h.status, h.size, h.coded, h.pieces, h.plain, h.bad, h.large = 0, 0, 0, 0, false, "", false
	h.hpack.SetEmitEnabled(true)
}

// field takes one decoded field. What is wrong is only noted: the block has to be decoded to its end, or the tables of the two
// sides would differ.
func (h *head) field(f hpack.HeaderField) {
	if h.size += len(f.Name) + len(f.Value) + fieldOverhead; h.size > h.limit {
		h.large = true
		h.hpack.SetEmitEnabled(false)
		return
	}
	name, value := httpmsg.Text(f.Name), httpmsg.Text(f.Value)
	if f.IsPseudo() {
		switch {
		case f.Name != ":status":
			h.bad = "a pseudo-field that responses do not have"
		case h.plain || h.status != 0:
			h.bad = ":status is repeated or behind other fields"
		default:
			if h.status = parseStatus(f.Value); h.status == 0 {
				h.bad = ":status is no status"
			}
		}
		return
	}
	h.plain = true
	// RFC 9113 section 8.2.1.
	if !httpmsg.IsToken(name) || hasUpper(f.Name) {
		h.bad = "a field name is no lower-case token"
		return
	}
	if !httpmsg.IsFieldValue(value) {
		h.bad = "a field value holds what values cannot"
		return
	}
	id := httpmsg.IDOfView(name)
	if httpmsg.HTTP1Only.Has(id) {
		h.bad = id.String() + " does not exist in HTTP/2" // RFC 9113 section 8.2.2
		return
	}
	h.fields = append(h.fields, httpmsg.Field{Name: name, Value: value, ID: id})
}

func hasUpper(s string) bool {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			return true
		}
	}
	return false
}

// parseStatus returns a status of 100 to 999, 0 for anything else.
func parseStatus(s string) int {
	if len(s) != 3 || s[0] < '1' || s[0] > '9' || s[1] < '0' || s[1] > '9' || s[2] < '0' || s[2] > '9' {
		return 0
	}
	return int(s[0]-'0')*100 + int(s[1]-'0')*10 + int(s[2]-'0')
}

// headers begins a head or a trailer.
func (r *reader) headers(f *frames.HeadersFrame) error {
	if r.idle(f.StreamID) {
		return wrong(frames.ErrCodeProtocol, "HEADERS for a stream that was never opened")
	}
	r.head.start(f.StreamID, f.StreamEnded())
	return r.block(f.StreamID, f.HeaderBlockFragment(), f.HeadersEnded())
}

// block takes a piece of a head; the Framer has seen to it that the pieces of one belong together.
func (r *reader) block(id uint32, piece []byte, last bool) error {
	h := &r.head
	h.coded += len(piece)
	if h.pieces++; h.pieces > maxPieces+h.limit/initialFrame || h.coded > 2*h.limit {
		return wrong(frames.ErrCodeEnhanceYourCalm, "a head without end")
	}
	if _, err := h.hpack.Write(piece); err != nil {
		return wrong(frames.ErrCodeCompression, "a head that cannot be decoded: "+err.Error())
	}
	if !last {
		return nil
	}
	if err := h.hpack.Close(); err != nil {
		return wrong(frames.ErrCodeCompression, "a head that cannot be decoded: "+err.Error())
	}
	k, err := r.stream(id)
	if err != nil {
		return err
	}
	if k == nil {
		return r.noisy(1) // it was given up before this came
	}
	r.useful()
	switch {
	case h.large:
		r.overflow(k, id)
	case h.bad != "":
		r.resetStream(id, frames.ErrCodeProtocol, h.bad)
	default:
		if reason := k.deliver(r.c, id, h); reason != "" {
			r.resetStream(id, frames.ErrCodeProtocol, reason)
		} else if h.end {
			r.finished(k, id)
		}
	}
	return nil
}

// overflow ends a stream whose head is too large to keep.
func (r *reader) overflow(k *call, id uint32) {
	c := r.c
	c.mu.Lock()
	if c.streams[id] == k && !k.gone {
		k.gone = true
		c.reset(id, frames.ErrCodeCancel)
		k.lose(ending{kind: fault.UpstreamTooLarge, reason: "response head: too large"})
	}
	c.mu.Unlock()
}
