package acme

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice/internal/traffic/acme/storage"
)

// commandTimeout bounds the command behind an export, commandAgain is when one that failed is tried again.
const (
	commandTimeout = time.Minute
	commandAgain   = time.Minute
)

// exporter is the export of one resolver. Its fields are guarded by the manager's lock.
type exporter struct {
	due     bool // something may have changed
	running bool
	owed    []string  // names whose command has not succeeded yet
	again   time.Time // when to try that
}

// exports starts the exports that are due, and returns when to look again.
func (m *Manager) exports(ctx context.Context, now time.Time) time.Time {
	next := now.Add(m.o.sleep)
	for _, r := range m.resolvers {
		x := &r.exporter
		if r.config.Export == nil || r.config.Export.Directory == "" || x.running {
			continue
		}
		if !x.due && (len(x.owed) == 0 || now.Before(x.again)) {
			if len(x.owed) > 0 && x.again.Before(next) {
				next = x.again
			}
			continue
		}
		x.due, x.running = false, true
		var list []*storage.Certificate
		for _, e := range r.entries {
			if e.current && e.valid(now) {
				list = append(list, e.source)
			}
		}
		owed := x.owed
		m.jobs.Go(func() { m.exportNow(ctx, r, list, owed) })
	}
	return next
}

// exportNow writes the files of a resolver and runs its command.
func (m *Manager) exportNow(ctx context.Context, r *resolver, list []*storage.Certificate, owed []string) {
	o := r.config.Export
	changed, err := Export(o.Directory, list)
	changed = slices.Compact(slices.Sorted(slices.Values(append(changed, owed...))))
	cerr := error(nil)
	if len(changed) > 0 {
		m.log.Info("Certificates exported", "resolver", r.name, "directory", o.Directory, "names", strings.Join(changed, " "))
		if cerr = runCommand(ctx, o.Command, o.Directory, changed); cerr == nil {
			changed = nil
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r.exporter.running, r.exporter.owed = false, changed
	if err != nil {
		r.exporter.due = true
	}
	r.exporter.again = time.Now().Add(commandAgain)
	m.complain(r.name, "Certificates cannot be exported", err)
	m.complain(r.name, "The command behind the export of certificates failed; it is tried again", cerr)
}

// Export writes certificates as files of a directory, which is made if it is missing:
//
//	NAME.crt   the certificate with its chain
//	NAME.key   the key
//	NAME.pem   both in one file, so that a reader never sees halves of two pairs
//
// NAME is the main name, with "_" for "*" and ":". Each file is replaced as a whole, and only if its content changes. changed
// are the names whose files were written. Of two certificates with the same main name the one that is valid longer counts.
func Export(directory string, list []*storage.Certificate) (changed []string, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, err
	}
	best := map[string]*storage.Certificate{}
	for _, c := range list {
		name := strings.NewReplacer("*", "_", ":", "_", "/", "_", "\\", "_").Replace(strings.Trim(normalName(c.Main), "."))
		if name == "" {
			continue
		}
		if other := best[name]; other == nil || longer(c, other) {
			best[name] = c
		}
	}
	var problems []error
	for name, c := range best {
		chain, key := append(bytes.TrimSpace(c.Chain), '\n'), append(bytes.TrimSpace(c.Key), '\n')
		wrote := false
		for _, f := range []struct {
			suffix string
			data   []byte
			mode   fs.FileMode
		}{{".key", key, 0o600}, {".crt", chain, 0o644}, {".pem", slices.Concat(chain, key), 0o600}} {
			w, err := writeFile(filepath.Join(directory, name+f.suffix), f.data, f.mode)
			wrote = wrote || w
			if err != nil {
				problems = append(problems, err)
			}
		}
		if wrote {
			changed = append(changed, c.Main)
		}
	}
	slices.Sort(changed)
	return changed, errors.Join(problems...)
}

func longer(a, b *storage.Certificate) bool {
	pa, err1 := parse(a)
	pb, err2 := parse(b)
	return err1 == nil && (err2 != nil || pa.TLS.Leaf.NotAfter.After(pb.TLS.Leaf.NotAfter))
}

// writeFile replaces a file if it has another content.
func writeFile(name string, data []byte, mode fs.FileMode) (wrote bool, err error) {
	if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, data) {
		return false, nil
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return false, err
	}
	defer os.Remove(f.Name()) // fails once it has been renamed
	_, werr := f.Write(data)
	if err := errors.Join(werr, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return false, err
	}
	return true, os.Rename(f.Name(), name)
}

// runCommand runs the words of a command without a shell. It finds SLUICE_CERTIFICATES (names, separated by spaces) and
// SLUICE_DIRECTORY in its environment.
func runCommand(ctx context.Context, command, directory string, names []string) error {
	words := strings.Fields(command)
	if len(words) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	c := exec.CommandContext(ctx, words[0], words[1:]...)
	c.Env = append(os.Environ(), "SLUICE_CERTIFICATES="+strings.Join(names, " "), "SLUICE_DIRECTORY="+directory)
	c.WaitDelay = time.Second
	out, err := c.CombinedOutput()
	if err != nil {
		const shown = 500
		return fmt.Errorf("%s: %w: %s", words[0], err, strings.TrimSpace(string(out[:min(len(out), shown)])))
	}
	return nil
}
