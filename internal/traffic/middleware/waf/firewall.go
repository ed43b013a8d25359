//go:build !nowaf

package waf

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"sync"
	"weak"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/httpmsg"
)

// engine is a compiled set of rules. Immutable and safe for concurrent use.
type engine struct {
	waf coraza.WAF
}

// compiled remembers what became of sets of rules, for compiling takes a tenth of a second and twenty megabytes: the engine
// as long as somebody uses it, the verdict for longer.
var compiled = struct {
	sync.Mutex
	engines  map[[sha256.Size]byte]weak.Pointer[engine]
	verdicts map[[sha256.Size]byte]error
}{engines: map[[sha256.Size]byte]weak.Pointer[engine]{}, verdicts: map[[sha256.Size]byte]error{}}

// maxVerdicts is how many sets are remembered.
const maxVerdicts = 256

// compile returns the engine of a set of rules, a fresh one where there is none in use.
func (r *rules) compile() (*engine, error) {
	k := r.fingerprint()
	compiled.Lock()
	defer compiled.Unlock()
	if e := compiled.engines[k].Value(); e != nil {
		return e, nil
	}
	if err := compiled.verdicts[k]; err != nil {
		return nil, err
	}
	if len(compiled.verdicts) >= maxVerdicts {
		clear(compiled.verdicts)
		clear(compiled.engines)
	}
	var root fs.FS = nothing{}
	if r.core {
		root = coreruleset.FS
	}
	w, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(root).WithDirectives(r.text))
	compiled.verdicts[k] = err
	if err != nil {
		return nil, err
	}
	e := &engine{w}
	compiled.engines[k] = weak.Make(e)
	return e, nil
}

// check reports whether the rules can be compiled, from memory where that was asked before.
func (r *rules) check() error {
	k := r.fingerprint()
	compiled.Lock()
	err, known := compiled.verdicts[k]
	compiled.Unlock()
	if known {
		return err
	}
	_, err = r.compile()
	return err
}

func (r *rules) fingerprint() [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%v %s", r.core, r.text))
}

// nothing is a file system without files.
type nothing struct{}

// Open implements fs.FS.
func (nothing) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func check(c *dynamic.Middleware) diag.List {
	r, l := read(c.WAF)
	if !l.Has(diag.Error) {
		if err := r.check(); err != nil {
			l.Add(middleware.Bad("waf.directives", err.Error(), ""))
		}
	}
	return l
}

func build(c *dynamic.Middleware, env middleware.Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	if err := middleware.Refusal(check(c)); err != nil {
		return nil, err
	}
	r, _ := read(c.WAF)
	e, err := r.compile()
	if err != nil {
		return nil, fmt.Errorf("waf: %w", err)
	}
	return &firewall{engine: e, rules: r, env: env, slots: middleware.SlotsOf(env, "waf"), next: next}, nil
}
