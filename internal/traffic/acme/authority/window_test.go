//go:build !race

// The test server has a data race of its own between an order that replaces another and the end of that one.

package authority

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"testing"
	"time"

	"sluice/internal/testkit/acmeserver"
	"sluice/internal/traffic/acme/storage"
)

// TestRenewalWindow: the CA's window, what replaces a certificate, and CAs with nothing to say.
func TestRenewalWindow(t *testing.T) {
	f := newFixture(t, acmeserver.Options{}, nil)
	i := f.must("a.example.com")
	w, err := f.c.RenewalWindow(context.Background(), f.account, i.Leaf)
	if err != nil || !w.Begin.After(i.Leaf.NotBefore) || !w.End.Before(i.Leaf.NotAfter) {
		t.Errorf("window %+v, %v", w, err)
	}
	begin, end := time.Now().Add(-2*time.Hour).UTC().Truncate(time.Second), time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	f.ca.SuggestRenewal(t, i.Chain, fmt.Sprintf(`{"suggestedWindow":{"start":%q,"end":%q},"explanationURL":"https://why.example"}`,
		begin.Format(time.RFC3339), end.Format(time.RFC3339)))
	w, err = f.c.RenewalWindow(context.Background(), f.account, i.Leaf)
	if err != nil || !w.Begin.Equal(begin) || !w.End.Equal(end) || w.Explanation != "https://why.example" {
		t.Errorf("window %+v, %v", w, err)
	}
	f.ca.SuggestRenewal(t, i.Chain, `{"suggestedWindow":{"start":"2026-01-02T00:00:00Z","end":"2026-01-01T00:00:00Z"}}`)
	if w, err = f.c.RenewalWindow(context.Background(), f.account, i.Leaf); !errors.Is(err, ErrNoWindow) {
		t.Errorf("a window that ends before it begins: %+v, %v", w, err)
	}
	for _, replaces := range []*x509.Certificate{i.Leaf, i.Leaf, {}} { // once, already replaced, and unknown to the CA
		f.order = nil
		_, err := f.c.Obtain(context.Background(), Request{Names: []string{"a.example.com"}, Account: f.account, Replaces: replaces,
			Solvers: []Solver{f.web}, Save: func(*storage.Order) error { return nil }})
		if err != nil {
			t.Errorf("replacing: %v", err)
		}
	}
}
