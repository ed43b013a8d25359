package file

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/intake/decode"
)

// follower keeps a tree up to date while Run runs.
type follower struct {
	tree    *tree
	publish func(dynamic.Snapshot)
	watcher *fsnotify.Watcher // nil: not watching, or polling
	polling bool

	watches watches
	// pending holds the paths that something happened to and that have not been looked at since.
	pending map[string]*pending
	// next is not later than the first due time among pending; zero if there is none.
	next time.Time
	// indirect tells for a directory which of our files are reached through links in it.
	indirect map[string]map[string]struct{}
	// through is the reverse: the directories whose links a file is reached through.
	through map[string][]string
}

// pending is a path that waits to come to rest.
type pending struct {
	first, last time.Time // first and last event
	due         time.Time
}

// start reads everything and publishes for the first time. Directories are watched before they are listed, so that
// nothing falls between.
func (f *follower) start() {
	f.pending = map[string]*pending{}
	f.indirect = map[string]map[string]struct{}{}
	f.through = map[string][]string{}
	f.watches.init(f)
	f.watchRoot()
	for path := range f.tree.refs {
		f.watches.want(filepath.Dir(path))
		f.links(path)
	}
	f.scan(how{first: true})
	f.publish(f.tree.snapshot())
}

// loop follows events until ctx ends.
func (f *follower) loop(ctx context.Context, reload <-chan struct{}) {
	var events chan fsnotify.Event
	var errs chan error
	if f.watcher != nil {
		events, errs = f.watcher.Events, f.watcher.Errors
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		f.arm(timer)
		select {
		case <-ctx.Done():
			return
		case <-reload:
			clear(f.pending)
			f.watchRoot()
			f.scan(how{force: true})
			f.publish(f.tree.snapshot())
		case ev := <-events:
			f.event(ev, time.Now())
			// Optimization: a checkout of ten thousand files should not set the timer as often.
			for more := true; more; {
				select {
				case ev := <-events:
					f.event(ev, time.Now())
				default:
					more = false
				}
			}
		case err := <-errs:
			f.tree.log.Warn("Notifications about files were lost, reading everything again", "providerName", Name, "error", err)
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				f.rescan()
			}
		case <-timer.C:
			f.process(time.Now())
		}
	}
}

// arm sets the timer to the next pending path, or to the next look around when polling.
func (f *follower) arm(timer *time.Timer) {
	wait := time.Hour
	if f.polling && f.tree.opts.Watch {
		wait = pollEvery
	}
	if !f.next.IsZero() {
		wait = min(wait, max(time.Until(f.next), 0))
	}
	timer.Reset(wait)
}

// schedule enters a pending path.
func (f *follower) schedule(path string, p *pending) {
	f.pending[path] = p
	if f.next.IsZero() || p.due.Before(f.next) {
		f.next = p.due
	}
}

// touch notes that something happened to path.
func (f *follower) touch(path string, now time.Time) {
	p := f.pending[path]
	if p == nil {
		p = &pending{first: now}
	}
	p.last = now
	p.due = now.Add(quiet)
	if limit := p.first.Add(restless); p.due.After(limit) {
		p.due = limit
	}
	f.schedule(path, p)
}

// later looks at path again after d, unless something happens to it before.
func (f *follower) later(path string, d time.Duration, now time.Time) {
	f.schedule(path, &pending{first: now, last: now, due: now.Add(d)})
}

// event sorts a notification.
func (f *follower) event(ev fsnotify.Event, now time.Time) {
	path := filepath.Clean(ev.Name)
	if dir := f.watches.moved(path, ev); dir != "" {
		// A watched directory went away or came back: everything in it is in doubt.
		f.doubt(dir, now)
		if ev.Has(fsnotify.Remove | fsnotify.Rename) {
			return
		}
	}
	known := f.tree.entries[path] != nil || f.tree.refs[path] != nil
	if known || f.belongs(path) {
		f.touch(path, now)
	}
	if !known {
		for file := range f.indirect[filepath.Dir(path)] {
			f.touch(file, now)
		}
	}
	if !f.tree.single && ev.Has(fsnotify.Create) && f.inside(path) && !skipDir(path) {
		if info, err := os.Lstat(path); err == nil && info.IsDir() {
			f.newDir(path, now)
		}
	}
}

