package acme

import (
	"sync"

	"sluice/internal/traffic/acme/storage"
)

// faulty is a store some writes to which fail.
type faulty struct {
	storage.Store
	mu   sync.Mutex
	errs map[string]error
}

func (f *faulty) set(what string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errs[what] = err
}

func (f *faulty) err(what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.errs[what]
}

func (f *faulty) SaveSet(resolver string, s *storage.Set) error {
	if err := f.err("set"); err != nil {
		return err
	}
	return f.Store.SaveSet(resolver, s)
}

func (f *faulty) SaveCertificate(resolver string, c *storage.Certificate) error {
	if err := f.err("certificate"); err != nil {
		return err
	}
	return f.Store.SaveCertificate(resolver, c)
}
