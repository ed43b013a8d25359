package plan

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// CheckServerURL says what is wrong with the URL of an HTTP server; an empty message means nothing.
func CheckServerURL(text string) (message, hint string) {
	if text == "" {
		return "the server has no URL", "write it as http://host:port"
	}
	u, err := url.Parse(text)
	if err != nil {
		return fmt.Sprintf("%q is not a URL", text), "write it as http://host:port"
	}
	switch u.Scheme {
	case "http", "https", "h2c":
	default:
		return fmt.Sprintf("%q has no scheme that servers are spoken to by", text), "use http, https or h2c, as in http://host:port"
	}
	if message := checkHost(u.Hostname()); message != "" {
		return fmt.Sprintf("%q is not an address: %s", text, message), ""
	}
	if port := u.Port(); port != "" && !validPort(port) {
		return fmt.Sprintf("%q has no port between 1 and 65535", text), ""
	}
	return "", ""
}

// CheckServerAddress says what is wrong with the host:port of a TCP or UDP server; an empty message means nothing.
func CheckServerAddress(text string) (message, hint string) {
	host, port, found := cutPort(text)
	if !found {
		return fmt.Sprintf("%q is not an address: it has no port", text), "write it as host:port"
	}
	if message := checkHost(host); message != "" {
		return fmt.Sprintf("%q is not an address: %s", text, message), ""
	}
	if !validPort(port) {
		return fmt.Sprintf("%q has no port between 1 and 65535", text), ""
	}
	return "", ""
}

// cutPort splits host:port; the host may be in brackets.
func cutPort(s string) (host, port string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", "", false
	}
	host, port = s[:i], s[i+1:]
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		return host[1 : len(host)-1], port, true
	}
	return host, port, !strings.Contains(host, ":")
}

func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// checkHost accepts IP addresses and names; a name that was meant as an IPv4 address (192.168.x.x, 10.0.0.300) is what
// it objects to, since it would only fail once a request comes.
func checkHost(host string) string {
	if host == "" {
		return "the host is empty"
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	if strings.ContainsAny(host, " \t/\\?#@<>{}|^`\"") {
		return "the host holds a character that no name has"
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	numbers, placeholders := 0, 0
	for _, l := range labels {
		switch {
		case l == "":
			return "the host has an empty label"
		case strings.Trim(l, "0123456789") == "":
			numbers++
		case strings.Trim(strings.ToLower(l), "xyn*") == "" && len(l) <= 3:
			placeholders++
		}
	}
	switch {
	case numbers == len(labels):
		return "the host looks like an IPv4 address but is none"
	case numbers > 0 && placeholders > 0 && numbers+placeholders == len(labels):
		return "the host holds placeholders instead of numbers"
	}
	return ""
}