// belongs reports whether a file of that path is configuration.
func (f *follower) belongs(path string) bool {
	if f.tree.single {
		return path == f.tree.rootAbs
	}
	return candidate(path) && f.inside(path)
}

// inside reports whether path is below the root directory, in directories that are looked into.
func (f *follower) inside(path string) bool {
	return f.watches.scanned[filepath.Dir(path)]
}

// newDir takes in a directory that has appeared.
func (f *follower) newDir(dir string, now time.Time) {
	f.walk(dir, func(path string) { f.touch(path, now) })
}

// doubt marks everything that is known below dir.
func (f *follower) doubt(dir string, now time.Time) {
	t := f.tree
	if t.single {
		if below(t.rootAbs, dir) {
			f.touch(t.rootAbs, now)
		}
	} else if below(t.rootAbs, dir) {
		f.touch(t.rootAbs, now)
	} else {
		for _, e := range t.order {
			if below(e.abs, dir) {
				f.touch(e.abs, now)
			}
		}
	}
	for path := range t.refs {
		if below(path, dir) {
			f.watches.want(filepath.Dir(path))
			f.touch(path, now)
		}
	}
	f.watchRoot()
}

// rescan reads everything again that has changed, and publishes if anything has.
func (f *follower) rescan() {
	f.watchRoot()
	news := f.scan(how{})
	for path := range f.tree.refs {
		news = f.checkRef(path, time.Now()) || news
	}
	if news {
		f.publish(f.tree.snapshot())
	}
}

// watchRoot watches where the root stands.
func (f *follower) watchRoot() {
	t := f.tree
	f.watches.want(filepath.Dir(t.rootAbs))
	f.links(t.rootAbs)
	if !t.single {
		f.watches.want(t.rootAbs)
	}
}

// scan lists the directory and reads every file. It returns whether anything changed.
func (f *follower) scan(h how) (news bool) {
	t := f.tree
	now := time.Now()
	if t.single {
		return f.read(t.entry(t.rootAbs), h, now)
	}
	usable, news := t.checkRoot()
	if !usable {
		return news // what was read before stays in force
	}
	present := map[string]bool{}
	f.watches.scanned = map[string]bool{}
	f.walk(t.rootAbs, func(path string) {
		present[path] = true
		if f.read(t.entry(path), h, now) {
			news = true
		}
	})
	for _, e := range slices.Clone(t.order) {
		if !present[e.abs] {
			news = f.drop(e) || news
		}
	}
	return news
}

// walk watches dir and all directories below, and calls visit for their configuration files in reading order.
func (f *follower) walk(dir string, visit func(path string)) {
	f.watches.want(dir)
	f.watches.scanned[dir] = true
	list, err := os.ReadDir(dir)
	if err != nil {
		f.tree.log.Warn("A directory cannot be read", "providerName", Name, "directory", dir, "error", err)
	}
	for _, item := range list {
		path := filepath.Join(dir, item.Name())
		switch {
		case item.IsDir():
			if !skipDir(path) {
				f.walk(path, visit)
			}
		case candidate(path):
			visit(path)
		}
	}
}

// read loads one file and does what follows from the outcome. It returns whether the snapshot changed.
func (f *follower) read(e *entry, h how, now time.Time) bool {
	oldRefs := e.refs
	what := f.tree.load(e, h, now)
	f.links(e.abs)
	switch what {
	case changed:
		f.followRefs(oldRefs, e.refs)
		return true
	case waiting:
		wait := quiet
		if !e.emptySince.IsZero() {
			wait = max(e.emptySince.Add(emptySave).Sub(now), quiet)
		}
		f.later(e.abs, wait, now)
	case missing:
		return f.gone(e)
	}
	return false
}

