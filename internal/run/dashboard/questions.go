package dashboard

import (
	"net/http"
	"net/url"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/explain"
)

// explain asks what would become of a request, and draws the answer as a path.
func (d *Dashboard) explain(w http.ResponseWriter, r *http.Request) {
	in := r.URL.Query()
	data := struct {
		URL, Method, Client, EntryPoint, Headers string
		Answer                                   *explain.Answer
		Error                                    string
	}{URL: in.Get("url"), Method: in.Get("method"), Client: in.Get("clientIP"), EntryPoint: in.Get("entryPoint"), Headers: in.Get("headers")}
	if data.URL != "" {
		q := url.Values{"url": {data.URL}}
		for name, value := range map[string]string{"method": data.Method, "clientIP": data.Client, "entryPoint": data.EntryPoint} {
			if value != "" {
				q.Set(name, value)
			}
		}
		for line := range strings.Lines(data.Headers) {
			if line = strings.TrimSpace(line); line != "" {
				q.Add("header", line)
			}
		}
		if _, err := d.ask(r, "explain", q, &data.Answer); err != nil {
			data.Error = err.Error()
		}
	}
	d.show(w, r, "explain.html", "Explain", data)
}

// maxCheck bounds what is pasted, in bytes.
const maxCheck = 1 << 20

// check reads what was pasted as sluice check would.
func (d *Dashboard) check(w http.ResponseWriter, r *http.Request) {
	data := struct {
		Text, As string
		Checked  bool
		Findings diag.List
		Error    string
	}{As: "yaml"}
	if r.Method == http.MethodPost {
		r.Body = http.MaxBytesReader(w, r.Body, maxCheck)
		if err := r.ParseForm(); err != nil {
			data.Error = "the form cannot be read: " + err.Error()
		} else {
			data.Text, data.As, data.Checked = r.PostForm.Get("text"), r.PostForm.Get("as"), true
			name, ok := map[string]string{"yaml": "pasted.yml", "toml": "pasted.toml", "labels": "labels"}[data.As]
			if !ok {
				name, data.As = "pasted.yml", "yaml"
			}
			data.Findings = d.o.Check(name, data.Text)
		}
	}
	d.show(w, r, "check.html", "Check", data)
}
