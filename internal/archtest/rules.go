// Package archtest holds the architecture as tables and checks the source tree against them: which room may import
// which, through which package a third-party module enters a room, how packages are called, and a few habits that a
// machine can see. It reads source text only; its test runs it over the whole module. A change of the architecture is
// a change of a table here, with its reason.
package archtest

import "strings"

// Rooms under internal/, and what each may import of the others besides itself. An entry is a room ("wire") or one
// package of a room ("core/fault").
var rooms = map[string][]string{
	"core":     {},
	"intake":   {"core/diag", "core/secret", "core/static", "core/dynamic", "core/rule"},
	"wire":     {"core/fault"},
	"traffic":  {"core", "wire", "observe/record"},
	"observe":  {"core/static", "core/secret", "core/fault"},
	"run":      {"core", "intake", "wire", "traffic", "observe"},
	"testkit":  {},
	"archtest": {},
}

// barred are imports that a room's line allows and that are wrong all the same.
var barred = []struct{ from, to, reason string }{
	{"traffic", "core/plan", "traffic is built from a plan by engine and does not know it"},
	{"traffic", "core/explain", "explaining is not part of serving"},
	{"traffic/entrypoint", "traffic/middleware", "an entry point serves handlers that engine gives it"},
	{"traffic/entrypoint", "traffic/forward", "an entry point serves handlers that engine gives it"},
}

// coreOrder is the order inside core: a package may import those of its own and of lower levels.
var coreOrder = map[string]int{
	"diag": 0, "secret": 0, "fault": 0,
	"static": 1, "dynamic": 1, "rule": 1,
	"route":   2,
	"plan":    3,
	"explain": 4,
}

// doorway lets one module into one package of a room.
type doorway struct{ pkg, module, reason string }

// doorways lists every third-party module and the only package of each room that may import it. The same module may
// have doorways in several rooms. Tests may import anything.
var doorways = []doorway{
	{"intake/decode", "go.yaml.in/yaml/v4", "the YAML reader, used for its node tree with positions"},
	{"intake/decode", "github.com/pelletier/go-toml/v2", "the TOML reader, used for its syntax tree with positions"},
	{"intake/file", "github.com/fsnotify/fsnotify", "directory events of the file provider"},
	{"intake/provider", "github.com/Masterminds/sprig/v3", "the template functions of configuration files and default rules"},
	{"intake/docker", "github.com/moby/moby/client", "the Docker provider's client"},
	{"intake/docker", "github.com/moby/moby/api", "the types of the Docker client"},
	{"traffic/acme/authority", "github.com/go-acme/lego/v5", "the ACME protocol"},
	{"traffic/acme/dnsproviders", "github.com/go-acme/lego/v5", "the DNS providers, one package each"},
	{"traffic/middleware/compress", "github.com/klauspost/compress", "gzip and zstd encoders"},
	{"traffic/middleware/compress", "github.com/molecule-man/go-brrr", "the brotli encoder"},
	{"traffic/middleware/oidc", "github.com/coreos/go-oidc/v3", "the rules of OpenID Connect for tokens"},
	{"traffic/middleware/jose", "github.com/go-jose/go-jose/v4", "signed tokens and key sets"},
	{"traffic/middleware/httpcache", "github.com/maypok86/otter/v2", "the bounded memory of stored responses"},
	{"traffic/middleware/waf", "github.com/corazawaf/coraza/v3", "the engine of firewall rules"},
	{"traffic/middleware/waf", "github.com/corazawaf/coraza-coreruleset/v4", "the OWASP core rule set"},
	{"traffic/middleware/redisdb", "github.com/redis/rueidis", "what instances share: rate limits, sessions"},
	{"testkit/acmeserver", "github.com/letsencrypt/pebble/v2", "an ACME server inside tests"},
	{"testkit/oidcserver", "github.com/zitadel/oidc/v3", "an OpenID provider inside tests"},
	{"testkit/acmeserver", "github.com/letsencrypt/challtestsrv", "its name server"},
	{"observe/prom", "github.com/prometheus/client_golang", "the Prometheus exposition format"},
	{"observe/otel", "go.opentelemetry.io/otel", "traces and metrics for OpenTelemetry collectors"},
	{"observe/otel", "go.opentelemetry.io/contrib/propagators", "the headers in which a trace goes on: W3C, B3, Jaeger and others"},
	{"observe/otel", "google.golang.org/grpc", "the credentials of its gRPC exporters"},
}

// exempt are the modules of golang.org/x that any room except core may import.
var exempt = []string{
	"golang.org/x/crypto", "golang.org/x/net", "golang.org/x/sync", "golang.org/x/sys", "golang.org/x/text", "golang.org/x/time",
}

// forbiddenNames say nothing about what is inside.
var forbiddenNames = strings.Fields("util utils common helper helpers type types manager managers factory misc shared base pkg lib")

// impure are the identifiers of the standard library that core must not use, because they read a clock, do I/O or
// start something. Whole packages stand as "name.*"; the exceptions in pure are plain data.
var impure = strings.Fields(`
	os.* os/exec.* os/signal.* os/user.* syscall.* io/ioutil.* net/http.* net/rpc.* net/smtp.* log.* log/slog.* plugin.* embed.*
	math/rand.* math/rand/v2.* crypto/rand.* runtime.* context.*
	time.Now time.Sleep time.After time.AfterFunc time.NewTimer time.NewTicker time.Tick time.Since time.Until
	net.Dial net.DialTimeout net.DialTCP net.DialUDP net.DialIP net.DialUnix net.Dialer net.Listen net.ListenTCP net.ListenUDP
	net.ListenPacket net.ListenConfig net.Interfaces net.InterfaceAddrs
	net.LookupHost net.LookupIP net.LookupAddr net.LookupCNAME net.LookupMX net.LookupNS net.LookupPort net.LookupSRV net.LookupTXT
	net.Resolver net.DefaultResolver net.ResolveTCPAddr net.ResolveUDPAddr net.ResolveIPAddr
	path/filepath.Abs path/filepath.Glob path/filepath.Walk path/filepath.WalkDir path/filepath.EvalSymlinks
	crypto/tls.Dial crypto/tls.Listen crypto/tls.LoadX509KeyPair crypto/x509.SystemCertPool
`)

// pure are the parts of packages barred above that hold data only. A trailing star is a prefix.
var pure = strings.Fields("net/http.StatusText net/http.Status* net/http.Method*")

// maxLines is the length above which a file must say why it is long, maxTestLines that above which a test belongs into
// text files.
const (
	maxLines     = 700
	maxTestLines = 1000
)
