package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sluice/internal/core/explain"
)

const (
	// instanceTimeout bounds a question to a running instance as a whole.
	instanceTimeout = 10 * time.Second
	// maxAnswer bounds its answer, in bytes: 100 000 candidates fit.
	maxAnswer = 64 << 20
)

// askInstance puts a question to the API of a running instance. from is where that API stands: a URL with or without
// /api at its end, and with user:password@ where it asks for basic auth.
func askInstance(from, target string, q *explain.Question) (*explain.Answer, error) {
	u, err := url.Parse(from)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("--from: write where the API is as http://host:port")
	}
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/api") + "/api/explain"
	parameters := url.Values{"url": {target}, "method": {q.Method}}
	if q.EntryPoint != "" {
		parameters.Set("entryPoint", q.EntryPoint)
	}
	if q.Client.IsValid() {
		parameters.Set("clientIP", q.Client.String())
	}
	for _, f := range q.Header {
		parameters.Add("header", f.Name+": "+f.Value)
	}
	if written, err := url.Parse(target); err == nil && !q.TCP && written.Host != q.Host {
		parameters.Add("header", "Host: "+q.Host)
	}
	u.RawQuery = parameters.Encode()

	ctx, cancel := context.WithTimeout(context.Background(), instanceTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err // its text leaves the password out
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the answer of %s broke off: %w", u.Host, err)
	}
	if resp.StatusCode != http.StatusOK {
		var told struct{ Message string }
		if json.Unmarshal(body, &told) == nil && told.Message != "" {
			return nil, fmt.Errorf("%s answered %s: %s", u.Host, resp.Status, told.Message)
		}
		return nil, fmt.Errorf("%s answered %s: is this the API of a Sluice?", u.Host, resp.Status)
	}
	var answer explain.Answer
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("the answer of %s is not understood: %w", u.Host, err)
	}
	return &answer, nil
}
