package admin

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"time"

	"sluice/internal/core/secret"
)

// supportDump answers with a gzipped tar archive to attach to a question: the version, the static configuration and what
// is in force. Secrets are left out as everywhere, and the static side says neither whose it is nor where: mail addresses
// and the hosts of URLs are masked.
func (a *API) supportDump(w http.ResponseWriter, _ *http.Request) {
	v := a.view()
	files := []struct {
		name    string
		content any
	}{
		{"version.json", a.versionInfo()},
		{"static-config.json", map[string]any{}},
		{"runtime-config.json", v.raw()},
	}
	if v.p.Static != nil {
		files[1].content = mask(object(v.p.Static))
	}
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	archive := tar.NewWriter(zip)
	now := time.Now()
	for _, f := range files {
		text, err := json.MarshalIndent(f.content, "", "  ")
		if err != nil {
			fail(w, http.StatusInternalServerError, f.name+": "+err.Error())
			return
		}
		// Writing into memory does not fail.
		_ = archive.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(text)), ModTime: now, Typeflag: tar.TypeReg})
		_, _ = archive.Write(text)
	}
	_ = archive.Close()
	_ = zip.Close()
	w.Header().Set("Content-Type", "application/gzip")
	w.Header().Set("Content-Disposition", `attachment; filename="support-dump.tar.gz"`)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(out.Bytes()) // nobody is there to tell
}

var (
	mailAddress = regexp.MustCompile(`[^\s@"',:/]+@[^\s@"',:/]+\.[^\s@"',:/]+`)
	urlHost     = regexp.MustCompile(`(\w://)(?:[^\s/?#@]*@)?[^\s/?#]+`)
)

// mask hides mail addresses and the hosts of URLs in all texts of v.
func mask(v any) any {
	switch v := v.(type) {
	case string:
		return urlHost.ReplaceAllString(mailAddress.ReplaceAllString(v, secret.Redacted), "${1}"+secret.Redacted)
	case []any:
		for i := range v {
			v[i] = mask(v[i])
		}
	case map[string]any:
		for key := range v {
			if _, isMap := v[key].(map[string]any); isMap && strings.EqualFold(key, "headers") {
				v[key] = hide(v[key]) // what lets us in at collectors and sources
				continue
			}
			v[key] = mask(v[key])
		}
	}
	return v
}
