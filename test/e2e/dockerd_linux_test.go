package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// dockerd is a container engine of the tests' own: its socket, data and networks are apart from those of the machine, and
// it leaves the machine's packet filter alone.
type dockerd struct {
	dir, socket string
	cmd         *exec.Cmd
	done        chan struct{}
	log         *os.File
	// liveRestore lets containers outlive the daemon. A Swarm cannot have it.
	liveRestore bool
}

var shared struct {
	sync.Mutex
	engine *dockerd
	err    error
}

// testImage is the image of the program in the directory app; its health is checked only as sickImage.
const (
	testImage = "app"
	sickImage = "app-with-health"
	// webImage listens on port 80.
	webImage = "app-on-80"
	// sluiceImage is made by the first test that needs it.
	sluiceImage = "sluice"
)

// containerEngine starts the engine that all tests share, with the images that they use.
func containerEngine(t *testing.T) *dockerd {
	t.Helper()
	need(t, "dockerd", "docker")
	if os.Getuid() != 0 {
		t.Skip("not root: no container engine can be started")
	}
	shared.Lock()
	defer shared.Unlock()
	if shared.engine == nil && shared.err == nil {
		shared.engine, shared.err = newDockerd()
		atExit = append(atExit, closeEngine)
	}
	if shared.err != nil {
		if os.Getenv("SLUICE_E2E") == "required" {
			t.Fatal(shared.err)
		}
		t.Skip("no container engine can be started here: ", shared.err)
	}
	e := shared.engine
	t.Cleanup(func() { e.clean(t) })
	return e
}

func newDockerd() (*dockerd, error) {
	dir, err := os.MkdirTemp("", "engine")
	if err != nil {
		return nil, err
	}
	e := &dockerd{dir: dir, socket: filepath.Join(dir, "docker.sock")}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	if e.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		return nil, err
	}
	if err := e.start(); err != nil {
		e.close()
		return nil, err
	}
	if err := e.images(); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

// start starts the daemon and waits until it answers.
func (e *dockerd) start() error {
	e.cmd = exec.Command(program("dockerd"), "--data-root", filepath.Join(e.dir, "data"), "--exec-root", filepath.Join(e.dir, "exec"),
		"--pidfile", filepath.Join(e.dir, "pid"), "--host", "unix://"+e.socket, "--bridge=none", "--iptables=false", "--ip6tables=false",
		"--default-address-pool", "base=10.213.0.0/16,size=24")
	if e.liveRestore {
		e.cmd.Args = append(e.cmd.Args, "--live-restore")
	}
	e.cmd.Stdout, e.cmd.Stderr = e.log, e.log
	e.cmd.SysProcAttr = ownGroup()
	if err := e.cmd.Start(); err != nil {
		return err
	}
	e.done = make(chan struct{})
	go func() { _ = e.cmd.Wait(); close(e.done) }()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		select {
		case <-e.done:
			return fmt.Errorf("dockerd ended: %s", e.said())
		default:
		}
		if out, err := e.try("version"); err == nil && strings.Contains(out, "Server") {
			return nil
		}
	}
	return fmt.Errorf("dockerd does not answer: %s", e.said())
}

func (e *dockerd) said() string {
	data, _ := os.ReadFile(e.log.Name())
	return tail(string(data), 3000)
}

// stop ends the daemon; containers go on.
func (e *dockerd) stop() {
	if e.cmd == nil || e.cmd.Process == nil {
		return
	}
	_ = e.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-e.done:
	case <-time.After(30 * time.Second):
		_ = e.cmd.Process.Kill()
		<-e.done
	}
}

// close ends everything that the engine runs, and removes what it has on the disk.
func (e *dockerd) close() {
	if out, err := e.try("ps", "-aq"); err == nil && strings.TrimSpace(out) != "" {
		_, _ = e.try(append([]string{"rm", "-f"}, strings.Fields(out)...)...)
	}
	_, _ = e.try("swarm", "leave", "--force")
	e.stop()
	mounts, _ := os.ReadFile("/proc/self/mounts")
	var own []string
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], e.dir+"/") {
			own = append(own, f[1])
		}
	}
	slices.Sort(own)
	for _, m := range slices.Backward(own) {
		_ = syscall.Unmount(m, syscall.MNT_DETACH)
	}
	e.log.Close()
	_ = os.RemoveAll(e.dir)
}

