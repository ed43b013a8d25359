//go:build nowaf

package waf

import (
	"testing"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/middleware"
)

func TestAbsent(t *testing.T) {
	m := &dynamic.Middleware{WAF: &dynamic.WAF{CRSEnabled: true}}
	if l := Kind().Check(m); !l.Has(diag.Error) || l[0].Code != "NOT-SUPPORTED" {
		t.Errorf("got %v", l)
	}
	if h, err := Kind().Build(m, middleware.Env{}, nil); h != nil || err == nil {
		t.Error("it was built")
	}
}
