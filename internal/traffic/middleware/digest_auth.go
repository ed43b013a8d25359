package middleware

import (
	"bytes"
	"crypto/md5"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/wire/httpmsg"
)

// digestAuth asks for a name and a proof of the password (RFC 7616), with MD5 and qop auth, as browsers can.
type digestAuth struct {
	gate
	name    string // of the realm, unquoted
	users   map[string]*digestUser
	standIn *digestUser // who is nobody; its check costs what anybody's does
	nonces  *nonces
	// The two challenges, made once: they differ in what they say about the nonce that was used.
	fresh, stale *digestChallenge
}

// digestUser is a user, with HA1 in hexadecimal: the MD5 of name:realm:password.
type digestUser struct {
	name string
	ha1  []byte
}

func checkDigestAuth(c *dynamic.Middleware) diag.List {
	d := c.DigestAuth
	l := checkGate("digestAuth", d.Realm, d.HeaderField)
	if len(d.Users) == 0 && d.UsersFile.IsZero() {
		l.Add(Odd("digestAuth.users", "there are no users, so nobody is admitted", "write users or usersFile; htdigest makes lines"))
	}
	for i, u := range d.Users {
		key := fmt.Sprintf("digestAuth.users[%d]", i)
		_, realm, _, err := parseDigestUser(u.Reveal())
		switch {
		case err != nil:
			l.Add(Bad(key, err.Error(), "htdigest makes a line of name:realm:hash"))
		case realm != realmOf(d):
			l.Add(Odd(key, fmt.Sprintf("the user belongs to another realm than %q and can never log in", realmOf(d)), "make the line anew for this realm"))
		}
	}
	return append(l, checkUsersFile("digestAuth", d.UsersFile, func(line string) error {
		_, _, _, err := parseDigestUser(line)
		return err
	})...)
}

func realmOf(d *dynamic.DigestAuth) string {
	if d.Realm == "" {
		return dynamic.DefaultRealm
	}
	return d.Realm
}

// parseDigestUser reads name:realm:HA1. Its errors never show it.
func parseDigestUser(text string) (name, realm string, ha1 []byte, err error) {
	part := strings.Split(text, ":")
	if len(part) != 3 {
		return "", "", nil, errors.New("this is not name:realm:hash")
	}
	if err := checkUserName(part[0]); err != nil {
		return "", "", nil, err
	}
	sum, err := hex.DecodeString(part[2])
	if err != nil || len(sum) != md5.Size {
		return "", "", nil, errors.New("the hash is not the MD5 of name:realm:password in hexadecimal")
	}
	return part[0], part[1], []byte(hex.EncodeToString(sum)), nil
}

func buildDigestAuth(c *dynamic.Middleware, env Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	o := c.DigestAuth
	lines, err := userLines("digestAuth", o.Users, o.UsersFile)
	if err != nil {
		return nil, err
	}
	d := &digestAuth{gate: newGate(o.Realm, o.HeaderField, o.RemoveHeader, next), name: realmOf(o), users: map[string]*digestUser{}}
	for _, l := range lines {
		name, realm, ha1, err := parseDigestUser(l.text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.place, err)
		}
		if realm == d.name {
			d.users[name] = &digestUser{name, ha1}
		}
	}
	d.nonces = live(env, "digestAuth "+env.Router+" "+env.Name+" "+d.name, newNonces)
	d.standIn = &digestUser{ha1: []byte(hex.EncodeToString(d.nonces.key[:md5.Size]))}
	d.fresh, d.stale = &digestChallenge{d, false}, &digestChallenge{d, true}
	return d, nil
}

// Serve admits whoever proves to know a password, once for each number of a nonce.
func (d *digestAuth) Serve(x *httpmsg.Exchange) error {
	d.claim(x)
	var p digestParams
	challenge := d.fresh
	if text := d.credentials(x, "Digest"); text != nil && p.parse(text, x) {
		var name string
		if name, challenge = d.judge(x, &p); challenge == nil {
			return d.admit(x, name)
		}
		attempted(x, p.username)
	}
	x.OnCommit(challenge)
	return turnAway
}