// closeEngine ends the engine that the tests shared.
func closeEngine() {
	shared.Lock()
	defer shared.Unlock()
	if shared.engine != nil {
		shared.engine.close()
		shared.engine = nil
	}
}

func (e *dockerd) try(args ...string) (string, error) { return e.by(nil, "docker", args...) }

// by runs a program that speaks with the engine. Unlike run it works while a test is being cleaned up.
func (e *dockerd) by(env []string, name string, args ...string) (string, error) {
	cmd := exec.Command(program(name), args...)
	cmd.Env = append(append(os.Environ(), "DOCKER_HOST=unix://"+e.socket, "DOCKER_BUILDKIT=0"), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// restart ends the daemon and starts it with other options.
func (e *dockerd) restart(t *testing.T, liveRestore bool) {
	t.Helper()
	e.stop()
	e.liveRestore = liveRestore
	if err := e.start(); err != nil {
		t.Fatal(err)
	}
}

// docker runs the docker command, which must not fail.
func (e *dockerd) docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := e.try(args...)
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

// images makes the images of the tests: static programs, and nothing else.
func (e *dockerd) images() error {
	binary := filepath.Join(e.dir, "app")
	build := exec.Command("go", "build", "-o", binary, "sluice/test/e2e/app")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %v\n%s", err, out)
	}
	data, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: "app", Mode: 0o755, Size: int64(len(data))}); err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	for name, changes := range map[string][]string{
		testImage: nil,
		webImage:  {"-c", "ENV LISTEN=:80", "-c", "EXPOSE 80"},
		sickImage: {"-c", `HEALTHCHECK --interval=200ms --timeout=5s --retries=1 CMD ["/app","health"]`},
	} {
		args := append([]string{"import", "-c", `ENTRYPOINT ["/app"]`, "-c", "EXPOSE 8080"}, changes...)
		cmd := exec.Command(program("docker"), append(args, "-", name)...)
		cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+e.socket)
		cmd.Stdin = bytes.NewReader(archive.Bytes())
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("docker import: %v\n%s", err, out)
		}
	}
	return nil
}

var builtSluice sync.Once

// sluice makes the image of Sluice, as "make image" does, around the binary under test.
func (e *dockerd) sluice(t *testing.T) string {
	t.Helper()
	builtSluice.Do(func() {
		root := t.TempDir()
		mustRun(t, nil, "../../tools/image.sh", sluice, filepath.Join(root, "dist", "image"))
		e.docker(t, "build", "-q", "-t", sluiceImage, "-f", "../../Dockerfile", root)
	})
	return sluiceImage
}

// group is the group that may use the engine's socket.
func (e *dockerd) group(t *testing.T) string {
	t.Helper()
	info, err := os.Stat(e.socket)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(info.Sys().(*syscall.Stat_t).Gid)
}

// clean removes what a test left behind.
func (e *dockerd) clean(t *testing.T) {
	if t.Failed() {
		out, _ := e.try("ps", "-a")
		t.Logf("containers:\n%s", out)
	}
	if out, err := e.try("ps", "-aq"); err == nil && strings.TrimSpace(out) != "" {
		_, _ = e.try(append([]string{"rm", "-f", "-v"}, strings.Fields(out)...)...)
	}
	_, _ = e.try("network", "prune", "-f")
}

// networks counts those that were made: the engine takes its time to let go of a name.
var networks atomic.Int32

// network makes a network until the end of the test, and returns its name.
func (e *dockerd) network(t *testing.T, options ...string) string {
	t.Helper()
	name := fmt.Sprint("net", networks.Add(1))
	e.docker(t, append(append([]string{"network", "create"}, options...), name)...)
	t.Cleanup(func() {
		if out, err := e.try("ps", "-aq", "--filter", "network="+name); err == nil && strings.TrimSpace(out) != "" {
			_, _ = e.try(append([]string{"rm", "-f"}, strings.Fields(out)...)...)
		}
		if out, err := e.try("network", "rm", name); err != nil {
			t.Logf("the network %s stays: %s", name, out)
		}
	})
	return name
}

// container starts a container. words are options of docker run up to the image; labels have a colon and a space.
func (e *dockerd) container(t *testing.T, name, network, image string, words ...string) {
	t.Helper()
	args := []string{"run", "-d", "--name", name, "--network", network, "-e", "NAME=" + name, "-l", "traefik.enable=true"}
	for _, w := range words {
		if key, value, ok := strings.Cut(w, ": "); ok {
			args = append(args, "-l", key+"="+value)
		} else {
			args = append(args, strings.Fields(w)...)
		}
	}
	e.docker(t, append(args, image)...)
}

