package signed

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"hash"
	"io"

	"sluice/internal/core/fault"
	"sluice/internal/traffic/middleware/spool"
	"sluice/internal/wire/httpmsg"
)

// sums are the digests that a request claims (RFC 3230), by algorithm; only these two count.
type sums struct{ sha256, sha512 []byte }

// claimedSums reads the Digest fields. ok is false where none counts, or where two differ.
func claimedSums(h *httpmsg.Header) (s sums, ok bool) {
	const name = "Digest"
	for i := h.Index(name, 0); i >= 0; i = h.Index(name, i+1) {
		for entry := range bytes.SplitSeq(h.At(i).Value, []byte{','}) {
			algorithm, value, _ := bytes.Cut(bytes.Trim(entry, " \t"), []byte{'='})
			var at *[]byte
			switch a := httpmsg.View(algorithm); {
			case a.EqualFold("SHA-256"):
				at = &s.sha256
			case a.EqualFold("SHA-512"):
				at = &s.sha512
			default:
				continue
			}
			sum, err := base64.StdEncoding.DecodeString(string(value))
			if err != nil || len(sum) == 0 || *at != nil && !bytes.Equal(*at, sum) {
				return sums{}, false
			}
			*at = sum
		}
	}
	return s, s.sha256 != nil || s.sha512 != nil
}

// bodyIs reads the body ahead and reports whether it is what the digests say: all that count, if there are several.
func (g *guard) bodyIs(x *httpmsg.Exchange) (bool, error) {
	req := &x.Req
	claimed, ok := claimedSums(&req.Header)
	if !ok {
		return false, nil
	}
	if g.maxBody >= 0 && req.ContentLength > g.maxBody {
		return false, fault.New(fault.BodyTooLarge, "hmac: the request says it is larger than maxBodyBytes", nil)
	}
	body, whole, err := spool.Read(req.Body, req.ContentLength, spool.Limits{Max: g.maxBody, Budget: g.memory})
	if err != nil {
		return false, err
	}
	x.OnFinish(body)
	if !whole {
		return false, fault.New(fault.BodyTooLarge, "hmac: the request is larger than maxBodyBytes", nil)
	}
	req.Body, req.ContentLength, req.Continue = body.Source(), body.Size(), false
	for _, c := range [...]struct {
		sum []byte
		new func() hash.Hash
	}{{claimed.sha256, sha256.New}, {claimed.sha512, sha512.New}} {
		if c.sum == nil {
			continue
		}
		h := c.new()
		if _, err := io.Copy(h, body.Reader()); err != nil {
			return false, fault.New(fault.Internal, "hmac: reading the body", err)
		}
		if subtle.ConstantTimeCompare(h.Sum(nil), c.sum) != 1 {
			return false, nil
		}
	}
	return true, nil
}
