package storage

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Directory is the store that several instances share: a file per element, each replaced as a whole.
//
//	accounts/RESOLVER.json           the account, in the shape of acme.json; RESOLVER/HOST.json are those at former CAs
//	certificates/RESOLVER/ID.json    a certificate, in the shape of acme.json
//	sets/RESOLVER/ID.json            what the scheduler knows about its names
//	spent/RESOLVER.json              what was used of the CA's limits
//	pending/HASH.json                challenges that wait to be asked
//	locks/NAME                       locks of the kernel
type Directory struct {
	path string
	disk disk

	mu      sync.Mutex
	remarks []string
	held    map[string]*os.File // an flock does not exclude the descriptors of one process reliably, so neither do we rely on it
}

// openDirectory opens the store; the directory is made when something is first written.
func openDirectory(path string) (*Directory, error) {
	d := &Directory{path: filepath.Clean(path), disk: osDisk, held: map[string]*os.File{}}
	info, err := os.Stat(d.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return d, nil
	case err != nil:
		return d, err
	case !info.IsDir():
		return d, fmt.Errorf("%s is not a directory", d.path)
	case tooOpen(info) && !ownFile(info):
		return d, fmt.Errorf("%w: permissions %o for %s are too open, please use %o", ErrMode, info.Mode().Perm(), d.path, dirMode)
	}
	return d, nil
}

// Path implements Store.
func (d *Directory) Path() string { return d.path }

// Shared implements Store.
func (d *Directory) Shared() bool { return true }

// Remarks implements Store.
func (d *Directory) Remarks() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.remarks)
}

// Writable implements Store.
func (d *Directory) Writable() error {
	if err := os.MkdirAll(d.path, dirMode); err != nil {
		return fmt.Errorf("%w: %v", ErrReadOnly, err)
	}
	repaired, err := secure(d.path, dirMode)
	if err != nil {
		return err
	}
	if repaired {
		d.mu.Lock()
		d.remarks = append(d.remarks, fmt.Sprintf("%s could be read by others; its mode is now %o", d.path, dirMode))
		d.mu.Unlock()
	}
	probe, err := os.CreateTemp(d.path, ".probe-*")
	if err != nil {
		return fmt.Errorf("%w: %v", ErrReadOnly, err)
	}
	probe.Close()
	return os.Remove(probe.Name())
}

// Version implements Store: the times of the directories change with each file that is put in place.
func (d *Directory) Version() string {
	var b strings.Builder
	for _, kind := range []string{"accounts", "certificates", "sets"} {
		entries, err := os.ReadDir(filepath.Join(d.path, kind))
		if err != nil {
			continue
		}
		b.WriteString(stampOf(filepath.Join(d.path, kind)))
		for _, e := range entries {
			if e.IsDir() {
				b.WriteString(" " + stampOf(filepath.Join(d.path, kind, e.Name())))
			}
		}
	}
	return b.String()
}

// Load implements Store. An element that cannot be read is left out and reported; the others count.
func (d *Directory) Load(resolver string) (*Content, error) {
	c := emptyContent()
	var problems []error
	var a *accountJSON
	if err := d.readJSON(d.accountFile(resolver), &a); err != nil {
		problems = append(problems, err)
	} else if a != nil {
		c.Account = a.account()
	}
	problems = append(problems, d.each(filepath.Join("accounts", fileName(resolver)), func(file string) error {
		var former *accountJSON
		err := d.readJSON(file, &former)
		if err == nil && former != nil {
			c.Former[former.account().host()] = former.account()
		}
		return err
	})...)
	problems = append(problems, d.each(filepath.Join("certificates", fileName(resolver)), func(file string) error {
		var entry *certificateJSON
		err := d.readJSON(file, &entry)
		if err == nil && entry != nil && entry.certificate().usable() {
			c.Certificates = append(c.Certificates, entry.certificate())
		}
		return err
	})...)
	problems = append(problems, d.each(filepath.Join("sets", fileName(resolver)), func(file string) error {
		var s *Set
		err := d.readJSON(file, &s)
		if err == nil && s != nil {
			c.Sets[ID(s.Names)] = s
		}
		return err
	})...)
	if err := d.readJSON(d.spentFile(resolver), &c.Spent); err != nil {
		problems = append(problems, err)
	}
	return c, errors.Join(problems...)
}

func (d *Directory) accountFile(resolver string) string {
	return filepath.Join("accounts", fileName(resolver)+".json")
}

func (d *Directory) spentFile(resolver string) string {
	return filepath.Join("spent", fileName(resolver)+".json")
}

// each calls f with the elements of a directory, by name.
func (d *Directory) each(dir string, f func(file string) error) (problems []error) {
	entries, err := os.ReadDir(filepath.Join(d.path, dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return []error{err}
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".json") {
			if err := f(filepath.Join(dir, e.Name())); err != nil {
				problems = append(problems, err)
			}
		}
	}
	return problems
}

