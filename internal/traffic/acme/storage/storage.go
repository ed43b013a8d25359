// Package storage keeps what certificate resolvers must not lose: accounts, certificates with their keys, and the state of
// the scheduler (failures, next attempts, orders under way, what was spent of the CA's limits). It is for the ACME manager
// and the command line; it knows nothing about the ACME protocol.
//
// There are two stores behind one interface. A File is Traefik's acme.json: it belongs to one instance at a time, which
// holds a lock of the kernel on it; others only read. A Directory is shared by several instances: each element is a file
// of its own, jobs are guarded by locks of the kernel, and the tokens of pending challenges stand there too, so that any
// instance answers any challenge. A database would be a third one.
//
// Whatever is written is in place as a whole or not at all: a crash or a full disk leaves what was there before.
package storage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// Errors that callers tell apart.
var (
	// ErrReadOnly says that this instance must not write: another one owns the file, or nobody can write it.
	ErrReadOnly = errors.New("the storage is read-only for this instance")
	// ErrLocked says that another job or instance holds the lock.
	ErrLocked = errors.New("locked by another instance")
	// ErrMode says that others can read the keys and that we cannot change that.
	ErrMode = errors.New("the storage can be read by others")
	// ErrCorrupt says that what stands in the storage cannot be read. It is left alone.
	ErrCorrupt = errors.New("the storage is damaged")
)

// Account is an account at a CA.
type Account struct {
	Email string
	// URI is the account's URL; empty as long as the registration has not succeeded.
	URI string
	// Status, Contact and Orders repeat what the CA said.
	Status  string
	Contact []string
	Orders  string
	// Key is the private key, PKCS #1 in DER.
	Key []byte
}

// Certificate is a chain with its key.
type Certificate struct {
	// Main and SANs are the names it was ordered for.
	Main string
	SANs []string
	// Chain and Key are PEM.
	Chain, Key []byte
	// Store is Traefik's name of a certificate store; written as it was read, and "default" for new ones.
	Store string
}

// Names returns Main and SANs, in that order.
func (c *Certificate) Names() []string { return append([]string{c.Main}, c.SANs...) }

// Set is what the scheduler knows about one set of names.
type Set struct {
	// Names are the names, main first.
	Names []string `json:"names"`
	// CA is the directory URL that issued the stored certificate, Issued when. Empty for certificates taken over.
	CA     string    `json:"ca,omitempty"`
	Issued time.Time `json:"issued,omitzero"`
	// Profile and KeyType are those of the stored certificate.
	Profile string `json:"profile,omitempty"`
	KeyType string `json:"keyType,omitempty"`
	// Failures counts attempts that failed at the CA since the last success.
	Failures int `json:"failures,omitempty"`
	// Tried is the beginning of the last attempt, Next the time before which there is no other one.
	Tried time.Time `json:"tried,omitzero"`
	Next  time.Time `json:"next,omitzero"`
	// Problem is why the last attempt failed; nil after a success.
	Problem *Problem `json:"problem,omitempty"`
	// Order is an order that has begun and not ended.
	Order *Order `json:"order,omitempty"`
	// Renewal says when the stored certificate is renewed.
	Renewal *Renewal `json:"renewal,omitempty"`
	// Orphaned is since when nobody needs the certificate; zero while somebody does.
	Orphaned time.Time `json:"orphaned,omitzero"`
	// OnDemand marks a name that was asked for by a handshake.
	OnDemand bool `json:"onDemand,omitempty"`
}

// Problem is a failure in plain words.
type Problem struct {
	// Kind is a stable word, such as unreachable or rateLimited.
	Kind string `json:"kind"`
	// Text says what happened, Advice what to do.
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"`
}

// Order is an order at the CA that is to be taken up again after a restart.
type Order struct {
	URL string `json:"url"`
	// CA is the directory URL that the order belongs to.
	CA string `json:"ca"`
	// Key is the PEM of the certificate's key; the CA issues for no other once the order was finalised.
	Key   []byte    `json:"key"`
	Begun time.Time `json:"begun"`
}

// Renewal is a chosen time of renewal.
type Renewal struct {
	// At is when to renew; Certificate the serial number that this is about.
	At          time.Time `json:"at"`
	Certificate string    `json:"certificate"`
	// Begin and End are the window that the CA suggested (RFC 9773); zero without one.
	Begin time.Time `json:"begin,omitzero"`
	End   time.Time `json:"end,omitzero"`
	// Ask is when the CA is to be asked again; zero where it has nothing to say.
	Ask time.Time `json:"ask,omitzero"`
	// Explanation is a page that the CA names where it has a reason.
	Explanation string `json:"explanation,omitempty"`
}

