package file

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// watches are the directories that notifications are wanted of. A wanted directory that does not exist is represented
// by its nearest existing ancestor, which tells when it may have appeared.
//
// Directories that were wanted once stay watched until they vanish. Documents rarely cease to refer to a directory, and
// a notification too many costs a look-up.
type watches struct {
	f       *follower
	have    map[string]bool // watched now
	absent  map[string]bool // wanted and missing
	scanned map[string]bool // directories that are searched for configuration files
}

func (w *watches) init(f *follower) {
	w.f = f
	w.have, w.absent, w.scanned = map[string]bool{}, map[string]bool{}, map[string]bool{}
}

// want watches dir, or its nearest existing ancestor as long as it is missing.
func (w *watches) want(dir string) {
	if w.f.watcher == nil || w.have[dir] {
		return
	}
	delete(w.absent, dir)
	for at := dir; ; at = filepath.Dir(at) {
		if w.have[at] || w.add(at) {
			if at != dir {
				w.absent[dir] = true
			}
			return
		}
		if at == filepath.Dir(at) {
			return
		}
	}
}

// add watches an existing directory. It reports false for one that does not exist.
func (w *watches) add(dir string) bool {
	info, err := os.Stat(dir)
	if err != nil || !info.IsDir() {
		return false
	}
	if err := w.f.watcher.Add(dir); err != nil {
		if _, gone := os.Stat(dir); gone != nil {
			return false
		}
		// Out of watches, or a file system that has none: look by ourselves.
		if !w.f.polling {
			w.f.polling = true
			w.f.tree.log.Warn("No notifications about a directory, looking every few seconds as well",
				"providerName", Name, "directory", dir, "error", err)
		}
	}
	w.have[dir] = true
	return true
}

// moved handles events that concern watched directories themselves. It returns the directory whose content has to be
// looked at again, or "".
func (w *watches) moved(path string, ev fsnotify.Event) string {
	if w.have[path] && ev.Has(fsnotify.Remove|fsnotify.Rename) {
		w.forget(path)
		return path
	}
	if !ev.Has(fsnotify.Create) {
		return ""
	}
	if w.have[path] {
		// Another directory in the place of one that was renamed away.
		w.forget(path)
		w.want(path)
		return path
	}
	back := ""
	for dir := range w.absent {
		if below(dir, path) {
			if w.want(dir); w.have[dir] {
				back = path
			}
		}
	}
	return back
}

// forget ends the watches of dir and of everything below it: after a rename they would speak of places that are not
// theirs.
func (w *watches) forget(dir string) {
	if w.f.watcher == nil {
		return
	}
	for d := range w.have {
		if below(d, dir) {
			_ = w.f.watcher.Remove(d)
			delete(w.have, d)
			delete(w.scanned, d)
		}
	}
}

// links notes through which symbolic links path is reached, so that exchanging one of them counts as a change of path.
// Mounted config maps work like that: FILE -> ..data/FILE, ..data -> ..VERSION, and an update renames a new ..data.
func (f *follower) links(path string) {
	if f.watcher == nil {
		return
	}
	dirs := linkDirs(path)
	if old, ok := f.through[path]; ok && slices.Equal(old, dirs) || !ok && dirs == nil {
		return
	}
	f.unlink(path)
	if dirs == nil {
		return
	}
	f.through[path] = dirs
	for _, dir := range dirs {
		if f.indirect[dir] == nil {
			f.indirect[dir] = map[string]struct{}{}
		}
		f.indirect[dir][path] = struct{}{}
		f.watches.want(dir)
	}
}

func (f *follower) unlink(path string) {
	for _, dir := range f.through[path] {
		delete(f.indirect[dir], path)
		if len(f.indirect[dir]) == 0 {
			delete(f.indirect, dir)
		}
	}
	delete(f.through, path)
}

// linkDirs returns the directories that hold a link on the way from path to the file that it means, and the directory
// of that file. It returns nil for what is no link. Links above path's own directory are not followed: they belong to
// the machine rather than to the configuration.
func linkDirs(path string) []string {
	var out []string
	add := func(dir string) {
		if !slices.Contains(out, dir) {
			out = append(out, dir)
		}
	}
	const maxLinks = 32
	links := 0
	dir, rest := filepath.Dir(path), []string{filepath.Base(path)}
	for len(rest) > 0 {
		at := filepath.Join(dir, rest[0])
		rest = rest[1:]
		target, err := os.Readlink(at)
		if err != nil {
			dir = at
			continue
		}
		if links++; links > maxLinks {
			return out
		}
		add(filepath.Dir(at))
		if filepath.IsAbs(target) {
			dir = filepath.VolumeName(target) + string(filepath.Separator)
			target = strings.TrimPrefix(target[len(filepath.VolumeName(target)):], string(filepath.Separator))
		} else {
			dir = filepath.Dir(at)
		}
		rest = append(strings.Split(filepath.ToSlash(filepath.Clean(target)), "/"), rest...)
	}
	if out != nil {
		add(filepath.Dir(dir))
	}
	return out
}
