package cli

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// composeStory has the habits of real files: anchors, variables, a router among the services, one mistake each.
const composeStory = `name: shop
x-labels: &common
  traefik.enable: "true"
services:
  proxy:
    image: docker.io/library/traefik:v3.1
    command: >-
      --entrypoints.web.address=:80 --entrypoints.websecure.address=:443
      --providers.docker=true --providers.docker.exposedbydefault=false
      --providers.file.filename=/etc/traefik/dynamic.yml
    networks: [front]
    volumes: ["./conf:/etc/traefik:ro"]
  web:
    image: nginx
    networks: [front, back]
    labels:
      <<: *common
      traefik.http.routers.web.rule: Host(` + "`${HOST:-shop.test}`" + `)
      traefik.http.routers.web.middlewares: auth@file
      traefik.http.services.web.loadbalancer.server.port: 8080
  api:
    build: .
    expose: ["9000-9001/tcp"]
    networks:
      back:
      other:
    labels:
      - traefik.enable=true
      - traefik.http.routers.api.rule=Host(` + "`${API}`" + `)
      - traefik.http.routers.api.priority=high
  vpn:
    image: gluetun
    networks: {front: {}}
  app:
    image: app
    network_mode: service:vpn
    labels: ["traefik.enable=true", "traefik.http.services.app.loadbalancer.server.port=$$PORT"]
  db: {image: postgres}
  stack:
    image: x
    deploy: {labels: {traefik.enable: true}}
networks:
  front:
  back:
  other: {external: true}
`

func TestCheckCompose(t *testing.T) {
	path := write(t, "compose.yml", composeStory)
	dir := filepath.Dir(path)
	for name, text := range map[string]string{
		"conf/dynamic.yml": "http: {middlewares: {auth: {basicAuth: {users: ['u:$apr1$4Bi3kzdZ$0yCTHnUzS9DmxOoHpUvJz.']}}}}\n",
		".env":             "API=api.test\n# no\nOTHER='x'\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, stdout, stderr := run(t, []string{"HOST=env.test"}, "check", path)
	if code != exitFindings || stderr != "" {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	for _, want := range []string{
		"container shop-web-1 (running; networks shop_back, shop_front)\n  server http://shop-web-1:8080\n  router web@docker: Host(`env.test`) on web, websecure to web, enabled\n",
		"container shop-db-1 (running; networks shop_default)\n  not served: exposedByDefault is off",
		"container shop-api-1 (running; networks other, shop_back)\n  not served: none of its networks is one of Sluice's: it is on other, shop_back, and Sluice is on shop_front\n" +
			"  router api@docker: Host(`api.test`) on web, websecure to api-shop, disabled: expected an integer, got text \"high\"\n",
		path + ":30:9: error: http.routers.api.priority: expected an integer",
		path + ":21:3: error: http.services.api-shop: none of its networks",
		"container shop-app-1 (running)\n  not served: the port \"$PORT\" is not a number",
		"info: labels below deploy belong to Swarm services",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	if t.Failed() {
		t.Log(stdout)
	}
	code, stdout, _ = run(t, nil, "check", "--json", path)
	var out struct {
		Containers []struct {
			Container string
			Served    bool
			Servers   []string
		}
		Findings []struct{ Code string }
	}
	if err := json.Unmarshal([]byte(stdout), &out); err != nil || len(out.Containers) != 7 || code != exitFindings {
		t.Errorf("%v: %s", err, stdout)
	}
}

// TestCheckComposeAlone checks a file without a router in it: the options are then the usual ones.
func TestCheckComposeAlone(t *testing.T) {
	path := write(t, "docker-compose.yaml", "services:\n  web:\n    image: nginx\n    labels:\n      traefik.http.routers.w.rule: Host(`a`\n")
	code, stdout, _ := run(t, nil, "check", path)
	if code != exitFindings || !strings.Contains(stdout, path+":5:36: error: http.routers.w.rule:") {
		t.Errorf("exit code %d, %s", code, stdout)
	}
	code, stdout, _ = run(t, nil, "check", "--providers.swarm=true", "--entrypoints.web.address=:80", write(t, "s.yml",
		"name: s\nservices:\n  web:\n    image: nginx\n    networks: [n]\n    deploy:\n      labels: [traefik.http.routers.w.rule=Host(`a`), traefik.http.services.w.loadbalancer.server.port=80]\nnetworks: {n: {}}\n"))
	if code != exitFine || !strings.Contains(stdout, "task s_web.1 (running; networks s_n)\n  server http://s_web.1:80\n  router w@swarm: Host(`a`) on web to w, enabled") {
		t.Errorf("exit code %d, %s", code, stdout)
	}
}

// TestCheckDocker looks at an engine that has one container.
func TestCheckDocker(t *testing.T) {
	const answers = "../../intake/docker/testdata/"
	list, err := os.ReadFile(answers + "list-1.41.json")
	if err != nil {
		t.Fatal(err)
	}
	one, err := os.ReadFile(answers + "inspect-1.41.json")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		switch {
		case strings.HasSuffix(r.URL.Path, "/containers/json"):
			w.Write(list)
		case strings.Contains(r.URL.Path, "/containers/"):
			w.Write(one)
		}
	})}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	code, stdout, stderr := run(t, []string{"DOCKER_HOST=tcp://" + l.Addr().String()}, "check", "--docker", "--entryPoints.web.address=:80")
	if want := "container rec-web (running, starting; networks bridge, rec_a)\n  not served: is starting\n"; !strings.Contains(stdout, want) || code != exitFine {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
	code, stdout, _ = run(t, []string{"DOCKER_HOST=unix:///nowhere/docker.sock"}, "check", "--docker", "--entryPoints.web.address=:80")
	if code != exitFindings || !strings.Contains(stdout, "[ENGINE-LOST]") {
		t.Errorf("exit code %d, %s", code, stdout)
	}
}
