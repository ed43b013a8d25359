// Package rest is the provider whose configuration is put: each document replaces the one before as a whole. Nothing is
// kept on the disk, so after a start there is no configuration until somebody puts one.
package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"sluice/internal/core/dynamic"
	"sluice/internal/intake/decode"
)

// Name is what stands behind the @ of elements that were put.
const Name = "rest"

// MaxDocument is the largest document that is taken, in bytes.
const MaxDocument = decode.MaxFile

// Provider implements provider.Provider. All methods are safe for concurrent use.
type Provider struct {
	mu      sync.Mutex
	current *dynamic.Fragment // nil before the first Put
	changed chan struct{}     // closed and replaced at each Put
}

// New makes the provider.
func New() *Provider { return &Provider{changed: make(chan struct{})} }

// Name returns "rest".
func (p *Provider) Name() string { return Name }

// Put replaces the configuration by a JSON document and returns what was understood of it. A document that is not JSON is
// an error and changes nothing. Mistakes inside disable the element that they are in, as in a file; they are told by the
// findings of the snapshot. data must not be changed afterwards.
func (p *Provider) Put(data []byte) (*dynamic.Config, error) {
	// The reader is one for YAML, which would take far more than JSON.
	var syntax *json.SyntaxError
	if err := json.Unmarshal(data, new(json.RawMessage)); errors.As(err, &syntax) {
		return nil, fmt.Errorf("the document is not JSON: %w at byte %d", err, syntax.Offset)
	} else if err != nil {
		return nil, fmt.Errorf("the document is not JSON: %w", err)
	}
	doc, err := decode.File(Name, data, decode.YAML)
	if err != nil {
		return nil, err
	}
	fragment := doc.Dynamic(&decode.Files{Read: decode.ReadMaterial})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current = fragment
	close(p.changed)
	p.changed = make(chan struct{})
	return fragment.Config, nil
}

// Run publishes what was put, until ctx ends.
func (p *Provider) Run(ctx context.Context, publish func(dynamic.Snapshot)) error {
	for {
		p.mu.Lock()
		fragment, changed := p.current, p.changed
		p.mu.Unlock()
		var snapshot dynamic.Snapshot // an empty one at first, so that nobody waits for this provider
		if fragment != nil {
			snapshot.Fragments = []*dynamic.Fragment{fragment}
		}
		publish(snapshot)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}
