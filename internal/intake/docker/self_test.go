package docker

import (
	"strings"
	"testing"
)

// TestOwnID checks where the id of the container that the process runs in is found.
func TestOwnID(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	for name, c := range map[string]struct {
		find func([]byte) string
		text string
		none bool
	}{
		"groups, version 1":                    {idFromGroups, "12:pids:/docker/ID\n11:cpu,cpuacct:/docker/ID\n", false},
		"groups, version 1, not the first":     {idFromGroups, "12:rdma:/\n11:cpu:/docker/ID\n1:name=systemd:/docker/ID\n", false},
		"groups, version 1, without a newline": {idFromGroups, "1:cpu:/docker/ID", false},
		"groups, below the container":          {idFromGroups, "0::/docker/ID/init\n", false},
		"groups, systemd":                      {idFromGroups, "0::/system.slice/docker-ID.scope\n", false},
		"groups, podman":                       {idFromGroups, "0::/machine.slice/libpod-ID.scope/container\n", false},
		"groups, name space of its own":        {idFromGroups, "0::/\n", true},
		"groups of a machine":                  {idFromGroups, "0::/system.slice/sluice.service\n", true},
		"groups, something longer":             {idFromGroups, "0::/docker/ID0\n", true},
		"mounts, docker": {idFromMounts, "613 602 254:1 /usr/lib /usr/lib ro - ext4 /dev/vda1 rw\n" +
			"614 602 254:1 /var/lib/docker/containers/ID/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/vda1 rw\n", false},
		"mounts, podman": {idFromMounts, "614 602 0:25 /containers/overlay-containers/ID/userdata/hostname /etc/hostname rw - tmpfs tmpfs rw\n", false},
		"mounts of a machine that runs containers": {idFromMounts, "40 26 0:45 / /var/lib/docker/containers/ID/mounts/shm rw - tmpfs shm rw\n" +
			"41 26 254:1 /etc/hosts /etc/hosts rw - ext4 /dev/vda1 rw\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			want := id
			if c.none {
				want = ""
			}
			if got := c.find([]byte(strings.ReplaceAll(c.text, "ID", id))); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
