package middleware

import (
	"fmt"
	"hash"
	"strconv"
	"strings"
)

const (
	// usualRounds, leastRounds are those of the scheme; mostRounds bounds the time of a check to about a second.
	usualRounds = 5000
	leastRounds = 1000
	mostRounds  = 1_000_000
	// mostSalt is how much of a salt counts.
	mostSalt = 16
)

// order256 and order512 are the orders in which the bytes of the sums stand in their texts.
var (
	order256 = []byte{0, 10, 20, 21, 1, 11, 12, 22, 2, 3, 13, 23, 24, 4, 14, 15, 25, 5, 6, 16, 26, 27, 7, 17, 18, 28, 8, 9, 19, 29, 31, 30}
	order512 = []byte{0, 21, 42, 22, 43, 1, 44, 2, 23, 3, 24, 45, 25, 46, 4, 47, 5, 26, 6, 27, 48, 28, 49, 7, 50, 8, 29, 9, 30, 51, 31, 52,
		10, 53, 11, 32, 12, 33, 54, 34, 55, 13, 56, 14, 35, 15, 36, 57, 37, 58, 16, 59, 17, 38, 18, 39, 60, 40, 61, 19, 62, 20, 41, 63}
)

// parseSHA2 reads $5$ and $6$ hashes, with or without rounds=N$ before the salt.
func parseSHA2(text string) (passwordHash, error) {
	h := passwordHash{kind: hashSHA256, magic: text[:3], rounds: usualRounds}
	size := 43
	if text[1] == '6' {
		h.kind, size = hashSHA512, 86
	}
	rest := text[3:]
	if written, more, ok := strings.Cut(rest, "$"); ok && strings.HasPrefix(written, "rounds=") {
		n, err := strconv.Atoi(written[len("rounds="):])
		switch {
		case err != nil || n < 0:
			return h, errHashForm
		case n > mostRounds:
			return h, fmt.Errorf("%d rounds take too long: at most %d can be used", n, mostRounds)
		}
		h.rounds, rest = max(n, leastRounds), more
	}
	salt, sum, ok := strings.Cut(rest, "$")
	if !ok || len(sum) != size {
		return h, errHashForm
	}
	h.salt, h.sum = salt[:min(len(salt), mostSalt)], []byte(sum)
	return h, nil
}

// sha2Crypt is the SHA-256 or SHA-512 scheme of Unix passwords (Drepper, 2007). It returns the text of the hash without magic,
// rounds and salt.
func sha2Crypt(sum func() hash.Hash, order, password, salt []byte, rounds int) []byte {
	h := sum()
	h.Write(password)
	h.Write(salt)
	h.Write(password)
	mix := h.Sum(nil)

	h.Reset()
	h.Write(password)
	h.Write(salt)
	h.Write(repeated(mix, len(password)))
	for n := len(password); n > 0; n >>= 1 {
		if n&1 == 1 {
			h.Write(mix)
		} else {
			h.Write(password)
		}
	}
	a := h.Sum(nil)

	h.Reset()
	for range len(password) {
		h.Write(password)
	}
	p := repeated(h.Sum(nil), len(password))
	h.Reset()
	for range 16 + int(a[0]) {
		h.Write(salt)
	}
	s := repeated(h.Sum(nil), len(salt))

	for round := range rounds {
		h.Reset()
		first, last := a, p
		if round%2 == 1 {
			first, last = p, a
		}
		h.Write(first)
		if round%3 != 0 {
			h.Write(s)
		}
		if round%7 != 0 {
			h.Write(p)
		}
		h.Write(last)
		a = h.Sum(a[:0])
	}
	return cryptText(a, order)
}

// repeated returns n bytes of sum written again and again.
func repeated(sum []byte, n int) []byte {
	out := make([]byte, 0, n)
	for len(out) < n {
		out = append(out, sum[:min(len(sum), n-len(out))]...)
	}
	return out
}
