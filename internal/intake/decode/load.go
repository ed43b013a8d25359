package decode

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
)

// Kinds of Sources.
const (
	FromFile        = "file"
	FromFlags       = "flags"
	FromEnvironment = "environment"
	FromNothing     = "defaults"
)

// Sources tells where static configuration came from.
type Sources struct {
	// Kind is one of the From constants. Sources are never mixed: the first that is given wins, in the order file,
	// flags, environment.
	Kind string
	// File is the configuration file that was read; empty for the other kinds.
	File string
	// Document is that file parsed, since it may have a dynamic side as well; nil for the other kinds.
	Document *Document
	// Where finds the place of values; nil where nothing was given.
	Where dynamic.Locator
	// Asked holds the files that options name.
	Asked []string
}

// LoadStatic reads the static configuration of a process from its arguments (without program name and command), its
// environment, and files, which it reads by read: ReadFile in a program, something in memory in a test. The
// configuration is never nil. If the findings hold an error the process must not start; findings with CodeFlagSyntax
// are misuse of the command line.
//
// A file is looked for where --configFile says, and only there, or else in the default places of both product names.
func LoadStatic(args, environ []string, read func(path string) ([]byte, error)) (*static.Config, Sources, diag.List) {
	var findings diag.List
	files := &Files{Read: read}
	path, given := configFileFlag(args)
	if given {
		path = os.Expand(path, func(name string) string { return lookupEnv(environ, name) })
	}
	file, data, ok := findFile(path, given, environ, read, &findings)
	switch {
	case ok:
		return loadFile(file, data, args, environ, files, findings)
	case findings.Has(diag.Error):
		return static.New(), Sources{Kind: FromFile, File: file}, findings
	case len(args) > 0:
		cfg, where, more := StaticFromFlags(args, files)
		findings = append(findings, more...)
		if n := firstVariable(environ); n != "" {
			findings.Add(notRead(diag.Place{Source: "env " + n}, "environment variables are not read, since flags are given"))
		}
		return cfg, Sources{Kind: FromFlags, Where: where, Asked: files.Asked()}, findings
	case firstVariable(environ) != "":
		cfg, where, more := StaticFromEnv(environ, files)
		findings = append(findings, more...)
		if cfg.ConfigFile != "" {
			findings.Add(notRead(where.Locate("configFile"), "the environment cannot name the configuration file; use the flag --configFile"))
		}
		return cfg, Sources{Kind: FromEnvironment, Where: where, Asked: files.Asked()}, findings
	default:
		return static.New(), Sources{Kind: FromNothing}, findings
	}
}

func notRead(place diag.Place, message string) diag.Finding {
	return diag.Finding{Place: place, Severity: diag.Warning, Code: CodeNotRead, Message: message}
}

// loadFile reads a configuration file that was found, and says what else was given in vain.
func loadFile(file string, data []byte, args, environ []string, files *Files, findings diag.List) (*static.Config, Sources, diag.List) {
	src := Sources{Kind: FromFile, File: file}
	for _, arg := range args {
		if name, isFlag := flagName(arg); isFlag && !strings.EqualFold(name, "configFile") {
			findings.Add(notRead(diag.Place{Source: "flag " + clip(strings.SplitN(arg, "=", 2)[0])},
				fmt.Sprintf("flags are not read, since the file %s is used", file)))
			break
		}
	}
	if n := firstVariable(environ); n != "" {
		findings.Add(notRead(diag.Place{Source: "env " + n}, fmt.Sprintf("environment variables are not read, since the file %s is used", file)))
	}
	format, _ := FormatOf(file)
	doc, err := File(file, data, format)
	if err != nil {
		var se *SyntaxError
		if errors.As(err, &se) {
			findings = append(findings, se.Findings...)
		}
		return static.New(), src, findings
	}
	cfg, more := doc.Static(files)
	src.Document, src.Where, src.Asked = doc, &doc.loc, files.Asked()
	return cfg, src, append(findings, more...)
}

// configFileFlag finds --configFile among the arguments.
func configFileFlag(args []string) (path string, given bool) {
	for i, arg := range args {
		if arg == "--" {
			break
		}
		name, ok := flagName(arg)
		if !ok || !strings.EqualFold(name, "configFile") {
			continue
		}
		if _, value, ok := strings.Cut(arg, "="); ok {
			path, given = value, value != ""
		} else if i+1 < len(args) && !strings.HasPrefix(args[i+1], "--") {
			path, given = args[i+1], args[i+1] != ""
		}
	}
	return path, given
}

// flagName returns the name of a flag without dashes and value.
func flagName(arg string) (string, bool) {
	if len(arg) < 2 || arg[0] != '-' {
		return "", false
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(arg[1:], "-"), "=")
	return name, name != ""
}

// extensions of default places, in the order of trying.
var extensions = []string{".toml", ".yaml", ".yml"}

// findFile returns the configuration file to use. ok is false when there is none; a file that was named and cannot be
// used is an error finding.
func findFile(path string, given bool, environ []string, read func(string) ([]byte, error), findings *diag.List) (file string, data []byte, ok bool) {
	fail := func(name, message, hint string) {
		findings.Add(diag.Finding{Place: diag.Place{Source: name}, Severity: diag.Error, Code: CodeFile, Message: message, Hint: hint})
	}
	if given {
		if _, known := FormatOf(path); !known {
			fail(path, "unsupported file extension: "+path, "use .toml, .yaml, .yml or .json")
			return path, nil, false
		}
		data, err := read(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			fail(path, "the configuration file does not exist", "it is named by --configFile")
		case err != nil:
			fail(path, "cannot read the configuration file: "+pathError(err), "")
		}
		return path, data, err == nil
	}
	for _, place := range defaultPlaces(environ) {
		d, err := read(place)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case ok:
			// A second file matters only where it is of the other product name.
			if productOf(place) != productOf(file) {
				findings.Add(diag.Finding{
					Place: diag.Place{Source: place}, Severity: diag.Warning, Code: CodeTwoSpellings,
					Message: fmt.Sprintf("not read, since %s is used", file), Hint: "remove one of the two",
				})
				return file, data, true
			}
		case err != nil:
			fail(place, "cannot read the configuration file: "+pathError(err), "")
			return place, nil, false
		default:
			file, data, ok = place, d, true
		}
	}
	return file, data, ok
}

func productOf(place string) string {
	return strings.TrimSuffix(filepath.Base(place), filepath.Ext(place))
}

// defaultPlaces lists the files that are tried without --configFile, the native name first. An unset XDG_CONFIG_HOME
// counts as empty, which makes /traefik.yml one of the places: container images rely on it.
func defaultPlaces(environ []string) []string {
	var out []string
	for _, product := range []string{nativeRoot, compatibleRoot} {
		for _, base := range []string{
			"/etc/" + product + "/" + product,
			lookupEnv(environ, "XDG_CONFIG_HOME") + "/" + product,
			lookupEnv(environ, "HOME") + "/.config/" + product,
			"./" + product,
		} {
			for _, ext := range extensions {
				out = append(out, base+ext)
			}
		}
	}
	return out
}

func lookupEnv(environ []string, name string) string {
	for _, kv := range environ {
		if k, v, _ := strings.Cut(kv, "="); k == name {
			return v
		}
	}
	return ""
}

// firstVariable returns the name of the first variable that static configuration would read, or "".
func firstVariable(environ []string) string {
	s := staticSchema()
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		for _, prefix := range []string{nativePrefix, compatiblePrefix} {
			if rest, ok := strings.CutPrefix(name, prefix); ok && envSection(rest, s) && !injected(rest) {
				return clip(name)
			}
		}
	}
	return ""
}
