package admin

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"sluice/internal/core/dynamic"
	"sluice/internal/wire/bridge"
	"sluice/internal/wire/httpmsg"
)

// Rest takes configuration by PUT /api/providers/rest. Its answer is what was understood, with secrets left out.
type Rest struct {
	// Put makes a document the configuration, and returns an error for one that it does not take.
	Put func(document []byte) (*dynamic.Config, error)
	// Max is the largest document, in bytes.
	Max int64
}

// Handler returns what serves it.
func (h *Rest) Handler() httpmsg.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /api/providers/{provider}", h.put)
	return bridge.Wrap(sameOrigin(mux))
}

func (h *Rest) put(w http.ResponseWriter, r *http.Request) {
	if name := r.PathValue("provider"); name != "rest" {
		http.Error(w, "Only 'rest' provider can be updated through the REST API", http.StatusBadRequest)
		return
	}
	document, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.Max))
	if err != nil {
		status := http.StatusBadRequest
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		fail(w, status, "the document cannot be read: "+err.Error())
		return
	}
	config, err := h.Put(document)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	text, err := json.Marshal(config)
	if err != nil {
		text = []byte("{}") // the configuration has nothing that does not marshal
	}
	out := map[string]any{}
	_ = json.Unmarshal(text, &out) // it has just been written
	reply(w, redact(out))
}