// judge returns the user's name, or the challenge to answer with.
func (d *digestAuth) judge(x *httpmsg.Exchange, p *digestParams) (name string, c *digestChallenge) {
	if string(p.realm) != d.name || !sameTarget(x, p.uri) {
		return "", d.fresh
	}
	u, known := d.users[string(p.username)]
	if !known {
		u = d.standIn
	}
	// RFC 7616 section 3.4.1.
	ha2 := hexMD5(x.Req.Method, p.uri)
	want := hexMD5(u.ha1, p.nonce, p.nc, p.cnonce, []byte("auth"), ha2[:])
	if subtle.ConstantTimeCompare(want[:], p.response) != 1 || !known {
		return "", d.fresh
	}
	// Only after the proof: the nonces of whoever cannot log in take no memory. Who proved the password with a nonce of
	// another process is asked to use a new one.
	serial, ours := d.nonces.issued(p.nonce)
	if !ours || string(p.opaque) != d.nonces.opaque {
		return "", d.stale
	}
	switch d.nonces.use(serial, p.count) {
	case nonceGood:
		return u.name, nil
	case nonceStale:
		return "", d.stale
	default:
		return "", d.fresh
	}
}

// hexMD5 hashes parts with colons between them.
func hexMD5(parts ...[]byte) (text [2 * md5.Size]byte) {
	h := md5.New()
	for i, p := range parts {
		if i > 0 {
			h.Write([]byte{':'})
		}
		h.Write(p)
	}
	var sum [md5.Size]byte
	hex.Encode(text[:], h.Sum(sum[:0]))
	return text
}

// sameTarget reports whether uri is the target of the request: a proof for one page opens no other. The entry point may have
// cleaned the path and rewritten semicolons of the query since the client signed.
func sameTarget(x *httpmsg.Exchange, uri []byte) bool {
	if i := bytes.Index(uri, []byte("://")); i > 0 {
		rest := uri[i+3:]
		slash := bytes.IndexByte(rest, '/')
		if slash < 0 {
			return false
		}
		uri = rest[slash:]
	}
	path, query, hasQuery := bytes.Cut(uri, []byte{'?'})
	if hasQuery != x.Req.HasQuery {
		return false
	}
	clean, ok := cleanedPath(x, path)
	return ok && bytes.Equal(clean, x.Req.Path) && sameQuery(x.Req.Query, x.EncodeHigh(query))
}

// cleanedPath brings the path of a client into its normal form, unless it stands as it is in the request already.
func cleanedPath(x *httpmsg.Exchange, path []byte) ([]byte, bool) {
	if bytes.Equal(path, x.Req.Path) {
		return path, true
	}
	p, err := appendPath(x.Scratch(3 * len(path))[:0], path, false)
	if err != nil {
		return nil, false
	}
	if bytes.Equal(p, x.Req.Path) {
		return p, true
	}
	out := x.Scratch(len(p) + 1)[:0]
	for seg := range bytes.SplitSeq(p, []byte{'/'}) {
		switch string(seg) {
		case "", ".":
		case "..":
			out = out[:max(bytes.LastIndexByte(out, '/'), 0)]
		default:
			out = append(append(out, '/'), seg...)
		}
	}
	if len(out) == 0 || len(p) > 0 && p[len(p)-1] == '/' {
		out = append(out, '/')
	}
	return out, true
}

// sameQuery compares a query as the entry point left it with one as it was sent: a semicolon may have become & or %3B.
func sameQuery(now, sent []byte) bool {
	for len(sent) > 0 && len(now) > 0 {
		n := 1
		if sent[0] == ';' {
			if bytes.HasPrefix(now, []byte("%3B")) {
				n = 3
			} else if now[0] != '&' && now[0] != ';' {
				return false
			}
		} else if sent[0] != now[0] {
			return false
		}
		sent, now = sent[1:], now[n:]
	}
	return len(sent) == 0 && len(now) == 0
}

// digestChallenge says on a 401 how to log in, with a new nonce each time.
type digestChallenge struct {
	d     *digestAuth
	stale bool
}

// EditResponse adds the challenge.
func (c *digestChallenge) EditResponse(x *httpmsg.Exchange) {
	if x.Res.Status != 401 {
		return
	}
	v := "Digest realm=" + c.d.realm + `, qop="auth", algorithm=MD5, nonce="` + c.d.nonces.issue() + `", opaque="` + c.d.nonces.opaque + `"`
	if c.stale {
		// The password was right: clients try again by themselves instead of asking the user.
		v += ", stale=true"
	}
	x.Res.Header.AddID(httpmsg.HdrWWWAuthenticate, httpmsg.Text(v))
}