// readJSON reads one element; a missing one leaves v as it is.
func (d *Directory) readJSON(file string, v any) error {
	data, err := os.ReadFile(filepath.Join(d.path, file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: %s: %v", ErrCorrupt, filepath.Join(d.path, file), err)
	}
	return nil
}

// writeJSON puts one element in place.
func (d *Directory) writeJSON(file string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return d.write(file, data)
}

func (d *Directory) write(file string, data []byte) error {
	name := filepath.Join(d.path, file)
	if err := os.MkdirAll(filepath.Dir(name), dirMode); err != nil {
		return err
	}
	return d.disk.replace(name, name+newSuffix+"-"+rand.Text(), data, nil) // another instance may be writing it, too
}

// SaveAccount implements Store.
func (d *Directory) SaveAccount(resolver string, a *Account) error {
	var before *accountJSON
	if d.readJSON(d.accountFile(resolver), &before) == nil && before != nil {
		if former := before.account(); former.host() != "" && !bytes.Equal(former.Key, a.Key) {
			raw, err := former.merge(nil)
			if err == nil {
				err = d.writeJSON(filepath.Join("accounts", fileName(resolver), fileName(former.host())+".json"), raw)
			}
			if err != nil {
				return err
			}
		}
	}
	raw, err := a.merge(nil)
	if err != nil {
		return err
	}
	return d.writeJSON(d.accountFile(resolver), raw)
}

// SaveCertificate implements Store.
func (d *Directory) SaveCertificate(resolver string, c *Certificate) error {
	return d.writeJSON(filepath.Join("certificates", fileName(resolver), ID(c.Names())+".json"), c.json())
}

// SaveSet implements Store.
func (d *Directory) SaveSet(resolver string, s *Set) error {
	return d.writeJSON(filepath.Join("sets", fileName(resolver), ID(s.Names)+".json"), s)
}

// SaveSpent implements Store.
func (d *Directory) SaveSpent(resolver string, s *Spent) error {
	return d.writeJSON(d.spentFile(resolver), s)
}

// Remove implements Store.
func (d *Directory) Remove(resolver string, names []string) error {
	var problems []error
	for _, kind := range []string{"certificates", "sets"} {
		err := os.Remove(filepath.Join(d.path, kind, fileName(resolver), ID(names)+".json"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// Lock implements Store. The lock file stays: removing it would let two instances lock two files of one name.
func (d *Directory) Lock(name string) (func(), error) {
	name = fileName(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held[name] != nil {
		return nil, ErrLocked
	}
	file := filepath.Join(d.path, "locks", name)
	if err := os.MkdirAll(filepath.Dir(file), dirMode); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return nil, err
	}
	if err := flock(f); err != nil {
		f.Close()
		return nil, err
	}
	d.held[name] = f
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.held[name] == f {
			f.Close()
			delete(d.held, name)
		}
	}, nil
}

// pendingFile is the place of a challenge. Its name is a hash, since host and token come from outside.
func pendingFile(kind, name, token string) string {
	sum := sha256.Sum256([]byte(kind + "\n" + strings.ToLower(name) + "\n" + token))
	return filepath.Join("pending", hex.EncodeToString(sum[:])+".json")
}

// Publish implements Store.
func (d *Directory) Publish(p Pending) error {
	d.sweep()
	return d.writeJSON(pendingFile(p.Kind, p.Name, p.Token), p)
}

// Withdraw implements Store.
func (d *Directory) Withdraw(p Pending) {
	_ = os.Remove(filepath.Join(d.path, pendingFile(p.Kind, p.Name, p.Token))) // what stays expires
}

// Find implements Store.
func (d *Directory) Find(kind, name, token string) (string, bool) {
	var p Pending
	if d.readJSON(pendingFile(kind, name, token), &p) != nil || p.Answer == "" || time.Now().After(p.Expires) {
		return "", false
	}
	return p.Answer, p.Kind == kind && p.Token == token && strings.EqualFold(p.Name, name)
}

// sweep removes challenges whose owners died.
func (d *Directory) sweep() {
	// Whatever cannot be read now is looked at the next time.
	_ = d.each("pending", func(file string) error {
		var p Pending
		err := d.readJSON(file, &p)
		if err == nil && time.Now().After(p.Expires) {
			err = os.Remove(filepath.Join(d.path, file))
		}
		return err
	})
}

// Request implements Store.
func (d *Directory) Request(name string) error {
	if err := os.MkdirAll(d.path, dirMode); err != nil {
		return err
	}
	return request(filepath.Join(d.path, "requests"), name)
}

// Requests implements Store.
func (d *Directory) Requests() []string { return takeRequests(filepath.Join(d.path, "requests")) }

// Close implements Store.
func (d *Directory) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.held {
		f.Close()
	}
	clear(d.held)
	return nil
}
