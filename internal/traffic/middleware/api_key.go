package middleware

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// apiKey asks for a key that it knows the hash of.
type apiKey struct {
	source    Token
	plain     bool // keys come as they are, not in base64
	keys      *keyring
	tells     map[string][]httpmsg.Field // what servers are told, by ID of the holder
	claimed   Names                      // headers that they are told it in
	challenge *Challenge
	next      httpmsg.Handler
}

// fewSlowKeys is how many hashes that are slow on purpose a wrong key may cost without a warning.
const fewSlowKeys = 8

func checkAPIKey(c *dynamic.Middleware) diag.List {
	o := c.APIKey
	l := CheckToken("apiKey.keySource", o.KeySource)
	if len(o.SecretValues) == 0 && len(o.Keys) == 0 {
		l.Add(Bad("apiKey.secretValues", "there are no keys", `htpasswd -nbB "" KEY | cut -c 2- makes a hash`))
	}
	slow := 0
	check := func(place, text string) {
		h, err := parseKeyHash(text)
		if err != nil {
			l.Add(Bad(place, err.Error(), `htpasswd -nbB "" KEY | cut -c 2- makes a hash; in Docker Compose each $ of it is written twice`))
		} else if h.kind != hashSHA {
			slow++
		}
	}
	for i, s := range o.SecretValues {
		check(fmt.Sprintf("apiKey.secretValues[%d]", i), s.Reveal())
	}
	ids := map[string]bool{}
	for i, k := range o.Keys {
		place := fmt.Sprintf("apiKey.keys[%d]", i)
		if k == nil {
			l.Add(Bad(place, "it is empty", "give id and secretValue"))
			continue
		}
		if err := checkUserName(k.ID); err != nil || ids[k.ID] {
			l.Add(Bad(place+".id", "the id is empty, used twice, or holds a control character", ""))
		}
		ids[k.ID] = true
		check(place+".secretValue", k.SecretValue.Reveal())
		for _, name := range slices.Sorted(maps.Keys(k.Metadata)) {
			if !httpmsg.IsFieldValue(httpmsg.Text(k.Metadata[name])) {
				l.Add(Bad(place+".metadata."+name, "it cannot stand in a header", ""))
			}
		}
	}
	if slow > fewSlowKeys {
		l.Add(Odd("apiKey.secretValues", fmt.Sprintf("each wrong key costs %d slow hashes", slow),
			`long random keys are as safe with the fast hash: htpasswd -nbs "" KEY | cut -c 2-`))
	}
	for _, name := range slices.Sorted(maps.Keys(o.ForwardHeaders)) {
		switch {
		case !Settable(name):
			l.Add(Bad("apiKey.forwardHeaders."+name, fmt.Sprintf("%q is no name of a header that can be set", name), ""))
		case len(o.Keys) == 0:
			l.Add(Odd("apiKey.forwardHeaders."+name, "nothing is known about the holders of secretValues", "write keys instead"))
		}
	}
	return l
}

// parseKeyHash reads a hash, in front of which htpasswd's colon may stand.
func parseKeyHash(text string) (passwordHash, error) {
	return parsePasswordHash(strings.TrimPrefix(strings.TrimSpace(text), ":"))
}

func buildAPIKey(c *dynamic.Middleware, env Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	o := c.APIKey
	k := &apiKey{source: NewToken(o.KeySource), plain: o.SecretNonBase64Encoded, tells: map[string][]httpmsg.Field{}, next: next}
	scheme := o.KeySource.HeaderAuthScheme
	if scheme == "" {
		scheme = "ApiKey"
	}
	k.challenge = NewChallenge(scheme)
	names := slices.Sorted(maps.Keys(o.ForwardHeaders))
	k.claimed = names
	var lines []userLine
	for _, s := range o.SecretValues {
		lines = append(lines, userLine{text: "\x00" + s.Reveal()})
	}
	for _, holder := range o.Keys {
		lines = append(lines, userLine{text: holder.ID + "\x00" + holder.SecretValue.Reveal()})
		for _, name := range names {
			value := holder.Metadata[o.ForwardHeaders[name]]
			if o.ForwardHeaders[name] == "id" {
				value = holder.ID
			}
			if value != "" {
				k.tells[holder.ID] = append(k.tells[holder.ID], httpmsg.Field{Name: httpmsg.Text(name), Value: httpmsg.Text(value), ID: httpmsg.IDOf(name)})
			}
		}
	}
	fresh, err := newKeyring(lines, SlotsOf(env, "passwords"))
	if err != nil {
		return nil, err
	}
	k.keys = live(env, "apiKey "+env.Name+" "+linesPrint(lines), func() *keyring { return fresh })
	return k, nil
}

