package route

import (
	"bytes"
	"errors"
)

// ErrBadEscape says that a path holds a percent sign that two hexadecimal digits do not follow.
var ErrBadEscape = errors.New("the path holds a broken percent code")

// RoutingPath turns the escaped path of a request into the one that Path, PathPrefix and PathRegexp see: percent codes are
// decoded except those of the reserved characters of RFC 3986 2.2, of the percent sign, and of backslash and NUL, whose
// decoded form servers take for something else. Codes that stay are upper-case. The result is escaped itself where
// nothing changes, else it is appended to dst[:0].
func RoutingPath(dst, escaped []byte) ([]byte, error) {
	i := bytes.IndexByte(escaped, '%')
	if i < 0 {
		return escaped, nil
	}
	changed := false
	for at := i; at < len(escaped); at++ {
		if escaped[at] != '%' {
			continue
		}
		if at+2 >= len(escaped) {
			return nil, ErrBadEscape
		}
		hi, lo := unhex(escaped[at+1]), unhex(escaped[at+2])
		if hi < 0 || lo < 0 {
			return nil, ErrBadEscape
		}
		if !keepEscaped[hi<<4|lo] || escaped[at+1] >= 'a' || escaped[at+2] >= 'a' {
			changed = true
		}
		at += 2
	}
	if !changed {
		return escaped, nil
	}
	dst = append(dst[:0], escaped[:i]...)
	for ; i < len(escaped); i++ {
		c := escaped[i]
		if c != '%' {
			dst = append(dst, c)
			continue
		}
		hi, lo := unhex(escaped[i+1]), unhex(escaped[i+2])
		i += 2
		if d := byte(hi<<4 | lo); keepEscaped[d] {
			dst = append(dst, '%', upperHex[hi], upperHex[lo])
		} else {
			dst = append(dst, d)
		}
	}
	return dst, nil
}

const upperHex = "0123456789ABCDEF"

var keepEscaped = func() (t [256]bool) {
	for _, c := range []byte(":/?#[]@!$&'()*+,;=%\\\x00") {
		t[c] = true
	}
	return t
}()

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
