package dynamic

// Content codings that compress knows.
const (
	EncodingGzip   = "gzip"
	EncodingBrotli = "br"
	EncodingZstd   = "zstd"
)

// Compress encodes response bodies.
type Compress struct {
	// ExcludedContentTypes are media types that are not compressed. Excludes IncludedContentTypes.
	ExcludedContentTypes []string `json:"excludedContentTypes,omitempty"`
	// IncludedContentTypes are the only media types that are compressed.
	IncludedContentTypes []string `json:"includedContentTypes,omitempty"`
	// MinResponseBodyBytes of a body; a shorter one is left alone. Zero or less: 1024. Default 1024.
	MinResponseBodyBytes int `json:"minResponseBodyBytes,omitempty"`
	// Encodings in order of preference. Default gzip, br, zstd; an empty list is an error.
	Encodings []string `json:"encodings,omitempty"`
	// DefaultEncoding is used for clients that send no Accept-Encoding. Empty: none is.
	DefaultEncoding string `json:"defaultEncoding,omitempty"`
}

// SetDefaults sets minResponseBodyBytes 1024 and all encodings.
func (c *Compress) SetDefaults() {
	c.MinResponseBodyBytes = 1024
	c.Encodings = []string{EncodingGzip, EncodingBrotli, EncodingZstd}
}

// ContentType guesses the type of responses that do not tell it.
type ContentType struct {
	// AutoDetect is a leftover; that the section is there is what counts.
	AutoDetect *bool `json:"autoDetect,omitempty" sluice:"v2"`
}

// GRPCWeb turns gRPC-Web requests into gRPC ones.
type GRPCWeb struct {
	// AllowOrigins are exact origins, or "*".
	AllowOrigins []string `json:"allowOrigins,omitempty"`
}

// BodyLimit refuses request bodies with 413 without buffering them.
type BodyLimit struct {
	// MaxBytes is the largest body that passes. Required, more than zero.
	MaxBytes int64 `json:"maxBytes,omitempty"`
}

// HTTPCache answers from stored responses (RFC 9111). The store is shared by all routers that use the middleware.
type HTTPCache struct {
	// MaxBytes of memory for the whole cache. Default 64 MiB.
	MaxBytes int64 `json:"maxBytes,omitempty"`
	// MaxEntryBytes of a response; a larger one is not stored. Default 1 MiB.
	MaxEntryBytes int64 `json:"maxEntryBytes,omitempty"`
	// Directory keeps entries that memory has no room for, in one file that no listing shows and that ends with the process.
	// Empty: they are dropped.
	Directory string `json:"directory,omitempty"`
	// MaxDirectoryBytes bounds Directory. Default 1 GiB.
	MaxDirectoryBytes int64 `json:"maxDirectoryBytes,omitempty"`
	// DefaultTTL of responses that do not say how long they are fresh. Zero: those are not stored.
	DefaultTTL Duration `json:"defaultTTL,omitempty"`
	// MaxTTL bounds what responses say. Zero: unbounded.
	MaxTTL Duration `json:"maxTTL,omitempty"`
	// KeyHeaders are request headers that are part of the key besides method, scheme, host, path and query.
	KeyHeaders []string `json:"keyHeaders,omitempty"`
	// PurgeRange holds addresses and CIDR blocks of peers whose PURGE requests make the cache forget the target, or all
	// below it where the path ends in "/*". Empty: nobody's do, and PURGE is passed on like any method.
	PurgeRange []string `json:"purgeRange,omitempty"`
}

// SetDefaults sets the three sizes.
func (c *HTTPCache) SetDefaults() {
	c.MaxBytes = 64 << 20
	c.MaxEntryBytes = 1 << 20
	c.MaxDirectoryBytes = 1 << 30
}
