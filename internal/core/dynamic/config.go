package dynamic

import "sluice/internal/core/diag"

// Config is one document of dynamic configuration. A nil part is empty.
type Config struct {
	// HTTP holds HTTP routers, services, middlewares and transports.
	HTTP *HTTP `json:"http,omitempty"`
	// TCP holds TCP routers, services, middlewares and transports.
	TCP *TCP `json:"tcp,omitempty"`
	// UDP holds UDP routers and services.
	UDP *UDP `json:"udp,omitempty"`
	// TLS holds certificates, certificate stores and options for the connections that we terminate.
	TLS *TLS `json:"tls,omitempty"`
}

// Locator tells where the values of a document were written. Implementations are safe for concurrent use.
type Locator interface {
	// Locate returns the place of the value at path, such as Locate("http", "routers", "api", "rule"). List elements
	// are addressed by their decimal index. Where the value itself was not written, the deepest ancestor that was
	// answers; the zero Place means that nothing is known. Elements compare without regard to case.
	Locate(path ...string) diag.Place
}

// Fragment is the configuration that one source gave: a file, a container, a key tree. It is immutable once published.
type Fragment struct {
	// Name tells the source among those of its provider, such as a file path or a container; it is unique there.
	Name string `json:"name"`
	// Config is what could be read, including the readable part of broken elements. It is never nil.
	Config *Config `json:"config"`
	// Where finds the places of values in Config. It may be nil where a source has no places.
	Where Locator `json:"-"`
	// Findings holds every remark of reading this fragment, those in Broken included.
	Findings diag.List `json:"findings,omitempty"`
	// Broken names the elements that reading has disabled, by path such as "http.routers.api", with the reasons. They
	// stay in Config as far as they were readable, so that they keep their place and refuse instead of vanishing.
	Broken map[string]diag.List `json:"broken,omitempty"`
	// Held says that what the source describes is away for now, such as a stopped container. Its elements stay, so that
	// its requests get 503 and never fall to a wider router; they lose ties, are not remarked on, and are left out
	// of lists.
	Held bool `json:"-"`
}

// Snapshot is the whole of what a provider knows at one moment. Fragments that did not change keep their pointer from
// one snapshot to the next, so equality of pointers is equality of content.
type Snapshot struct {
	// Provider is the name behind the @ of its elements, such as file or docker.
	Provider string `json:"provider"`
	// Fragments are ordered by name.
	Fragments []*Fragment `json:"fragments"`
	// Urgent says that waiting costs requests, because a server leaves or the first one of a service has come: such a
	// change is not throttled.
	Urgent bool `json:"-"`
}
