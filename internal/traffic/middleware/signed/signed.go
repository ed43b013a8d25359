// Package signed lets requests pass that are signed with a shared key, as the draft "Signing HTTP Messages" (Cavage, version
// 12) has it. The middleware's key is hmac.
//
// A signature covers the fields that its sender lists, at least those that the configuration enforces. A body is covered by
// the field Digest, which must then be signed too; it is read ahead and compared before anything reaches the server.
package signed

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
	"slices"
	"strings"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/httpmsg"
)

const (
	// maxLeeway bounds how wrong clocks may be.
	maxLeeway = time.Hour
	// maxFields is how many fields a signature may cover.
	maxFields = 64
	// maxParams is the longest list of parameters that is read, in bytes.
	maxParams = 8 << 10
)

// algorithms by their names.
var algorithms = map[string]func() hash.Hash{"hmac-sha1": sha1.New, "hmac-sha256": sha256.New, "hmac-sha384": sha512.New384, "hmac-sha512": sha512.New}

// Kind is the row of hmac.
func Kind() middleware.Kind {
	return middleware.Kind{Name: "hmac", Check: check, Build: build}
}

type guard struct {
	keys      map[string][]byte
	nobody    []byte // stands for keys that are not known, so that they cost the same
	enforced  []string
	digest    bool
	maxBody   int64
	memory    *httpmsg.Budget // of bodies that are read
	leeway    time.Duration
	challenge *middleware.Challenge
	next      httpmsg.Handler
}

func check(c *dynamic.Middleware) diag.List {
	var l diag.List
	o := c.HMAC
	bad := func(key, message, hint string) { l.Add(middleware.Bad("hmac."+key, message, hint)) }
	if len(o.Keys) == 0 {
		bad("keys", "there are no keys", "give each an id and a key")
	}
	ids := map[string]bool{}
	for i, k := range o.Keys {
		place := fmt.Sprintf("keys[%d]", i)
		switch {
		case k == nil || k.ID == "" || !httpmsg.IsFieldValue(httpmsg.Text(k.ID)):
			bad(place+".id", "the id is empty or holds a control character", "")
		case ids[k.ID]:
			bad(place+".id", "two keys have this id", "")
		case k.Key.IsZero():
			bad(place+".key", "the key is empty", "use 32 random bytes: openssl rand -base64 32")
		default:
			ids[k.ID] = true
			if n := len(k.Key.Reveal()); n < 16 {
				l.Add(middleware.Odd("hmac."+place+".key", fmt.Sprintf("%d bytes can be guessed from any signature", n), "use 32 random bytes: openssl rand -base64 32"))
			}
		}
	}
	for i, name := range o.EnforcedHeaders {
		if !special(name) && !httpmsg.IsToken(httpmsg.Text(name)) {
			bad(fmt.Sprintf("enforcedHeaders[%d]", i), fmt.Sprintf("%q is no name of a header", name), "besides headers there are (request-target), (created) and (expires)")
		}
	}
	if !slices.Contains(o.EnforcedHeaders, "(created)") && !slices.Contains(o.EnforcedHeaders, "(expires)") {
		l.Add(middleware.Odd("hmac.enforcedHeaders", "whoever sees a request can send it again for ever", "add (created) and (expires)"))
	}
	if !slices.Contains(o.EnforcedHeaders, "(request-target)") {
		l.Add(middleware.Odd("hmac.enforcedHeaders", "a signature may be good for any path", "add (request-target)"))
	}
	if o.MaxBodyBytes < -1 {
		bad("maxBodyBytes", fmt.Sprintf("%d is less than -1", o.MaxBodyBytes), "-1 means any size")
	}
	if o.Leeway < 0 || o.Leeway.Std() > maxLeeway {
		bad("leeway", "it is not from 0s to 1h", "the usual one is 10s")
	}
	return l
}

func special(name string) bool {
	return name == "(request-target)" || name == "(created)" || name == "(expires)"
}

func build(c *dynamic.Middleware, env middleware.Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	if err := middleware.Refusal(check(c)); err != nil {
		return nil, err
	}
	o := c.HMAC
	g := &guard{keys: map[string][]byte{}, nobody: make([]byte, 32), digest: o.ValidateDigest == nil || *o.ValidateDigest, maxBody: o.MaxBodyBytes,
		leeway: o.Leeway.Std(), memory: env.Budget, next: next}
	rand.Read(g.nobody) // never fails: it ends the process instead
	for _, k := range o.Keys {
		g.keys[k.ID] = []byte(k.Key.Reveal())
	}
	for _, name := range o.EnforcedHeaders {
		g.enforced = append(g.enforced, strings.ToLower(name))
	}
	g.challenge = middleware.NewChallenge(`Hmac headers="` + strings.Join(g.enforced, " ") + `"`)
	return g, nil
}

// Serve implements httpmsg.Handler.
func (g *guard) Serve(x *httpmsg.Exchange) error {
	var s signature
	if why := g.verify(x, &s); why != "" {
		return g.refuse(x, why)
	}
	if g.digest && x.Req.Body != nil {
		if !slices.Contains(s.names, "digest") {
			return g.refuse(x, "the request has a body whose digest is not signed")
		}
		if good, err := g.bodyIs(x); err != nil {
			return err
		} else if !good {
			return g.refuse(x, "the body is not what the digest says")
		}
	}
	x.Facts.User = string(s.keyID)
	return g.next.Serve(x)
}

func (g *guard) refuse(x *httpmsg.Exchange, why string) error {
	x.OnCommit(g.challenge)
	return fault.New(fault.Unauthorized, "hmac: "+why, nil)
}

// verify returns why the signature of a request is not good, empty if it is.
func (g *guard) verify(x *httpmsg.Exchange, s *signature) (why string) {
	if why := s.read(x); why != "" {
		return why
	}
	algorithm := algorithms[string(s.algorithm)]
	if algorithm == nil {
		return "the algorithm is not known"
	}
	for _, name := range g.enforced {
		if !slices.Contains(s.names, name) {
			return "the signature does not cover " + name
		}
	}
	now := time.Now().Unix()
	leeway := int64(g.leeway / time.Second)
	if s.hasCreated && s.created > now+leeway {
		return "the signature was made in the future"
	}
	if s.hasExpires && s.expires < now-leeway {
		return "the signature has expired"
	}
	sent, err := base64.StdEncoding.DecodeString(string(s.sum))
	if err != nil {
		return "the signature is not in base64"
	}
	key, known := g.keys[string(s.keyID)]
	if !known {
		key = g.nobody
	}
	good := false
	text, hasEmpty, why := s.text(x, " ")
	if why != "" {
		return why
	}
	good = hmac.Equal(sum(algorithm, key, text), sent)
	if hasEmpty && !good {
		// The draft puts a blank behind the name of an empty field; many senders do not.
		text, _, _ = s.text(x, "")
		good = hmac.Equal(sum(algorithm, key, text), sent)
	}
	switch {
	case !known:
		return "the key is not known"
	case !good:
		return "the signature is wrong"
	}
	return ""
}

func sum(algorithm func() hash.Hash, key, text []byte) []byte {
	m := hmac.New(algorithm, key)
	m.Write(text)
	return m.Sum(nil)
}
