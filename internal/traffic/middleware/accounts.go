package middleware

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/core/secret"
	"sluice/internal/wire/httpmsg"
)

// userLine is a line of users or usersFile, with the place to name in errors. The text is secret.
type userLine struct{ text, place string }

// userLines returns the lines of a usersFile and of users, in this order, so that users win. Blank lines of the file and those with
// # are left out.
func userLines(kind string, users []secret.String, file dynamic.Material) ([]userLine, error) {
	var lines []userLine
	if !file.IsZero() {
		if file.Path == "" {
			// Whatever else is written there may be somebody's secret, so it is not shown.
			return nil, fmt.Errorf("%s.usersFile: there is no such file", kind)
		}
		for i, line := range strings.Split(file.Content.Reveal(), "\n") {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				lines = append(lines, userLine{line, fmt.Sprintf("%s.usersFile: line %d", kind, i+1)})
			}
		}
	}
	for i, u := range users {
		lines = append(lines, userLine{u.Reveal(), fmt.Sprintf("%s.users[%d]", kind, i)})
	}
	return lines, nil
}

var errUserName = errors.New("the name of the user is empty or holds a control character")

// checkUserName keeps out names that could not stand in a header or a log line.
func checkUserName(name string) error {
	if name == "" || !httpmsg.IsFieldValue(httpmsg.Text(name)) {
		return errUserName
	}
	return nil
}

// accounts are the users of a basicAuth. They are shared by all routers that use it, and outlive changes of the
// configuration that leave them alone, so that what was verified once need not be again. Safe for concurrent use.
type accounts struct {
	byName map[string]*account
	list   []*account
	key    [32]byte // of the digests of credentials; never leaves the process
	slots  *Slots
}

type account struct {
	name string
	hash passwordHash
	// good is the keyed digest of the credentials that were verified last. A user has one right password, so one digest
	// a user is the whole cache.
	good atomic.Pointer[[sha256.Size]byte]
}

// parseAccount reads name:hash.
func parseAccount(text string) (*account, error) {
	name, hash, ok := strings.Cut(text, ":")
	if !ok || strings.Contains(hash, ":") {
		return nil, errors.New("this is not name:hash")
	}
	if err := checkUserName(name); err != nil {
		return nil, err
	}
	h, err := parsePasswordHash(hash)
	return &account{name: name, hash: h}, err
}

func newAccounts(lines []userLine, s *Slots) (*accounts, error) {
	a := &accounts{byName: map[string]*account{}, slots: s}
	for _, l := range lines {
		u, err := parseAccount(l.text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.place, err)
		}
		a.byName[u.name] = u
	}
	for _, name := range slices.Sorted(maps.Keys(a.byName)) {
		a.list = append(a.list, a.byName[name])
	}
	if len(a.list) == 0 {
		return nil, errors.New("there are no users")
	}
	rand.Read(a.key[:]) // never fails: it ends the process instead
	return a, nil
}

// candidate returns the account to check a name against. An unknown name gets that of another user, always the same one,
// so that its check takes as long as a known one's.
func (a *accounts) candidate(name []byte) (u *account, known bool) {
	if u, known = a.byName[string(name)]; known {
		return u, true
	}
	var buf [32 + 256]byte
	sum := sha256.Sum256(append(append(buf[:0], a.key[:]...), name[:min(len(name), 256)]...))
	return a.list[binary.BigEndian.Uint64(sum[:])%uint64(len(a.list))], false
}

// verify returns the account that name and password belong to, nil if they are wrong. credentials is name:password.
// Hashing is what an attacker would make us do, so few hashes are computed at a time and the wait for that is bounded;
// verified credentials need none.
func (a *accounts) verify(credentials []byte) (*account, error) {
	name, password, ok := bytes.Cut(credentials, []byte{':'})
	if !ok || len(credentials) > 2*maxPassword {
		return nil, nil
	}
	var buf [32 + 2*maxPassword]byte
	keyed := append(append(buf[:0], a.key[:]...), credentials...)
	digest := sha256.Sum256(keyed)
	clear(keyed)
	u, known := a.candidate(name)
	if known && u.verified(&digest) {
		return u, nil
	}
	if u.hash.kind != hashSHA {
		if !a.slots.Take() {
			return nil, fault.New(fault.OutOfBudget, "too many passwords are being checked", nil)
		}
		defer a.slots.Give()
		// The same credentials may have been checked while we waited: browsers send many requests at once.
		if known && u.verified(&digest) {
			return u, nil
		}
	}
	if !u.hash.matches(password) || !known {
		return nil, nil
	}
	kept := digest
	u.good.Store(&kept)
	return u, nil
}

func (u *account) verified(digest *[sha256.Size]byte) bool {
	good := u.good.Load()
	return good != nil && subtle.ConstantTimeCompare(good[:], digest[:]) == 1
}
