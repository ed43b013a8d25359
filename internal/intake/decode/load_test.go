package decode

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"sluice/internal/core/diag"
)

// disk is a file system in memory.
type disk map[string]string

func (d disk) read(path string) ([]byte, error) {
	s, ok := d[path]
	switch {
	case !ok:
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	case s == "locked":
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
	case s == "dir":
		return nil, errors.New(path + " is a directory")
	}
	return []byte(s), nil
}

func TestLoadStatic(t *testing.T) {
	const log = "log: {level: "
	home := []string{"HOME=/home/me", "XDG_CONFIG_HOME=/home/me/xdg"}
	for name, c := range map[string]struct {
		args, env []string
		disk      disk
		kind      string
		file      string
		level     string
		findings  []string
	}{
		"nothing": {kind: FromNothing},
		"flags":   {args: []string{"--log.level=A"}, kind: FromFlags, level: "A"},
		"env":     {env: []string{"TRAEFIK_LOG_LEVEL=A"}, kind: FromEnvironment, level: "A"},
		"native env wins": {env: []string{"TRAEFIK_LOG_LEVEL=A", "SLUICE_LOG_LEVEL=B"}, kind: FromEnvironment, level: "B",
			findings: []string{"env TRAEFIK_LOG_LEVEL: warning: not read, since SLUICE_LOG_LEVEL is set as well (remove one of the two) [TWO-SPELLINGS]"}},
		"flags before env": {args: []string{"--ping"}, env: []string{"TRAEFIK_LOG_LEVEL=A"}, kind: FromFlags,
			findings: []string{"env TRAEFIK_LOG_LEVEL: warning: environment variables are not read, since flags are given [NOT-READ]"}},
		"explicit file": {args: []string{"--configFile=/c.yml"}, disk: disk{"/c.yml": log + "F}"}, kind: FromFile, file: "/c.yml", level: "F"},
		"any case, next word, other flags": {args: []string{"--ConfigFile", "/c.yml", "--log.level=A", "--ping"}, disk: disk{"/c.yml": log + "F}"}, kind: FromFile, file: "/c.yml", level: "F",
			findings: []string{"flag --log.level: warning: flags are not read, since the file /c.yml is used [NOT-READ]"}},
		"variables in the path": {args: []string{"--configfile=$DIR/c.yml"}, env: []string{"DIR=/d"}, disk: disk{"/d/c.yml": log + "F}"}, kind: FromFile, file: "/d/c.yml", level: "F"},
		"explicit file missing": {args: []string{"--configFile=/c.yml"}, disk: disk{"./traefik.yml": log + "F}"}, kind: FromFile, file: "/c.yml",
			findings: []string{"/c.yml: error: the configuration file does not exist (it is named by --configFile) [FILE]"}},
		"explicit file locked": {args: []string{"--configFile=/c.yml"}, disk: disk{"/c.yml": "locked"}, kind: FromFile, file: "/c.yml",
			findings: []string{"/c.yml: error: cannot read the configuration file: /c.yml: permission denied [FILE]"}},
		"explicit file of another kind": {args: []string{"--configFile=/c.ini"}, disk: disk{"/c.ini": ""}, kind: FromFile, file: "/c.ini",
			findings: []string{"/c.ini: error: unsupported file extension: /c.ini (use .toml, .yaml, .yml or .json) [FILE]"}},
		"default places":      {env: home, disk: disk{"/home/me/.config/traefik.yaml": log + "F}", "./traefik.toml": "x"}, kind: FromFile, file: "/home/me/.config/traefik.yaml", level: "F"},
		"order of places":     {env: home, disk: disk{"/etc/traefik/traefik.yml": log + "F}", "/home/me/xdg/traefik.toml": "x"}, kind: FromFile, file: "/etc/traefik/traefik.yml", level: "F"},
		"order of extensions": {disk: disk{"./traefik.yml": "x", "./traefik.yaml": log + "F}"}, kind: FromFile, file: "./traefik.yaml", level: "F"},
		"no XDG_CONFIG_HOME":  {disk: disk{"/traefik.toml": "[log]\nlevel='F'"}, kind: FromFile, file: "/traefik.toml", level: "F"},
		"native file wins": {disk: disk{"/etc/traefik/traefik.toml": "x", "./sluice.yml": log + "F}"}, kind: FromFile, file: "./sluice.yml", level: "F",
			findings: []string{"/etc/traefik/traefik.toml: warning: not read, since ./sluice.yml is used (remove one of the two) [TWO-SPELLINGS]"}},
		"default place shadows flags": {args: []string{"-log.level=A"}, disk: disk{"./traefik.yml": log + "F}"}, kind: FromFile, file: "./traefik.yml", level: "F",
			findings: []string{"flag -log.level: warning: flags are not read, since the file ./traefik.yml is used [NOT-READ]"}},
		"default place is a directory": {disk: disk{"/etc/traefik/traefik.toml": "dir"}, kind: FromFile, file: "/etc/traefik/traefik.toml",
			findings: []string{"/etc/traefik/traefik.toml: error: cannot read the configuration file: /etc/traefik/traefik.toml is a directory [FILE]"}},
		"syntax": {args: []string{"--configFile=/c.toml"}, disk: disk{"/c.toml": "[log"}, kind: FromFile, file: "/c.toml",
			findings: []string{"/c.toml:1:5: error: expected '.' or ']' to end the table name, but got the end of the file instead [SYNTAX]"}},
		"file named by env": {env: []string{"TRAEFIK_CONFIGFILE=/c.yml"}, disk: disk{"/c.yml": log + "F}"}, kind: FromEnvironment,
			findings: []string{"env TRAEFIK_CONFIGFILE: warning: the environment cannot name the configuration file; use the flag --configFile [NOT-READ]"}},
		"injected variables": {env: []string{"TRAEFIK_API_SERVICE_HOST=x"}, kind: FromNothing},
		"configFile without a value": {args: []string{"--configFile"}, kind: FromFlags,
			findings: []string{"flag --configFile: error: flag needs an argument: -configFile (write --configFile=value) [FLAG-SYNTAX]"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, src, findings := LoadStatic(c.args, c.env, c.disk.read)
			if src.Kind != c.kind || src.File != c.file {
				t.Errorf("source: got %s %s, want %s %s", src.Kind, src.File, c.kind, c.file)
			}
			level := ""
			if cfg.Log != nil {
				level = cfg.Log.Level
			}
			if level != c.level {
				t.Errorf("level: got %q, want %q", level, c.level)
			}
			if got, want := lines(findings), strings.Join(c.findings, "\n"); got != want {
				t.Errorf("findings: got\n%s\nwant\n%s", got, want)
			}
			if (src.Document != nil) != (c.kind == FromFile && !findings.Has(diag.Error)) {
				t.Errorf("document: %v", src.Document)
			}
		})
	}
}

