package entrypoint

import (
	"errors"
	"strings"
	"testing"

	"sluice/internal/wire/httpmsg"
)

func TestChallengeToken(t *testing.T) {
	for _, c := range []struct {
		name, method, path string
		want               bool
	}{
		{"token", "GET", challengePrefix + "yK1iwHnN-_RFgGed5cyyHfi2IjCx7Xbi-DeMaY8zoJw", true},
		{"HEAD", "HEAD", challengePrefix + "a", true},
		{"ACM-04 other method", "POST", challengePrefix + "a", false},
		{"ACM-04 nothing", "GET", challengePrefix, false},
		{"ACM-04 further segment", "GET", challengePrefix + "a/b", false},
		{"ACM-04 encoded slash", "GET", challengePrefix + "a%2Fb", false},
		{"ACM-04 dots", "GET", challengePrefix + "..", false},
		{"ACM-04 10 KB", "GET", challengePrefix + strings.Repeat("a", 10<<10), false},
		{"elsewhere", "GET", "/x" + challengePrefix + "a", false},
	} {
		x := &httpmsg.Exchange{}
		x.Req.Method, x.Req.Path = httpmsg.Text(c.method), httpmsg.Text(c.path)
		if _, got := challengeToken(x); got != c.want {
			t.Errorf("%s: got %v", c.name, got)
		}
	}
}

// Machines are asked in turn until one knows the token; the last answer stands.
func TestMachines(t *testing.T) {
	answer := func(status int) httpmsg.Handler {
		return httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { x.Respond(status, "", ""); return nil })
	}
	dead := httpmsg.HandlerFunc(func(*httpmsg.Exchange) error { return errors.New("refused") })
	for _, c := range []struct {
		name   string
		m      Machines
		status int
		failed bool
	}{
		{"first knows", Machines{answer(200), answer(500)}, 200, false},
		{"second knows", Machines{answer(404), answer(200)}, 200, false},
		{"first is dead", Machines{dead, answer(200)}, 200, false},
		{"nobody knows", Machines{answer(404), answer(404)}, 404, false},
		{"all dead", Machines{dead, dead}, 0, true},
		{"none", nil, 0, true},
	} {
		x := &httpmsg.Exchange{}
		err := c.m.Serve(x)
		if (err != nil) != c.failed || x.Res.Status != c.status {
			t.Errorf("%s: got %d, %v", c.name, x.Res.Status, err)
		}
	}
}
