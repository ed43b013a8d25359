package upstream

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"sluice/internal/wire/httpmsg"
)

// ntlmServer authenticates connections, as NTLM does: it wants two steps on one connection and then believes that connection.
func ntlmServer(t *testing.T, secure bool) *website {
	var mu sync.Mutex
	users := map[string]string{} // by remote address
	steps := map[string]bool{}
	return newWebsite(t, secure, "both", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch auth := r.Header.Get("Authorization"); {
		case r.ProtoMajor == 2:
			// RFC 9113 says nothing about it; servers answer so.
			w.Header().Add("WWW-Authenticate", "NTLM")
			w.WriteHeader(401)
		case strings.HasPrefix(auth, "NTLM one"):
			steps[r.RemoteAddr] = true
			w.Header().Add("WWW-Authenticate", "NTLM challenge")
			w.WriteHeader(401)
		case strings.HasPrefix(auth, "NTLM two ") && steps[r.RemoteAddr]:
			users[r.RemoteAddr] = auth[len("NTLM two "):]
			fallthrough
		case users[r.RemoteAddr] != "":
			fmt.Fprint(w, "hello ", users[r.RemoteAddr])
		default:
			w.Header().Add("WWW-Authenticate", "Negotiate")
			w.Header().Add("WWW-Authenticate", "NTLM")
			w.WriteHeader(401)
		}
	}, nil)
}

func askAs(t *testing.T, p *Pool, client any, authorization string) string {
	t.Helper()
	x := request("GET")
	x.Conn = client
	if authorization != "" {
		x.Req.Header.Add("Authorization", authorization)
	}
	defer x.Finish()
	if err := p.RoundTrip(x, &httpmsg.Target{}); err != nil {
		t.Fatal(err)
	}
	body, err := bodyOf(x)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(x.Res.Status, " ", body)
}

// NTLM: each client has connections of its own, nobody gets another's, and they end with the client's.
func TestPinnedConnections(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			w := ntlmServer(t, scheme == "https")
			p := poolFor(t, scheme, w, Defaults())
			var ann, bob httpmsg.Closing
			login := func(c *httpmsg.Closing, name string) {
				t.Helper()
				for _, step := range []struct{ auth, want string }{{"", "401 "}, {"NTLM one", "401 "}, {"NTLM two " + name, "200 hello " + name}, {"", "200 hello " + name}} {
					if got := askAs(t, p, c, step.auth); got != step.want {
						t.Errorf("%s with %q: %q, want %q", name, step.auth, got, step.want)
					}
				}
			}
			login(&ann, "ann")
			login(&bob, "bob")
			if got := askAs(t, p, &ann, ""); got != "200 hello ann" {
				t.Errorf("ann later: %q", got)
			}
			var other httpmsg.Closing
			if got := askAs(t, p, &other, ""); got != "401 " {
				t.Errorf("a stranger got %q", got)
			}
			before := p.Open()
			ann.Closed()
			if p.Open() != before-1 {
				t.Errorf("%d connections after ann left, %d before", p.Open(), before)
			}
			// A client whose first word is a proof, and one that has no connection to tie anything to.
			var eve httpmsg.Closing
			askAs(t, p, &eve, "NTLM one")
			if got := askAs(t, p, &eve, "NTLM two eve"); got != "200 hello eve" {
				t.Errorf("eve: %q", got)
			}
			idle := p.Idle()
			askAs(t, p, nil, "NTLM one")
			if p.Idle() != idle {
				t.Error("a connection with a proof of nobody's was kept")
			}
			bob.Closed()
			eve.Closed()
			other.Closed()
			late := new(httpmsg.Closing)
			late.Closed()
			askAs(t, p, late, "NTLM one")
			if p.pinned.Load() != 0 || len(p.pins) != 0 || len(p.private) != 0 {
				t.Errorf("%d pins and %d connections left", len(p.pins), len(p.private))
			}
		})
	}
}
