package middleware

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"sync/atomic"
)

// maxNonces is how many nonces of users who logged in are remembered.
const maxNonces = 4096

// nonces are the numbers used once of a digestAuth, of one router. A nonce is its serial number and a seal, so that giving
// one out takes no memory and nobody can push out those of others by asking for many. Only what a user has logged in with
// is remembered, with the counts that were used; when an old one is forgotten, all as old as it become stale, so that no proof
// is ever taken twice. Safe for concurrent use.
type nonces struct {
	key    [32]byte
	opaque string
	last   atomic.Uint64 // the serial that was issued last

	mu    sync.Mutex
	used  map[uint64]*nonceUse
	order []uint64 // ring of the keys of used, oldest first from next on once it is full
	next  int
	floor uint64 // serials up to here that are not in used are stale
}

// nonceUse is what is known of the counts of a nonce: the highest, and which of the 64 up to it were used. Requests that
// are sent side by side arrive out of order.
type nonceUse struct {
	high uint32
	seen uint64 // bit i: high-i was used
}

type nonceVerdict uint8

const (
	nonceGood nonceVerdict = iota
	nonceReplayed
	nonceStale
)

func newNonces() *nonces {
	n := &nonces{used: map[uint64]*nonceUse{}}
	rand.Read(n.key[:]) // never fails: it ends the process instead
	var opaque [12]byte
	rand.Read(opaque[:])
	n.opaque = base64.RawURLEncoding.EncodeToString(opaque[:])
	return n
}

// sealed is a nonce in bytes: serial number, then seal.
type sealed [8 + 16]byte

func (n *nonces) seal(serial uint64) (s sealed) {
	binary.BigEndian.PutUint64(s[:8], serial)
	mac := hmac.New(sha256.New, n.key[:])
	mac.Write(s[:8])
	copy(s[8:], mac.Sum(nil))
	return s
}

// issue returns a new nonce.
func (n *nonces) issue() string {
	s := n.seal(n.last.Add(1))
	return base64.RawURLEncoding.EncodeToString(s[:])
}

// issued returns the serial number of a nonce, and whether it is one of ours.
func (n *nonces) issued(text []byte) (serial uint64, ok bool) {
	var s sealed
	if base64.RawURLEncoding.DecodedLen(len(text)) != len(s) {
		return 0, false
	}
	if _, err := base64.RawURLEncoding.Decode(s[:], text); err != nil {
		return 0, false
	}
	serial = binary.BigEndian.Uint64(s[:8])
	want := n.seal(serial)
	return serial, hmac.Equal(s[8:], want[8:])
}

// use takes note of a count of a nonce of ours, and says whether a request may pass with it.
func (n *nonces) use(serial uint64, count uint32) nonceVerdict {
	n.mu.Lock()
	defer n.mu.Unlock()
	u, ok := n.used[serial]
	if !ok {
		if serial <= n.floor {
			return nonceStale
		}
		n.remember(serial, &nonceUse{high: count, seen: 1})
		return nonceGood
	}
	switch {
	case count > u.high:
		u.seen = u.seen<<(count-u.high) | 1 // a shift by 64 or more leaves nothing
		u.high = count
		return nonceGood
	case u.high-count >= 64:
		return nonceStale
	}
	bit := uint64(1) << (u.high - count)
	if u.seen&bit != 0 {
		return nonceReplayed
	}
	u.seen |= bit
	return nonceGood
}

func (n *nonces) remember(serial uint64, u *nonceUse) {
	n.used[serial] = u
	if len(n.order) < maxNonces {
		n.order = append(n.order, serial)
		return
	}
	oldest := n.order[n.next]
	delete(n.used, oldest)
	n.floor = max(n.floor, oldest)
	n.order[n.next] = serial
	n.next = (n.next + 1) % maxNonces
}
