package middleware

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// hashKind is the way in which a password is hashed.
type hashKind uint8

const (
	hashSHA    hashKind = iota // {SHA} and base64 of SHA-1
	hashMD5                    // $apr1$ and $1$: a thousand rounds of MD5
	hashBcrypt                 // $2a$, $2b$, $2x$, $2y$
	hashSHA256                 // $5$: thousands of rounds of SHA-256
	hashSHA512                 // $6$
)

// maxPassword is the longest password that is hashed, in bytes: the work grows with it.
const maxPassword = 1024

// maxCost bounds the cost of bcrypt. Each step doubles the time; at 18 a check takes about half a minute.
const maxCost = 18

// passwordHash is a hash as a password file has it. Immutable.
type passwordHash struct {
	kind        hashKind
	sum         []byte // of SHA-1; else the text to compare with
	magic, salt string // of MD5 and SHA-2
	rounds      int    // of SHA-2
}

var (
	errHashKind = errors.New("the hash is none of bcrypt ($2y$), {SHA}, MD5 ($apr1$, $1$), SHA-256 ($5$) and SHA-512 ($6$)")
	errHashForm = errors.New("the hash is malformed")
)

// parsePasswordHash reads a hash. Its errors never show it.
func parsePasswordHash(text string) (passwordHash, error) {
	switch {
	case strings.HasPrefix(text, "{SHA}"):
		sum, err := base64.StdEncoding.DecodeString(text[len("{SHA}"):])
		if err != nil || len(sum) != sha1.Size {
			return passwordHash{}, errHashForm
		}
		return passwordHash{kind: hashSHA, sum: sum}, nil
	case strings.HasPrefix(text, "$apr1$"), strings.HasPrefix(text, "$1$"):
		at := strings.IndexByte(text[1:], '$') + 2
		salt, sum, ok := strings.Cut(text[at:], "$")
		if !ok || len(sum) != 22 || len(salt) > 8 {
			return passwordHash{}, errHashForm
		}
		return passwordHash{kind: hashMD5, sum: []byte(sum), magic: text[:at], salt: salt}, nil
	case len(text) > 3 && text[:2] == "$2" && strings.IndexByte("abxy", text[2]) >= 0 && text[3] == '$':
		cost, err := bcrypt.Cost([]byte(text))
		if err != nil || len(text) != 60 {
			return passwordHash{}, errHashForm
		}
		if cost > maxCost {
			return passwordHash{}, fmt.Errorf("bcrypt with cost %d takes minutes: at most %d can be used", cost, maxCost)
		}
		return passwordHash{kind: hashBcrypt, sum: []byte(text)}, nil
	}
	if strings.HasPrefix(text, "$5$") || strings.HasPrefix(text, "$6$") {
		return parseSHA2(text)
	}
	return passwordHash{}, errHashKind
}

// matches reports whether the hash is that of password. Except for bcrypt's cost, the time depends on the length of password only.
func (h *passwordHash) matches(password []byte) bool {
	if len(password) > maxPassword {
		return false
	}
	switch h.kind {
	case hashSHA:
		sum := sha1.Sum(password)
		return subtle.ConstantTimeCompare(sum[:], h.sum) == 1
	case hashMD5:
		return subtle.ConstantTimeCompare(md5Crypt(password, h.magic, h.salt), h.sum) == 1
	case hashSHA256:
		return subtle.ConstantTimeCompare(sha2Crypt(sha256.New, order256, password, []byte(h.salt), h.rounds), h.sum) == 1
	case hashSHA512:
		return subtle.ConstantTimeCompare(sha2Crypt(sha512.New, order512, password, []byte(h.salt), h.rounds), h.sum) == 1
	default:
		return bcrypt.CompareHashAndPassword(h.sum, password) == nil
	}
}

// md5Crypt is the MD5 scheme of Unix passwords, which Apache took over under another magic. It returns the text of the
// hash without magic and salt.
func md5Crypt(password []byte, magic, salt string) []byte {
	inner := md5.New()
	inner.Write(password)
	inner.Write([]byte(salt))
	inner.Write(password)
	mix := inner.Sum(nil)

	outer := md5.New()
	outer.Write(password)
	outer.Write([]byte(magic))
	outer.Write([]byte(salt))
	for n := len(password); n > 0; n -= len(mix) {
		outer.Write(mix[:min(n, len(mix))])
	}
	for n := len(password); n > 0; n >>= 1 {
		if n&1 == 1 {
			outer.Write([]byte{0})
		} else {
			outer.Write(password[:1])
		}
	}
	sum := outer.Sum(nil)

	for round := range 1000 {
		outer.Reset()
		first, last := sum, password
		if round%2 == 1 {
			first, last = password, sum
		}
		outer.Write(first)
		if round%3 != 0 {
			outer.Write([]byte(salt))
		}
		if round%7 != 0 {
			outer.Write(password)
		}
		outer.Write(last)
		sum = outer.Sum(sum[:0:0])
	}

	return cryptText(sum, orderMD5)
}

// orderMD5 is the order in which the bytes of an MD5 sum stand in its text.
var orderMD5 = []byte{0, 6, 12, 1, 7, 13, 2, 8, 14, 3, 9, 15, 4, 10, 5, 11}

// cryptText writes a sum as Unix passwords do: six bits a letter, three bytes of the order at a time with the last one's lowest bits
// first, and what is left over at the end.
func cryptText(sum, order []byte) []byte {
	const digits = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	text := make([]byte, 0, (len(order)*8+5)/6)
	for len(order) > 0 {
		n := min(3, len(order))
		v := uint32(0)
		for _, at := range order[:n] {
			v = v<<8 | uint32(sum[at])
		}
		order = order[n:]
		for range n + 1 {
			text = append(text, digits[v&63])
			v >>= 6
		}
	}
	return text
}
