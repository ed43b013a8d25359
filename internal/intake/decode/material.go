package decode

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/secret"
)

// Files reads the files that configuration names (certificates, keys, tokens) and remembers which ones were asked for,
// so that a provider can watch them. The zero value reads nothing: every value is then taken for content. A Files may
// be used by one decoding at a time.
type Files struct {
	// Read returns the content of a file. An error that is fs.ErrNotExist means that the text names no file.
	Read func(path string) ([]byte, error)

	mu    sync.Mutex
	asked map[string]struct{}
	order []string
}

// Asked returns the names of the files that were looked for, found or not, in the order of asking. Text that cannot be
// a file name is not among them.
func (f *Files) Asked() []string {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.order
}

func (f *Files) read(path string) ([]byte, error) {
	if f == nil || f.Read == nil {
		return nil, fs.ErrNotExist
	}
	f.mu.Lock()
	if _, ok := f.asked[path]; !ok {
		if f.asked == nil {
			f.asked = map[string]struct{}{}
		}
		f.asked[path] = struct{}{}
		f.order = append(f.order, path)
	}
	f.mu.Unlock()
	return f.Read(path)
}

// MaxFile is the largest configuration file or document that is read, in bytes.
const MaxFile = 64 << 20

// MaxMaterial is the largest certificate, key or token file that is read, in bytes.
const MaxMaterial = 4 << 20

// ReadMaterial reads a regular file of at most MaxMaterial bytes. It is what Files.Read usually is.
func ReadMaterial(path string) ([]byte, error) { return readLimited(path, MaxMaterial) }

// ReadFile reads a regular file of at most MaxFile bytes.
func ReadFile(path string) ([]byte, error) { return readLimited(path, MaxFile) }

// errTooLarge says that a file is larger than what is read of its sort.
var errTooLarge = errors.New("the file is too large")

func readLimited(path string, limit int64) ([]byte, error) {
	// A pipe or device would block for ever, so the file is looked at before it is opened.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	switch {
	case info.IsDir():
		return nil, fmt.Errorf("%s is a directory", path)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case info.Size() > limit:
		return nil, fmt.Errorf("%w: %s has %d bytes, at most %d are read", errTooLarge, path, info.Size(), limit)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, 0, info.Size()+1)
	for {
		n, err := f.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if err == io.EOF {
			return data, nil
		}
		if err != nil {
			return nil, err
		}
		if int64(len(data)) > limit {
			return nil, fmt.Errorf("%w: %s grew beyond %d bytes", errTooLarge, path, limit)
		}
		if len(data) == cap(data) {
			data = append(data, make([]byte, len(data))...)[:len(data)]
		}
	}
}

// material resolves a file name or content. Text that names no file is content; text that plainly is a path and names
// no file is a mistake, since nobody writes "/etc/ssl/ca.pem" as a certificate.
func (w *walker) material(n *node) dynamic.Material {
	m := dynamic.Material{Written: n.text}
	if n.text == "" {
		return m
	}
	if strings.ContainsAny(n.text, "\n\r") || len(n.text) > 4096 || strings.Contains(n.text, "-----BEGIN") || w.files == nil {
		m.Content = secret.New(n.text)
		return m
	}
	data, err := w.files.read(n.text)
	switch {
	case err == nil:
		m.Path, m.Content = n.text, secret.New(string(data))
	case !absent(err):
		m.Path = n.text
		w.report(n.pos, diag.Error, CodeFile, "cannot read the file: "+pathError(err), "")
	case looksLikePath(n.text):
		m.Path = n.text
		w.report(n.pos, diag.Error, CodeFile, fmt.Sprintf("there is no file %q", n.text), "")
	default:
		m.Content = secret.New(n.text)
	}
	return m
}

// absent reports whether err says that the text names no file, rather than that a file cannot be read.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) || errors.Is(err, syscall.ENAMETOOLONG) ||
		errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EINVAL)
}

// pathError leaves out the operation that os puts before every message.
func pathError(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return fmt.Sprintf("%s: %v", pe.Path, pe.Err)
	}
	return err.Error()
}

func looksLikePath(s string) bool {
	for _, prefix := range []string{"/", "./", "../", `.\`, `..\`} {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	if len(s) > 2 && s[1] == ':' && (s[2] == '\\' || s[2] == '/') {
		return true
	}
	for _, suffix := range []string{".pem", ".crt", ".cer", ".cert", ".key", ".ca"} {
		if strings.HasSuffix(strings.ToLower(s), suffix) {
			return true
		}
	}
	return false
}