// frontier is a Sluice that serves the containers of an engine.
type frontier struct {
	*daemon
	t                *testing.T
	web, secure, api string
	client           *http.Client
}

// frontierAt is a Sluice that is reached at the given ports of loopback, however it is started.
func frontierAt(t *testing.T, web, secure, api int) *frontier {
	g := &frontier{t: t, web: loopback(web), secure: loopback(secure), api: loopback(api)}
	g.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 64}}
	t.Cleanup(g.client.CloseIdleConnections)
	return g
}

// newFrontier starts Sluice on the machine itself.
func newFrontier(t *testing.T, e *dockerd, flags ...string) *frontier {
	t.Helper()
	return newFrontierBy(t, "unix://"+e.socket, flags...)
}

// newFrontierBy does so with another way to the engine.
func newFrontierBy(t *testing.T, endpoint string, flags ...string) *frontier {
	t.Helper()
	p := ports(t, 3)
	g := frontierAt(t, p[0], p[1], p[2])
	args := []string{"--entryPoints.web.address=" + g.web, "--entryPoints.secure.address=" + g.secure, "--entryPoints.secure.http.tls=true",
		"--entryPoints.traefik.address=" + g.api, "--api.insecure=true", "--log.level=DEBUG", "--providers.docker.exposedByDefault=false",
		"--providers.docker.endpoint=" + endpoint, "--providers.providersThrottleDuration=200ms"}
	g.daemon = start(t, nil, sluice, append(args, flags...)...)
	g.listening(t, g.web, g.api)
	return g
}

// get asks for a host and returns status and body; the status is 0 where there is no answer.
func (g *frontier) get(host, path string) (int, string) {
	status, body, _ := g.ask("http", host, path)
	return status, body
}

func (g *frontier) ask(scheme, host, path string) (int, string, *http.Response) {
	address := g.web
	if scheme == "https" {
		address = g.secure
	}
	r, err := http.NewRequest("GET", scheme+"://"+address+path, nil)
	if err != nil {
		return 0, err.Error(), nil
	}
	r.Host = host
	res, err := g.client.Do(r)
	if err != nil {
		return 0, err.Error(), nil
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body), res
}

// until waits for an answer that begins with want, and logs how long that took.
func (g *frontier) until(what, host string, status int, want string) {
	g.t.Helper()
	began := time.Now()
	eventually(g.t, what, func() error {
		if got, body := g.get(host, "/"); got != status || !strings.HasPrefix(body, want) {
			return fmt.Errorf("%s: %d %.100q, want %d %q", host, got, body, status, want)
		}
		return nil
	})
	g.t.Logf("%s: %v", what, time.Since(began).Round(time.Millisecond))
}

// api returns the JSON of a path of the API.
func (g *frontier) fromAPI(path string, into any) error {
	res, err := g.client.Get("http://" + g.api + path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: status %d", path, res.StatusCode)
	}
	return json.NewDecoder(res.Body).Decode(into)
}

// servers returns the addresses of a service, sorted.
func (g *frontier) servers(service string) []string {
	var s struct {
		LoadBalancer struct{ Servers []struct{ URL string } }
	}
	if err := g.fromAPI("/api/http/services/"+service, &s); err != nil {
		return nil
	}
	var out []string
	for _, server := range s.LoadBalancer.Servers {
		out = append(out, server.URL)
	}
	slices.Sort(out)
	return out
}

// untilServers waits until a service has so many servers.
func (g *frontier) untilServers(service string, n int) {
	g.t.Helper()
	eventually(g.t, fmt.Sprintf("%s has %d servers", service, n), func() error {
		if got := g.servers(service); len(got) != n {
			return fmt.Errorf("servers %v", got)
		}
		return nil
	})
}

// names asks a host often and returns who answered, sorted.
func (g *frontier) names(host string, times int) string {
	seen := map[string]bool{}
	for range times {
		_, body := g.get(host, "/")
		name, _, _ := strings.Cut(strings.TrimSpace(body), " ")
		seen[name] = true
	}
	var out []string
	for name := range seen {
		out = append(out, name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}
