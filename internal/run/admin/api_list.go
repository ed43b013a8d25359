package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// element is one row of a list: what it is found and sorted by, and how it is shown.
type element struct {
	name, provider, status, kind string
	// rule, service and middlewares (qualified) are those of routers.
	rule, service string
	middlewares   []string
	priority      int
	// count is the number of servers of a service, or of entry points of a router.
	count int
	// until is the end of a certificate.
	until time.Time
	// show makes the JSON object; full adds what lists and single answers have and raw data has not.
	show func(full bool) map[string]any
}

// choose keeps the elements that the parameters search, status, serviceName and middlewareName ask for.
func choose(list []element, q url.Values) []element {
	search, status := strings.ToLower(q.Get("search")), q.Get("status")
	service, middleware := q.Get("serviceName"), q.Get("middlewareName")
	return slices.DeleteFunc(list, func(e element) bool {
		if search != "" && !strings.Contains(strings.ToLower(e.name), search) && !strings.Contains(strings.ToLower(e.rule), search) {
			return true
		}
		if status != "" && !strings.EqualFold(status, e.status) {
			return true
		}
		if middleware != "" && !slices.Contains(e.middlewares, middleware) {
			return true
		}
		if service == "" {
			return false
		}
		asked := service
		if !strings.Contains(e.service, "@") {
			asked, _, _ = strings.Cut(service, "@")
		}
		return asked != e.service
	})
}

// arrange sorts by the parameters sortBy and direction.
func arrange(list []element, q url.Values) []element {
	by := q.Get("sortBy")
	descending := q.Get("direction") != "" && q.Get("direction") != "asc"
	slices.SortFunc(list, func(a, b element) int {
		var c int
		switch by {
		case "provider":
			c = cmp.Compare(a.provider, b.provider)
		case "priority":
			c = cmp.Compare(a.priority, b.priority)
		case "status":
			c = cmp.Compare(a.status, b.status)
		case "rule":
			c = cmp.Compare(a.rule, b.rule)
		case "service":
			c = cmp.Compare(a.service, b.service)
		case "type":
			c = cmp.Compare(a.kind, b.kind)
		case "entryPoints", "servers":
			c = cmp.Compare(a.count, b.count)
		}
		if c = cmp.Or(c, cmp.Compare(a.name, b.name)); descending {
			return -c
		}
		return c
	})
	return list
}

// page writes the part of a list that the parameters page and per_page ask for.
func page(w http.ResponseWriter, q url.Values, list []element) {
	number, ok := positive(w, q, "page", 1)
	if !ok {
		return
	}
	size, ok := positive(w, q, "per_page", 100)
	if !ok {
		return
	}
	// Divisions, since the product of what is asked may not be a number.
	if number > 1 && number-1 > (len(list)-1)/size {
		fail(w, http.StatusBadRequest, fmt.Sprintf("invalid request: page: %d, per_page: %d", number, size))
		return
	}
	if len(list) > 0 {
		list = list[(number-1)*size:]
	}
	next := 1
	if len(list) > size {
		list, next = list[:size], number+1
	}
	out := make([]map[string]any, len(list))
	for i, e := range list {
		out[i] = e.show(true)
	}
	w.Header().Set("X-Next-Page", strconv.Itoa(next))
	reply(w, out)
}

func positive(w http.ResponseWriter, q url.Values, key string, otherwise int) (n int, ok bool) {
	text := q.Get(key)
	if text == "" {
		return otherwise, true
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		fail(w, http.StatusBadRequest, fmt.Sprintf("invalid request: %s: %s", key, text))
		return 0, false
	}
	return n, true
}

// one writes the element of a name.
func one(w http.ResponseWriter, word, name string, list []element) {
	for _, e := range list {
		if e.name == name {
			reply(w, e.show(true))
			return
		}
	}
	fail(w, http.StatusNotFound, word+" not found: "+name)
}
