package docker

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"
)

// ownContainer is what the process can find out about the container that it runs in.
type ownContainer struct {
	// in tells that it runs in one at all.
	in bool
	// id is the container's, whole or its first twelve digits; empty if it cannot be found out.
	id string
}

// is reports whether id is that of our own container.
func (o ownContainer) is(id string) bool { return o.id != "" && strings.HasPrefix(id, o.id) }

// containerID finds an id in a path of a control group or a mount: /docker/ID, /ID/hostname, /docker-ID.scope.
var containerID = regexp.MustCompile(`(?m)[/-]([0-9a-f]{64})(?:/|\.scope|$)`)

// findSelf looks where the process runs.
func findSelf() ownContainer {
	var out ownContainer
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(mark); err == nil {
			out.in = true
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo") // absent on other systems than Linux
	cgroup, _ := os.ReadFile("/proc/self/cgroup")
	if id := idFromMounts(mounts); id != "" {
		return ownContainer{true, id}
	}
	if id := idFromGroups(cgroup); id != "" {
		return ownContainer{true, id}
	}
	if name, err := os.Hostname(); err == nil && out.in && shortContainerID.MatchString(name) {
		out.id = name
	}
	return out
}

var shortContainerID = regexp.MustCompile(`^[0-9a-f]{12}$`)

// idFromGroups finds the id in the control groups of the process. With a group name space of its own it shows nothing.
func idFromGroups(cgroup []byte) string {
	if m := containerID.FindSubmatch(cgroup); m != nil {
		return string(m[1])
	}
	return ""
}

// idFromMounts finds the id in the files that engines mount into each container, from a directory that is called by it.
// The machine itself has mounts with such names too, but at other places.
func idFromMounts(mountinfo []byte) string {
	lines := bufio.NewScanner(bytes.NewReader(mountinfo))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		switch fields[4] {
		case "/etc/hostname", "/etc/hosts", "/etc/resolv.conf":
			if m := containerID.FindStringSubmatch(fields[3]); m != nil {
				return m[1]
			}
		}
	}
	return ""
}

// hostLookup bounds looking for the address of the engine's machine.
const hostLookup = time.Second

// hostAddress returns what finds the address at which containers in the network of the machine are reached. In a container
// that is what its engine calls the machine, everywhere else the machine is here.
func hostAddress(inContainer bool) func() string {
	return sync.OnceValue(func() string {
		if inContainer {
			ctx, cancel := context.WithTimeout(context.Background(), hostLookup)
			defer cancel()
			for _, name := range []string{"host.docker.internal", "host.containers.internal"} {
				if found, err := net.DefaultResolver.LookupHost(ctx, name); err == nil && len(found) > 0 {
					return found[0]
				}
			}
		}
		return "127.0.0.1"
	})
}
