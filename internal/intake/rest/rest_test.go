package rest

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"sluice/internal/core/dynamic"
)

func TestPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New()
		unasked, end := context.WithCancel(context.Background())
		if err := p.Run(unasked, func(s dynamic.Snapshot) {
			if len(s.Fragments) != 0 {
				t.Errorf("before anything was put: %+v", s)
			}
			end()
		}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var seen []dynamic.Snapshot
		ended := make(chan error)
		if _, err := p.Put([]byte(`{"http": {"routers": {"early": {"rule": "Host(` + "`a.test`" + `)", "service": "s"}}}}`)); err != nil {
			t.Fatal(err)
		}
		go func() { ended <- p.Run(ctx, func(s dynamic.Snapshot) { seen = append(seen, s) }) }()
		synctest.Wait()
		if len(seen) != 1 || seen[0].Fragments[0].Config.HTTP.Routers["early"] == nil {
			t.Fatalf("what was put before Run: %+v", seen)
		}
		for _, bad := range []string{"", "http:\n  routers: {}", `{"http": `, `{} {}`, "\xff"} {
			if _, err := p.Put([]byte(bad)); err == nil || !strings.Contains(err.Error(), "not JSON") {
				t.Errorf("%q: %v", bad, err)
			}
		}
		synctest.Wait()
		if len(seen) != 1 {
			t.Errorf("a refused document was published")
		}
		config, err := p.Put([]byte(`{"http": {"routers": {"good": {"rule": "Host(` + "`a.test`" + `)", "service": "s"}, "bad": {"rules": 1, "rule": "x", "service": "s"}}}}`))
		if err != nil || config.HTTP.Routers["good"] == nil {
			t.Fatalf("%+v %v", config, err)
		}
		synctest.Wait()
		if f := seen[len(seen)-1].Fragments[0]; len(seen) != 2 || f.Config != config || len(f.Broken) != 1 || len(f.Findings) != 1 {
			t.Errorf("a mistake takes down its own element only: %+v", f)
		}
		if _, err := p.Put([]byte(`{}`)); err != nil {
			t.Errorf("emptied: %v", err)
		}
		synctest.Wait()
		if f := seen[len(seen)-1].Fragments[0]; len(seen) != 3 || f.Config.HTTP != nil {
			t.Errorf("emptied: %+v", f.Config)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func FuzzPut(f *testing.F) {
	for _, s := range []string{`{}`, `null`, `[]`, `{"http":{"services":{"s":{"loadBalancer":{"servers":[{"url":"http://127.0.0.1"}]}}}}}`, `{"a":"\ud800"}`, "{\"a\":1,\"a\":2}", "{\t}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if config, err := New().Put(data); err == nil && config == nil {
			t.Error("neither a configuration nor an error")
		}
	})
}
