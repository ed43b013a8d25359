package docker

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/events"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/secret"
)

// wire is an engine that speaks HTTP, for what happens between it and us.
type wire struct {
	t        *testing.T
	version  string // what it says about itself; empty: nothing
	minimum  string // older clients are refused
	noHead   bool   // HEAD /_ping is refused, as by old engines
	types    []string
	user     string
	prefix   string
	answers  map[string]string // by path after the version
	hang     map[string]bool
	mu       sync.Mutex
	requests []string
	stream   chan string
	done     chan bool
}

func newWire(t *testing.T) *wire {
	w := &wire{t: t, version: "1.41", answers: map[string]string{}, hang: map[string]bool{}, stream: make(chan string, 10), done: make(chan bool)}
	t.Cleanup(func() { close(w.done) })
	return w
}

func recorded(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// ServeHTTP implements http.Handler.
func (w *wire) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, w.prefix)
	version := ""
	if rest, ok := strings.CutPrefix(path, "/v"); ok {
		version, path, _ = strings.Cut(rest, "/")
		path = "/" + path
	}
	w.mu.Lock()
	w.requests = append(w.requests, r.Method+" "+r.URL.Path)
	w.mu.Unlock()
	if user, password, _ := r.BasicAuth(); w.user != "" && user+":"+password != w.user {
		out.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.Body != nil && r.ContentLength > 0 {
		w.t.Errorf("%s %s has a body", r.Method, r.URL)
	}
	if w.hang[path] {
		select {
		case <-r.Context().Done():
		case <-w.done:
		}
		return
	}
	refuse := func(status int, message string) {
		out.Header().Set("Content-Type", "application/json")
		out.WriteHeader(status)
		fmt.Fprintf(out, `{"message":%q}`, message)
	}
	if path == "/_ping" {
		if w.version != "" {
			out.Header().Set("Api-Version", w.version)
		}
		if r.Method == http.MethodHead && w.noHead {
			out.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprint(out, "OK")
		return
	}
	if theirs, _ := versionNumber(version); w.minimum != "" && theirs < mustVersion(w.minimum) {
		refuse(400, "client version "+version+" is too old. Minimum supported API version is "+w.minimum+", please upgrade your client to a newer version")
		return
	}
	if newest := mustVersion(w.version); w.version != "" && mustVersion(version) > newest {
		refuse(400, "client version "+version+" is too new. Maximum supported API version is "+w.version)
		return
	}
	if path == "/events" {
		w.serveEvents(out, r, refuse)
		return
	}
	answer, ok := w.answers[path]
	if !ok {
		refuse(404, "No such container: "+path)
		return
	}
	out.Header().Set("Content-Type", "application/json")
	fmt.Fprint(out, answer)
}

func (w *wire) serveEvents(out http.ResponseWriter, r *http.Request, refuse func(int, string)) {
	var filters map[string]map[string]bool
	if err := json.Unmarshal([]byte(r.URL.Query().Get("filters")), &filters); err != nil {
		w.t.Errorf("filters %q: %v", r.URL.Query().Get("filters"), err)
	}
	for kind := range filters["type"] {
		if w.types != nil && !slices.Contains(w.types, kind) {
			refuse(500, "invalid event type "+kind)
			return
		}
	}
	out.Header().Set("Content-Type", "application/json")
	out.WriteHeader(200)
	out.(http.Flusher).Flush()
	for {
		select {
		case line, open := <-w.stream:
			if !open {
				return
			}
			fmt.Fprint(out, line)
			out.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		case <-w.done:
			return
		}
	}
}

// on lets the engine listen on a unix socket and opens a conversation.
func (w *wire) on() (*conversation, error) { return w.within(0) }

// within is on with a limit for how long the engine may think.
func (w *wire) within(timeout time.Duration) (*conversation, error) {
	w.t.Helper()
	dir, err := os.MkdirTemp("", "engine")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		w.t.Fatal(err)
	}
	server := &http.Server{Handler: w}
	go func() { _ = server.Serve(l) }()
	w.t.Cleanup(func() { server.Close() })
	return w.converse(&settings{endpoint: "unix://" + path, timeout: timeout}, environment{})
}