// Serve admits whoever shows a known key.
func (k *apiKey) Serve(x *httpmsg.Exchange) error {
	k.claimed.Remove(&x.Req.Header)
	if sent, ok := k.source.Of(x); ok && len(sent) <= 2*maxPassword {
		key, ok := sent, true
		if !k.plain {
			key, ok = decodeKey(x.Scratch(len(sent)), sent)
		}
		if ok && len(key) > 0 && len(key) <= maxPassword {
			holder, err := k.keys.verify(key)
			if !k.plain {
				clear(key)
			}
			if err != nil {
				return err
			}
			if holder != nil {
				return k.admit(x, holder.id)
			}
		}
	}
	x.OnCommit(k.challenge)
	return noKey
}

func (k *apiKey) admit(x *httpmsg.Exchange, id string) error {
	if id != "" {
		x.Facts.User = id
	}
	for _, f := range k.tells[id] {
		x.Req.Header.Append(f)
	}
	return k.next.Serve(x)
}

// noKey is the answer to all who are not admitted. It is never changed.
var noKey = fault.New(fault.Unauthorized, "apiKey: the request has no key that is known", nil)

// decodeKey decodes base64 of either alphabet, with padding or without, into dst.
func decodeKey(dst, sent []byte) ([]byte, bool) {
	n := len(sent)
	for n > 0 && sent[n-1] == '=' && len(sent)-n < 2 {
		n--
	}
	for _, encoding := range [...]*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if m, err := encoding.Decode(dst, sent[:n]); err == nil {
			return dst[:m], true
		}
	}
	return nil, false
}

// keyring holds the keys of an apiKey, shared by all routers that use it. Safe for concurrent use.
type keyring struct {
	fast, slow []*holder
	secret     [32]byte // of the digests of keys; never leaves the process
	slots      *Slots
	wrong      [1024]atomic.Pointer[[sha256.Size]byte] // digests of keys that are known to be wrong, each at its place
}

// holder is somebody with a key.
type holder struct {
	id   string // empty where nobody knows
	hash passwordHash
	// good is the keyed digest of the key, once it was shown.
	good atomic.Pointer[[sha256.Size]byte]
}

// newKeyring reads lines of ID NUL hash.
func newKeyring(lines []userLine, s *Slots) (*keyring, error) {
	r := &keyring{slots: s}
	for _, l := range lines {
		id, text, _ := strings.Cut(l.text, "\x00")
		h, err := parseKeyHash(text)
		if err != nil {
			return nil, err
		}
		if h.kind == hashSHA {
			r.fast = append(r.fast, &holder{id: id, hash: h})
		} else {
			r.slow = append(r.slow, &holder{id: id, hash: h})
		}
	}
	if len(lines) == 0 {
		return nil, errors.New("there are no keys")
	}
	rand.Read(r.secret[:]) // never fails: it ends the process instead
	return r, nil
}

// verify returns the holder of a key, nil if there is none. A key is compared with every hash, since nothing says whose it
// is; slow hashes are computed once for a good key, and a few at a time for wrong ones.
func (r *keyring) verify(key []byte) (*holder, error) {
	for _, h := range r.fast {
		if h.hash.matches(key) {
			return h, nil
		}
	}
	if len(r.slow) == 0 {
		return nil, nil
	}
	var buf [32 + maxPassword]byte
	keyed := append(append(buf[:0], r.secret[:]...), key...)
	digest := sha256.Sum256(keyed)
	clear(keyed)
	if h, known := r.seen(&digest); known {
		return h, nil
	}
	if !r.slots.Take() {
		return nil, fault.New(fault.OutOfBudget, "apiKey: too many keys are being checked", nil)
	}
	defer r.slots.Give()
	// The same key may have been checked while we waited.
	if h, known := r.seen(&digest); known {
		return h, nil
	}
	kept := digest
	for _, h := range r.slow {
		if h.hash.matches(key) {
			h.good.Store(&kept)
			return h, nil
		}
	}
	r.wrong[r.place(&digest)].Store(&kept)
	return nil, nil
}

// seen tells what is known about a key from before.
func (r *keyring) seen(digest *[sha256.Size]byte) (h *holder, known bool) {
	for _, h := range r.slow {
		if equal(h.good.Load(), digest) {
			return h, true
		}
	}
	return nil, equal(r.wrong[r.place(digest)].Load(), digest)
}

func (r *keyring) place(digest *[sha256.Size]byte) int {
	return (int(digest[0])<<8 | int(digest[1])) % len(r.wrong)
}

func equal(a, b *[sha256.Size]byte) bool {
	return a != nil && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
