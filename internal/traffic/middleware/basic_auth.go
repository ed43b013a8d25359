package middleware

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/wire/httpmsg"
)

// basicAuth asks for a name and password (RFC 7617).
type basicAuth struct {
	gate
	accounts  *accounts
	challenge *Challenge
}

func checkBasicAuth(c *dynamic.Middleware) diag.List {
	b := c.BasicAuth
	l := checkGate("basicAuth", b.Realm, b.HeaderField)
	if len(b.Users) == 0 && b.UsersFile.IsZero() {
		l.Add(Bad("basicAuth.users", "there are no users", "write users or usersFile; htpasswd -nB NAME makes a line"))
	}
	for i, u := range b.Users {
		if _, err := parseAccount(u.Reveal()); err != nil {
			l.Add(Bad(fmt.Sprintf("basicAuth.users[%d]", i), err.Error(), "htpasswd -nB NAME makes a line; in Docker Compose each $ of it is written twice"))
		}
	}
	return append(l, checkUsersFile("basicAuth", b.UsersFile, func(line string) error {
		_, err := parseAccount(line)
		return err
	})...)
}

// checkUsersFile reports lines of a usersFile that cannot be read, and a file that has none where it is the only source.
func checkUsersFile(kind string, file dynamic.Material, parse func(line string) error) diag.List {
	var l diag.List
	lines, err := userLines(kind, nil, file)
	if err != nil {
		l.Add(Bad(kind+".usersFile", "there is no such file", "give the path of a file that htpasswd or htdigest makes"))
	}
	for _, line := range lines {
		if err := parse(line.text); err != nil {
			_, place, _ := strings.Cut(line.place, ": ")
			l.Add(Bad(kind+".usersFile", place+": "+err.Error(), ""))
		}
	}
	return l
}

func buildBasicAuth(c *dynamic.Middleware, env Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	b := c.BasicAuth
	lines, err := userLines("basicAuth", b.Users, b.UsersFile)
	if err != nil {
		return nil, err
	}
	fresh, err := newAccounts(lines, SlotsOf(env, "passwords"))
	if err != nil {
		return nil, err
	}
	h := &basicAuth{gate: newGate(b.Realm, b.HeaderField, b.RemoveHeader, next)}
	h.accounts = live(env, "basicAuth "+env.Name+" "+linesPrint(lines), func() *accounts { return fresh })
	h.challenge = NewChallenge("Basic realm=" + h.realm)
	return h, nil
}

// linesPrint tells sets of users apart without showing them.
func linesPrint(lines []userLine) string {
	sum := sha256.New()
	for _, l := range lines {
		fmt.Fprintf(sum, "%d %s\n", len(l.text), l.text)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// Serve admits whoever shows the right password. Nothing that goes wrong on the way admits anybody.
func (b *basicAuth) Serve(x *httpmsg.Exchange) error {
	b.claim(x)
	encoded := b.credentials(x, "Basic")
	plain := x.Scratch(base64.StdEncoding.DecodedLen(len(encoded)))
	n, err := base64.StdEncoding.Decode(plain, encoded)
	if err == nil && n > 0 {
		var u *account
		u, err = b.accounts.verify(plain[:n])
		if u == nil {
			name, _, _ := bytes.Cut(plain[:n], []byte{':'})
			attempted(x, name)
		}
		clear(plain)
		switch {
		case err != nil:
			return err
		case u != nil:
			return b.admit(x, u.name)
		}
	}
	clear(plain)
	x.OnCommit(b.challenge)
	return turnAway
}