func (w *wire) converse(s *settings, env environment) (*conversation, error) {
	t, err := newTransport(s, env, func(c *dynamic.ClientTLS) (*tls.Config, error) {
		return &tls.Config{InsecureSkipVerify: c.InsecureSkipVerify}, nil
	})
	if err != nil {
		return nil, err
	}
	c, err := converse(w.t.Context(), t, 5*time.Second, env.version, "Sluice test")
	w.t.Cleanup(t.close)
	return c, err
}

func TestVersions(t *testing.T) {
	for _, c := range []struct {
		name, version, minimum, want string
		noHead                       bool
	}{
		{"19.03", "1.40", "1.12", "1.40", false},
		{"20.10", "1.41", "1.12", "1.41", false},
		{"older than the library takes", "1.30", "", "1.30", false},
		{"the oldest", "1.24", "", "1.24", true},
		{"older still", "1.20", "", "1.24", true},
		{"says nothing", "", "", "1.24", false},
		{"the minimum is nearly the newest", "1.44", "1.44", "1.44", false},
		{"newer than we are", "1.99", "1.44", "1.56", false},
		{"nonsense", "banana", "", "1.24", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWire(t)
			w.version, w.minimum, w.noHead = c.version, c.minimum, c.noHead
			w.answers["/containers/json"] = "[]"
			if c.want != c.version {
				w.version = c.version
			}
			k, err := w.on()
			if err != nil {
				t.Fatal(err)
			}
			if got := k.c.ClientVersion(); got != c.want {
				t.Errorf("speaks %s, want %s", got, c.want)
			}
			if c.version == "1.20" || c.version == "banana" || c.version == "" {
				return // such an engine would refuse, or not
			}
			if _, err := k.list(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("minimum above ours", func(t *testing.T) {
		w := newWire(t)
		w.version, w.minimum = "1.70", "1.60"
		k, err := w.on()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.list(t.Context()); err == nil || !strings.Contains(err.Error(), "only newer versions") || !strings.Contains(err.Error(), "1.60") {
			t.Errorf("error %v", err)
		}
	})
}

// TestOnlyLooks checks that nothing leaves but GET and HEAD of the documented paths.
func TestOnlyLooks(t *testing.T) {
	w := newWire(t)
	w.answers["/containers/json"] = recorded(t, "list-1.41.json")
	w.answers["/containers/x/json"] = recorded(t, "inspect-1.41.json")
	w.answers["/services"], w.answers["/tasks"], w.answers["/networks"] = "[]", "[]", "[]"
	k, err := w.on()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = k.list(t.Context())
	_, _ = k.inspect(t.Context(), "x")
	_, _ = k.inspect(t.Context(), "../images/json?")
	_, _ = k.swarm(t.Context())
	_ = k.ping(t.Context())
	close(w.stream)
	_ = k.events(t.Context(), true, func() {}, func(event) {})
	for _, r := range w.requests {
		method, path, _ := strings.Cut(r, " ")
		if method != "GET" && method != "HEAD" || !allowed.MatchString(path) {
			t.Errorf("asked %s", r)
		}
	}
	for _, r := range []struct{ method, path string }{{"POST", "/containers/json"}, {"GET", "/images/json"}, {"DELETE", "/v1.41/containers/x"},
		{"GET", "/containers/x/archive"}, {"GET", "/v1.41/containers/../../images/json"}, {"GET", "/secrets"}} {
		u, _ := url.Parse("http://docker" + r.path)
		_, err := (&transport{base: &http.Transport{}}).RoundTrip((&http.Request{Method: r.method, URL: u, Header: http.Header{}}).WithContext(t.Context()))
		if !errors.Is(err, errForbidden) {
			t.Errorf("%s %s: %v", r.method, r.path, err)
		}
	}
}

func TestRecordedContainers(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{"inspect-1.24.json", "rec-web running health=starting mode=rec_a signal=3 [bridge=172.17.0.2 rec_a=172.19.0.2] [53/udp 8080/tcp@127.0.0.1:18999]"},
		{"inspect-1.41.json", "rec-web running health=starting mode=rec_a signal=3 [bridge=172.17.0.2 rec_a=172.19.0.2] [53/udp 8080/tcp@127.0.0.1:18999]"},
		{"inspect-stopped-1.41.json", "rec-web exited health=unhealthy mode=rec_a signal=3 [bridge=invalid IP rec_a=invalid IP] []"},
		{"inspect-1.52.json", "rec-web running health= mode=rec_a signal=3 [bridge=172.17.0.2 rec_a=172.19.0.2] [53/udp 8080/tcp@127.0.0.1:18999]"},
		{"inspect-podman.json", "rec-web running health= mode=bridge signal=15 [bridge=172.17.0.2 rec_a=172.19.0.2] [53/udp 8080/tcp]"},
	} {
		t.Run(c.file, func(t *testing.T) {
			w := newWire(t)
			w.answers["/containers/x/json"] = recorded(t, c.file)
			k, err := w.on()
			if err != nil {
				t.Fatal(err)
			}
			got, err := k.inspect(t.Context(), "x")
			if err != nil {
				t.Fatal(err)
			}
			var networks, ports []string
			for _, n := range got.networks {
				networks = append(networks, n.name+"="+n.address().String())
			}
			for _, p := range got.ports {
				text := fmt.Sprintf("%d/%s", p.number, p.protocol)
				for _, b := range p.bindings {
					text += "@" + b.ip + ":" + b.port
				}
				ports = append(ports, text)
			}
			if text := fmt.Sprintf("%s %s health=%s mode=%s signal=%d %v %v", got.name, got.status, got.health, got.mode, got.stopSignal, networks, ports); text != c.want {
				t.Errorf("got  %s\nwant %s", text, c.want)
			}
			if got.labels["traefik.http.routers.r.rule"] != "Host(`a.test`)" || got.created.IsZero() || got.started == "" || !slices.Equal(got.exposed, []int{53, 8080}) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestRecordedList(t *testing.T) {
	for _, version := range []string{"1.24", "1.41"} {
		w := newWire(t)
		w.answers["/containers/json"] = recorded(t, "list-"+version+".json")
		k, err := w.on()
		if err != nil {
			t.Fatal(err)
		}
		list, err := k.list(t.Context())
		if err != nil || len(list) != 1 || list[0].State != stateRunning || len(list[0].ID) != 64 || list[0].Labels["traefik.enable"] != "true" {
			t.Errorf("%s: %+v, %v", version, list, err)
		}
	}
}

func TestRecordedEvents(t *testing.T) {
	var got []string
	lines := bufio.NewScanner(strings.NewReader(recorded(t, "events-1.41.jsonl")))
	for lines.Scan() {
		var m events.Message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		if e, ok := readEvent(&m); ok {
			got = append(got, fmt.Sprintf("%s %.4s %d", e.action, e.id, e.signal))
		}
	}
	want := "create b82a 0, connect b82a 0, start b82a 0, connect b82a 0, kill b82a 3, die b82a 0, disconnect b82a 0, disconnect b82a 0, stop b82a 0"
	if text := strings.Join(got, ", "); text != want {
		t.Errorf("got %s\nwant %s", text, want)
	}
}

func TestRecordedSwarm(t *testing.T) {
	w := newWire(t)
	for _, kind := range []string{"services", "tasks", "networks"} {
		w.answers["/"+kind] = recorded(t, kind+"-1.41.json")
	}
	k, err := w.on()
	if err != nil {
		t.Fatal(err)
	}
	state, err := k.swarm(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range state.tasks {
		var networks []string
		for _, n := range c.networks {
			networks = append(networks, n.name+"="+n.address().String())
		}
		remark := ""
		if c.remark != "" {
			remark = " (remark)"
		}
		got = append(got, fmt.Sprintf("%s of %s %s %v%s", c.name, c.service, c.status, networks, remark))
	}
	slices.Sort(got)
	want := []string{"st_none of st_none without running tasks []", "st_rr.1 of st_rr running [ov=10.0.1.5] (remark)",
		"st_vip of st_vip running [ingress=10.0.0.3 ov=10.0.1.6]", "st_web.1 of st_web running [ov=10.0.1.3]", "st_web.2 of st_web running [ov=10.0.1.4]"}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestBadAnswers(t *testing.T) {
	good := recorded(t, "inspect-1.41.json")
	for name, answer := range map[string]string{
		"truncated": good[:len(good)/2], "empty": "", "null": "null", "a list": "[]", "no id": "{}", "no JSON": "<html>", "labels are a list": `{"Id":"x","Config":{"Labels":["a"]}}`,
	} {
		w := newWire(t)
		w.answers["/containers/x/json"], w.answers["/containers/json"] = answer, good
		k, err := w.on()
		if err != nil {
			t.Fatal(err)
		}
		if c, err := k.inspect(t.Context(), "x"); err == nil {
			t.Errorf("%s: %+v", name, c)
		}
		if _, err := k.list(t.Context()); err == nil {
			t.Errorf("%s: an object is taken for a list", name)
		}
	}
	w := newWire(t)
	k, err := w.on()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.inspect(t.Context(), "nope"); !errors.Is(err, errGone) {
		t.Errorf("a container that is not there: %v", err)
	}
}

func TestHanging(t *testing.T) {
	w := newWire(t)
	w.hang["/containers/json"] = true
	k, err := w.on()
	if err != nil {
		t.Fatal(err)
	}
	k.timeout = 20 * time.Millisecond
	if _, err := k.list(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	t.Run("events that never begin", func(t *testing.T) {
		w := newWire(t)
		w.hang["/events"] = true
		k, err := w.within(50 * time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		var slow net.Error
		if err := k.events(t.Context(), false, func() { t.Error("they began") }, func(event) {}); !errors.As(err, &slow) || !slow.Timeout() {
			t.Errorf("error %v", err)
		}
	})
	w2 := newWire(t)
	w2.hang["/_ping"] = true
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: w2}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	tr, err := newTransport(&settings{endpoint: "unix://" + filepath.Join(dir, "s")}, environment{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := converse(ctx, tr, time.Minute, "", ""); err == nil {
		t.Error("an engine that does not answer is taken for one that does")
	}
}

func TestEventStream(t *testing.T) {
	run := func(w *wire) (got []string, err error) {
		k, err := w.on()
		if err != nil {
			t.Fatal(err)
		}
		begun := false
		err = k.events(t.Context(), false, func() { begun = true }, func(e event) { got = append(got, e.action+" "+e.id) })
		if !begun {
			t.Error("it never began")
		}
		return got, err
	}
	line := func(kind, action, id string) string {
		return fmt.Sprintf(`{"Type":%q,"Action":%q,"Actor":{"ID":%q,"Attributes":{}},"unknown":[1,{"a":null}]}`+"\n", kind, action, id)
	}
	t.Run("ends", func(t *testing.T) {
		w := newWire(t)
		w.stream <- line("container", "start", "a") + line("container", "exec_create: x", "a") + line("image", "pull", "i") + line("network", "create", "n")
		w.stream <- line("container", "health_status: healthy", "b")
		close(w.stream)
		got, err := run(w)
		if text := strings.Join(got, ", "); text != "start a, health_status b" || err == nil || !strings.Contains(err.Error(), "ended the stream") {
			t.Errorf("%s, %v", text, err)
		}
	})
	t.Run("cut in the middle", func(t *testing.T) {
		w := newWire(t)
		w.stream <- line("container", "start", "a") + `{"Type":"container","Act`
		close(w.stream)
		if got, err := run(w); len(got) != 1 || err == nil {
			t.Errorf("%v, %v", got, err)
		}
	})
	t.Run("garbage", func(t *testing.T) {
		w := newWire(t)
		w.stream <- line("container", "start", "a") + "garbage\n"
		if got, err := run(w); len(got) != 1 || err == nil {
			t.Errorf("%v, %v", got, err)
		}
	})
	t.Run("kinds that the engine does not know", func(t *testing.T) {
		w := newWire(t)
		w.types = []string{"container"}
		w.stream <- line("container", "start", "a")
		close(w.stream)
		if got, _ := run(w); len(got) != 1 {
			t.Errorf("%v", got)
		}
	})
}

// TestEndpoints checks the ways to an engine.
func TestEndpoints(t *testing.T) {
	serve := func(w *wire, encrypted bool) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: w, ErrorLog: nil}
		if encrypted {
			go func() { _ = server.ServeTLS(l, "", "") }()
		} else {
			go func() { _ = server.Serve(l) }()
		}
		t.Cleanup(func() { server.Close() })
		return l.Addr().String()
	}
	check := func(name string, k *conversation, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		if _, err := k.list(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	w := newWire(t)
	w.answers["/containers/json"] = "[]"
	address := serve(w, false)
	k, err := w.converse(&settings{endpoint: "tcp://" + address}, environment{})
	check("tcp", k, err)
	k, err = w.converse(&settings{endpoint: "unix:///nowhere", fromEnvironment: true}, environment{host: "tcp://" + address, version: "1.41"})
	check("DOCKER_HOST", k, err)
	if k != nil && k.c.ClientVersion() != "1.41" {
		t.Error("DOCKER_API_VERSION has no effect")
	}
	if _, err := w.converse(&settings{endpoint: "unix:///nowhere"}, environment{host: "tcp://" + address}); err == nil {
		t.Error("DOCKER_HOST moves a named engine")
	}
	w2 := newWire(t)
	w2.answers["/containers/json"], w2.prefix, w2.user = "[]", "/proxy", "me:secret"
	k, err = w2.converse(&settings{endpoint: "http://" + serve(w2, false) + "/proxy", username: "me", password: "secret"}, environment{})
	check("path and password", k, err)
	if _, err := w.converse(&settings{endpoint: "tcp://" + address, username: "me"}, environment{}); err != nil {
		t.Errorf("half a login: %v", err)
	}
	for endpoint, want := range map[string]string{"nonsense": "is no URL", "ftp://x": "scheme that is none of", "tcp://": "has no host", "ssh://-oProxyCommand=x": "is no ssh endpoint",
		"ssh://u:p@h": "takes no password", "ssh://h/var/run;x": "characters that the far shell"} {
		if _, err := w.converse(&settings{endpoint: endpoint}, environment{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

// TestEnvironmentTLS checks the directory of DOCKER_CERT_PATH.
func TestEnvironmentTLS(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"ca.pem", "cert.pem", "key.pem"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := environmentTLS(environment{certPath: dir, verify: true})
	if err != nil || c.InsecureSkipVerify || c.CA.Content != secret.New("ca.pem") || c.Cert.Content != secret.New("cert.pem") || c.Key.Content != secret.New("key.pem") {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err = environmentTLS(environment{certPath: dir}); err != nil || !c.InsecureSkipVerify {
		t.Errorf("%+v, %v", c, err)
	}
	os.Remove(filepath.Join(dir, "key.pem"))
	if _, err := environmentTLS(environment{certPath: dir}); err == nil {
		t.Error("a missing key is no error")
	}
}

// TestSSH checks an engine behind a command.
func TestSSH(t *testing.T) {
	w := newWire(t)
	w.answers["/containers/json"] = "[]"
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: w}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	// Stands for ssh and the docker command on the far side: this very test binary hands the bytes on.
	script := filepath.Join(dir, "ssh")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("#!/bin/sh\necho \"$@\" > %s/args\nDIAL_STDIO=%s exec %s\n", dir, path, self)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	k, err := w.converse(&settings{endpoint: "ssh://me@far:2222/run/docker.sock"}, environment{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.list(t.Context()); err != nil {
		t.Error(err)
	}
	k.end()
	args, _ := os.ReadFile(filepath.Join(dir, "args"))
	if got, want := strings.TrimSpace(string(args)), "-o ConnectTimeout=30 -o BatchMode=yes -T -l me -p 2222 -- far docker --host unix:///run/docker.sock system dial-stdio"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho 'Permission denied (publickey).' >&2\nexit 255\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := w.converse(&settings{endpoint: "ssh://far"}, environment{}); err == nil || !strings.Contains(err.Error(), "Permission denied (publickey)") {
		t.Errorf("error %v", err)
	}
}