// gone handles a file that is not there. The one file of filename mode keeps what it last said; a file of a directory
// goes, unless the whole directory did.
func (f *follower) gone(e *entry) bool {
	t := f.tree
	if t.single {
		return t.fail(e, sumOf(nil, os.ErrNotExist), diag.List{{
			Place: diag.Place{Source: e.name}, Severity: diag.Error, Code: decode.CodeFile, Message: "the file does not exist",
		}}) == changed
	}
	if usable, news := t.checkRoot(); !usable {
		return news
	}
	if target, err := os.Readlink(e.abs); err == nil {
		return t.fail(e, sumOf(nil, os.ErrNotExist), diag.List{{
			Place: diag.Place{Source: e.name}, Severity: diag.Error, Code: decode.CodeFile,
			Message: "the link points to a file that does not exist: " + target,
		}}) == changed
	}
	return f.drop(e)
}

// drop forgets a file.
func (f *follower) drop(e *entry) bool {
	old := e.refs
	was := f.tree.remove(e)
	f.followRefs(old, nil)
	f.unlink(e.abs)
	return was
}

// process looks at the pending paths that are due, and publishes once if anything changed.
func (f *follower) process(now time.Time) {
	t := f.tree
	if f.polling && t.opts.Watch && len(f.pending) == 0 {
		f.watchRoot()
		news := f.scan(how{glance: true})
		for path := range t.refs {
			news = f.checkRef(path, now) || news
		}
		if news {
			f.publish(t.snapshot())
		}
		return
	}
	var due []string
	for path, p := range f.pending {
		if !p.due.After(now) {
			due = append(due, path)
		}
	}
	f.next = time.Time{}
	slices.Sort(due)
	news := false
	for _, path := range due {
		p := f.pending[path]
		if p == nil || p.due.After(now) {
			continue
		}
		moving := now.Sub(p.last) < quiet
		if _, err := os.Stat(path); err != nil && now.Sub(p.last) < removalQuiet {
			p.due = p.last.Add(removalQuiet)
			continue
		}
		delete(f.pending, path)
		if t.refs[path] != nil {
			news = f.checkRef(path, now) || news
		}
		if path == t.rootAbs && !t.single {
			// A link on the way to the directory was exchanged: the watches are on the old one.
			f.watches.forget(path)
			f.watchRoot()
			news = f.scan(how{}) || news
			continue
		}
		if e := t.entries[path]; e != nil {
			news = f.read(e, how{moving: moving}, now) || news
		} else if f.belongs(path) {
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() || err != nil && isLink(path) {
				news = f.read(t.entry(path), how{moving: moving}, now) || news
			}
		}
	}
	for _, p := range f.pending {
		if f.next.IsZero() || p.due.Before(f.next) {
			f.next = p.due
		}
	}
	if news {
		f.publish(t.snapshot())
	}
}

// checkRef reads a file that documents refer to, and decodes those again if it is another one.
func (f *follower) checkRef(path string, now time.Time) bool {
	r := f.tree.refs[path]
	data, err := decode.ReadMaterial(path)
	f.links(path)
	if r == nil || sumOf(data, err) == r.sum {
		return false
	}
	r.sum = sumOf(data, err)
	var users []*entry
	for e := range r.users {
		users = append(users, e)
	}
	news := false
	for _, e := range users {
		news = f.read(e, how{force: true}, now) || news
	}
	return news
}

// followRefs watches the directories of files that documents refer to.
func (f *follower) followRefs(old, now []string) {
	for _, path := range now {
		if !slices.Contains(old, path) {
			f.watches.want(filepath.Dir(path))
			f.links(path)
		}
	}
	for _, path := range old {
		if f.tree.refs[path] == nil && f.tree.entries[path] == nil {
			f.unlink(path)
		}
	}
}

func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&os.ModeSymlink != 0
}

// below reports whether path is dir or stands in it.
func below(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator))
}
