package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"slices"
	"sync"
	"sync/atomic"

	"sluice/internal/core/dynamic"
)

// Keeper holds what outlives changes of the configuration: the tls.Config, and in it the session ticket keys, of each set
// of TLS options in use, the self-signed certificate, and the Set that handshakes look into. The zero value is not ready;
// use NewKeeper. All methods are safe for concurrent use.
type Keeper struct {
	current    atomic.Pointer[Set]
	missing    atomic.Pointer[func(ctx context.Context, name string)]
	selfSigned func() *tls.Certificate

	mu     sync.Mutex
	served map[string]*Server
	issued *Issued
}

// Server is how connections with one set of TLS options are terminated.
type Server struct {
	// Config is for tls.Server. It must not be changed or cloned: its ticket keys are its own.
	Config *tls.Config
	// Fingerprint identifies the options; see the function of that name.
	Fingerprint string
}

// NewKeeper returns a Keeper that knows no certificate but the self-signed one, which is made when it is first needed.
func NewKeeper() *Keeper {
	k := &Keeper{selfSigned: sync.OnceValue(selfSigned), served: map[string]*Server{}}
	k.current.Store(&Set{})
	return k
}

// Publish makes handshakes from now on look into s, with the certificates that were issued meanwhile.
func (k *Keeper) Publish(s *Set) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.current.Store(s.With(k.issued))
}

// SetIssued makes handshakes from now on use these certificates of resolvers, over all configurations to come.
func (k *Keeper) SetIssued(issued *Issued) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.issued = issued
	k.current.Store(k.current.Load().With(issued))
}

// SetMissing has f called by handshakes for a server name that no certificate has. f may get one within ctx, which ends with
// the handshake; the handshake looks again when it returns.
func (k *Keeper) SetMissing(f func(ctx context.Context, name string)) { k.missing.Store(&f) }

// Current returns the Set that was published last.
func (k *Keeper) Current() *Set { return k.current.Load() }

// Server returns what serves o: the same value for options of the same fingerprint, as long as Retain keeps it. Options
// with an error are refused; their connections must be, too.
func (k *Keeper) Server(o *dynamic.TLSOptions) (*Server, error) {
	fingerprint := Fingerprint(o)
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.served[fingerprint]; s != nil {
		return s, nil
	}
	c, r := readOptions(o)
	if err := asError("TLS options", r.findings); err != nil {
		return nil, err
	}
	strict := o.SNIStrict
	c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return k.certificate(hello, strict) }
	if !o.DisableSessionTickets {
		bindTickets(c)
	}
	s := &Server{Config: c, Fingerprint: fingerprint}
	k.served[fingerprint] = s
	return s, nil
}

// Retain forgets the options that are not among fingerprints. Connections that use them go on; sessions cannot be resumed
// should they come back.
func (k *Keeper) Retain(fingerprints map[string]bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for f := range k.served {
		if !fingerprints[f] {
			delete(k.served, f)
		}
	}
}

// certificate chooses for one handshake. Neither certificate nor error makes crypto/tls send unrecognized_name (RFC 6066
// section 3), which it does where no certificate is configured otherwise.
func (k *Keeper) certificate(hello *tls.ClientHelloInfo, strict bool) (*tls.Certificate, error) {
	p, found := k.current.Load().Select(hello, strict)
	if f := k.missing.Load(); f != nil && !found && hello.ServerName != "" {
		(*f)(hello.Context(), hello.ServerName)
		p, found = k.current.Load().Select(hello, strict)
	}
	switch {
	case p != nil:
		return p.certificate(), nil
	case strict && !found:
		return nil, nil
	}
	return k.selfSigned(), nil
}

// bindTickets ties a session to the name that it was made for. crypto/tls would resume it for any other host of the same
// options, past the choice of a certificate and so past sniStrict.
func bindTickets(c *tls.Config) {
	const mark = "sluice sni:"
	c.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		name := []byte(mark + normal(state.ServerName))
		if !slices.ContainsFunc(session.Extra, func(e []byte) bool { return bytes.Equal(e, name) }) {
			session.Extra = append(session.Extra, name)
		}
		return c.EncryptTicket(state, session)
	}
	c.UnwrapSession = func(ticket []byte, state tls.ConnectionState) (*tls.SessionState, error) {
		session, err := c.DecryptTicket(ticket, state)
		if err != nil || session == nil {
			return nil, err
		}
		name := []byte(mark + normal(state.ServerName))
		if !slices.ContainsFunc(session.Extra, func(e []byte) bool { return bytes.Equal(e, name) }) {
			return nil, nil // a full handshake
		}
		return session, nil
	}
}
