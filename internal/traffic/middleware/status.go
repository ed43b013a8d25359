package middleware

import "net/http"

// KnownStatus reports whether code can stand for a final answer: registered, and not 1xx.
func KnownStatus(code int) bool { return code >= 200 && http.StatusText(code) != "" }