// Spent is what was used of the CA's limits, as times; those too old to count are dropped.
type Spent struct {
	// Orders are the new orders of the account.
	Orders []time.Time `json:"orders,omitempty"`
	// Certificates are those issued per registered domain, Sets those per set of names (by ID), Failures the failed
	// validations per name.
	Certificates map[string][]time.Time `json:"certificates,omitempty"`
	Sets         map[string][]time.Time `json:"sets,omitempty"`
	Failures     map[string][]time.Time `json:"failures,omitempty"`
	// Reserved are first orders under way, by ID: their certificates will count.
	Reserved map[string]Reservation `json:"reserved,omitempty"`
}

// Reservation is a part of the budget that an order will use when it succeeds.
type Reservation struct {
	// At is when the order was made, Domains the registered domains that its certificate will count for.
	At      time.Time `json:"at"`
	Domains []string  `json:"domains"`
}

// Content is all that a resolver has. It is a copy: nothing of it is shared with the store.
type Content struct {
	// Account is nil before there is one. Former are those at other CAs, by the host of their URI: a resolver that comes back
	// to a CA finds its account again.
	Account      *Account
	Former       map[string]*Account
	Certificates []*Certificate
	// Sets are by ID.
	Sets  map[string]*Set
	Spent Spent
}

func emptyContent() *Content { return &Content{Former: map[string]*Account{}, Sets: map[string]*Set{}} }

// Kinds of challenges in a Pending.
const (
	HTTP = "http-01"
	TLS  = "tls-alpn-01"
)

// Pending is a challenge that waits to be asked.
type Pending struct {
	// Kind is HTTP or TLS, Name the identifier in lower case, Token the token (empty for TLS).
	Kind  string `json:"kind"`
	Name  string `json:"name"`
	Token string `json:"token,omitempty"`
	// Answer is the key authorisation.
	Answer string `json:"answer"`
	// Expires is when the entry may be dropped, should its owner have died.
	Expires time.Time `json:"expires"`
}

// Store keeps the content of resolvers. All methods are safe for concurrent use.
type Store interface {
	// Path is where the store is, for messages.
	Path() string
	// Shared tells whether other instances may write to the store at the same time.
	Shared() bool
	// Remarks are things about the store that its owner should know: a mode that was repaired, a write that is not atomic.
	Remarks() []string
	// Writable returns nil where this instance may write; it tries to become the owner.
	Writable() error
	// Load returns what a resolver has; nothing is an empty Content.
	Load(resolver string) (*Content, error)
	// SaveAccount, SaveCertificate, SaveSet and SaveSpent put one element in place. A certificate or set replaces that with
	// the same names; an account that was at another CA becomes a former one.
	SaveAccount(resolver string, a *Account) error
	SaveCertificate(resolver string, c *Certificate) error
	SaveSet(resolver string, s *Set) error
	SaveSpent(resolver string, s *Spent) error
	// Remove drops the certificate and the set of these names.
	Remove(resolver string, names []string) error
	// Lock takes a lock without waiting: ErrLocked where it is held. The lock ends with release, or with the process.
	Lock(name string) (release func(), err error)
	// Version changes whenever the content may have changed. It is cheap to ask.
	Version() string
	// Publish puts a pending challenge where other instances find it, Withdraw ends that, Find looks for one. A store that is
	// not shared does nothing and finds nothing.
	Publish(p Pending) error
	Withdraw(p Pending)
	Find(kind, name, token string) (answer string, ok bool)
	// Request asks the instance that runs to renew the certificates with this name; Requests returns and forgets what was
	// asked.
	Request(name string) error
	Requests() []string
	// Close gives up all locks.
	Close() error
}

// host returns the host of the account's URI, "" before it is registered.
func (a *Account) host() string {
	u, err := url.Parse(a.URI)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// Open opens the store at path. A path that ends in a separator or names a directory is a Directory, everything else a
// File. What does not exist is made when something is first written. The result is never nil: where an error says that
// nothing can be read, the store has nothing and takes nothing.
func Open(path string) (Store, error) {
	info, err := os.Stat(path)
	if strings.HasSuffix(path, "/") || strings.HasSuffix(path, string(os.PathSeparator)) || err == nil && info.IsDir() {
		return openDirectory(path)
	}
	return openFile(path, osDisk)
}

// ID identifies a set of names, whatever their order: short enough for a file name, and readable.
func ID(names []string) string {
	sorted := slices.Clone(names)
	for i, n := range sorted {
		sorted[i] = strings.ToLower(n)
	}
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	if len(sorted) == 0 {
		return "none"
	}
	sum := sha256.Sum256([]byte(strings.Join(sorted, "\n")))
	return fileName(sorted[0]) + "-" + hex.EncodeToString(sum[:8])
}

// fileName makes a name that is safe in every file system of a name from a certificate or the configuration.
func fileName(name string) string {
	const longest = 100
	if a, err := netip.ParseAddr(name); err == nil {
		name = strings.ReplaceAll(a.String(), ":", "_")
	}
	safe := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '-', r == '_', r == '.':
			return r
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		default:
			return '_'
		}
	}, name)
	safe = strings.Trim(safe, ".")
	if len(safe) > longest {
		safe = safe[:longest]
	}
	if safe == "" {
		return "_"
	}
	return safe
}
