package route

import "bytes"

// CleanPath brings an escaped path into the one spelling that routing judges and servers receive: percent codes of
// unreserved characters decoded, the other codes in upper case, and, with sanitize, empty and dot segments removed
// (RFC 3986 sections 5.2.4 and 6.2.2), without ever climbing above the root. An empty path becomes "/". The result is p
// itself when nothing changes, else it is built in dst, which needs room for 2*len(p)+1 bytes not to allocate. The error is
// ErrBadEscape for a broken percent code.
//
// IsClean tells beforehand whether there is anything to do.
func CleanPath(dst, p []byte, sanitize bool) ([]byte, error) {
	if bytes.IndexByte(p, '%') >= 0 {
		out, ok := normalize(dst[:0], p)
		if !ok {
			return nil, ErrBadEscape
		}
		p, dst = out, out[len(out):]
	}
	if sanitize && needsSanitizing(p) {
		p = removeDots(dst, p)
	}
	if len(p) == 0 {
		return append(dst[:0], '/'), nil
	}
	return p, nil
}

// IsClean reports whether CleanPath would certainly leave p as it is.
func IsClean(p []byte, sanitize bool) bool {
	return len(p) > 0 && bytes.IndexByte(p, '%') < 0 && !(sanitize && needsSanitizing(p))
}

// normalize appends p to dst with unreserved characters decoded and the remaining percent codes in upper case.
func normalize(dst, p []byte) (out []byte, ok bool) {
	for i := 0; i < len(p); i++ {
		if p[i] != '%' {
			dst = append(dst, p[i])
			continue
		}
		if i+2 >= len(p) {
			return nil, false
		}
		hi, lo := unhex(p[i+1]), unhex(p[i+2])
		if hi < 0 || lo < 0 {
			return nil, false
		}
		if c := byte(hi<<4 | lo); unreserved(c) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[hi], upperHex[lo])
		}
		i += 2
	}
	return dst, true
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// needsSanitizing reports whether p holds an empty or dot segment, or does not begin with a slash.
func needsSanitizing(p []byte) bool {
	if len(p) == 0 || p[0] != '/' {
		return true
	}
	for i := 0; i+1 < len(p); i++ {
		if p[i] == '/' && (p[i+1] == '/' || p[i+1] == '.') {
			return true
		}
	}
	return false
}

// removeDots appends the cleaned path to dst. Segments never climb above the root; a trailing slash stays.
func removeDots(dst, p []byte) []byte {
	dst = dst[:0]
	for i := 0; i < len(p); {
		for i < len(p) && p[i] == '/' {
			i++
		}
		end := i
		for end < len(p) && p[end] != '/' {
			end++
		}
		switch seg := p[i:end]; {
		case len(seg) == 0, string(seg) == ".":
		case string(seg) == "..":
			dst = dst[:max(bytes.LastIndexByte(dst, '/'), 0)]
		default:
			dst = append(dst, '/')
			dst = append(dst, seg...)
		}
		i = end
	}
	if len(dst) == 0 || (p[len(p)-1] == '/' && dst[len(dst)-1] != '/') {
		dst = append(dst, '/')
	}
	return dst
}
