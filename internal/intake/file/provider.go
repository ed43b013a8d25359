// Package file is the provider that reads dynamic configuration from files and follows their changes.
//
// One file is one fragment. A file that cannot be read or parsed keeps what it last said, with an error finding at the
// place of the mistake; the others are not concerned. Changes come from the directories' notifications, a file is read
// once it has been still for a moment, and only what changed is read: the cost of a change does not depend on how many
// files there are.
package file

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
	"sluice/internal/intake/provider"
)

// Name is what stands behind the @ of elements from files.
const Name = "file"

// Timings of following changes.
const (
	// quiet is how long a file must have been still before it is read.
	quiet = 20 * time.Millisecond
	// removalQuiet is how long a file must have been missing before it counts as removed. Some editors move the old
	// file away before they write the new one.
	removalQuiet = 50 * time.Millisecond
	// restless is how long a file that never comes to rest may stay unread.
	restless = 500 * time.Millisecond
	// emptySave is how long a file of zero bytes counts as a save in progress.
	emptySave = time.Second
	// pollEvery is the period of looking where the system gives no notifications.
	pollEvery = 5 * time.Second
)

// Provider implements provider.Provider. Its methods may be called concurrently; Run by one goroutine at a time.
type Provider struct {
	opts   static.File
	log    *slog.Logger
	reload chan struct{}

	mu sync.Mutex
	// state survives a restart of Run, so that last good versions do too.
	state *tree
}

// New makes the provider. log receives debug output (generated templates, if asked for) and may be nil.
func New(opts static.File, log *slog.Logger) *Provider {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Provider{opts: opts, log: log, reload: make(chan struct{}, 1)}
}

// Name returns "file".
func (p *Provider) Name() string { return Name }

// Reload makes a running provider read everything again, whether or not it watches. It does not wait.
func (p *Provider) Reload() {
	select {
	case p.reload <- struct{}{}:
	default:
	}
}

// Run reads the files, publishes, and follows changes until ctx ends. Without a file name and directory the error is
// permanent. Trouble with files is told by findings in the snapshot, never by an error.
func (p *Provider) Run(ctx context.Context, publish func(dynamic.Snapshot)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opts.Filename == "" && p.opts.Directory == "" {
		return provider.Permanent(errors.New("providers.file: neither filename nor directory is set"))
	}
	if p.state == nil {
		p.state = newTree(p.opts, p.log)
	}
	f := &follower{tree: p.state, publish: publish}
	if p.opts.Watch {
		w, err := fsnotify.NewBufferedWatcher(4096)
		if err != nil {
			p.log.Warn("No notifications about files, looking every few seconds instead", "providerName", Name, "error", err)
			f.polling = true
		} else {
			defer w.Close()
			f.watcher = w
		}
	}
	f.start()
	f.loop(ctx, p.reload)
	return nil
}

// abs makes path absolute where that is possible.
func abs(path string) string {
	if a, err := filepath.Abs(path); err == nil {
		return a
	}
	return filepath.Clean(path)
}