func lines(l diag.List) string {
	var out []string
	for _, f := range l {
		out = append(out, f.String())
	}
	return strings.Join(out, "\n")
}

func TestLabelOptions(t *testing.T) {
	type docker struct {
		Network         string `json:"network"`
		AllowNonRunning bool   `json:"allowNonRunning"`
	}
	type options struct {
		Enable *bool   `json:"enable"`
		Docker *docker `json:"docker"`
	}
	var o options
	findings := LabelOptions(map[string]string{
		"traefik.enable":                 "true",
		"Traefik.Docker.network":         "lost",
		"traefik.docker.network":         "n",
		"traefik.docker.allownonrunning": "maybe",
		"traefik.enabled":                "true",
		"traefik.http.routers.r.rule":    "x",
		"sluice.enable":                  "false",
	}, "container c", []string{"docker.", "enable"}, &o)
	want := `container c label Traefik.Docker.network: error: invalid label root Traefik (write traefik in lower case) [SYNTAX]
container c label traefik.docker.allownonrunning: error: docker.allowNonRunning: expected a boolean, got text "maybe" (write true or false) [WRONG-TYPE]
container c label traefik.enable: warning: not read, since sluice.enable is given as well (remove one of the two) [TWO-SPELLINGS]
container c label traefik.enabled: error: enabled: unknown key "enabled" (did you mean "enable"?) [UNKNOWN-KEY]`
	if got := lines(findings); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if o.Enable == nil || *o.Enable || o.Docker == nil || o.Docker.Network != "n" {
		t.Errorf("options: %+v", o)
	}
}
