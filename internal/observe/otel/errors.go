package otel

import (
	"log/slog"
	"sync"
	"time"
)

// complainEvery is the least time between two remarks about collectors.
const complainEvery = 10 * time.Second

// errorHandler implements the library's ErrorHandler.
type errorHandler struct {
	log *slog.Logger

	mu   sync.Mutex
	told time.Time
}

// Handle logs an error.
func (h *errorHandler) Handle(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); h.told.IsZero() || now.Sub(h.told) >= complainEvery {
		h.told = now
		h.log.Warn("Traces or metrics could not be sent", "error", err)
	}
}
