package static

import (
	"strings"

	"sluice/internal/core/diag"
)

// CodeRemoved is the code of findings about options that earlier versions had and that are gone.
const CodeRemoved = "REMOVED-OPTION"

// legacyRows lists the options of earlier versions that have no field any more. An error row decided what is served; a
// warning row can be dropped without changing that.
var legacyRows = []struct {
	path     []string
	severity diag.Severity
	message  string
	hint     string
}{
	{[]string{"pilot"}, diag.Warning, "the service behind it was shut down", "remove it"},
	{[]string{"providers", "marathon"}, diag.Error, "this provider was removed in version 3", "no other provider replaces it"},
	{[]string{"providers", "rancher"}, diag.Error, "this provider was removed in version 3", "no other provider replaces it"},
	{[]string{"tracing", "spanNameLimit"}, diag.Warning, "this option was removed in version 3", "remove it"},
	{[]string{"tracing", "jaeger"}, diag.Warning, "this exporter was removed in version 3", "use tracing.otlp"},
	{[]string{"tracing", "zipkin"}, diag.Warning, "this exporter was removed in version 3", "use tracing.otlp"},
	{[]string{"tracing", "datadog"}, diag.Warning, "this exporter was removed in version 3", "use tracing.otlp"},
	{[]string{"tracing", "instana"}, diag.Warning, "this exporter was removed in version 3", "use tracing.otlp"},
	{[]string{"tracing", "haystack"}, diag.Warning, "this exporter was removed in version 3", "use tracing.otlp"},
	{[]string{"tracing", "elastic"}, diag.Warning, "this exporter was removed in version 3", "use tracing.otlp"},
	{[]string{"metrics", "influxDB"}, diag.Warning, "this exporter was removed in version 3", "use metrics.influxDB2"},
}

// Legacy tells whether path, which is no key of this schema, is or stands below an option of an earlier version. The
// finding has a key and no place. Elements compare without regard to case.
func Legacy(path ...string) (diag.Finding, bool) {
	for _, row := range legacyRows {
		if hasPrefixFold(path, row.path) {
			return diag.Finding{
				Severity: row.severity,
				Key:      strings.Join(row.path, "."),
				Code:     CodeRemoved,
				Message:  row.message,
				Hint:     row.hint,
			}, true
		}
	}
	return diag.Finding{}, false
}

func hasPrefixFold(path, prefix []string) bool {
	if len(path) < len(prefix) {
		return false
	}
	for i, word := range prefix {
		if !strings.EqualFold(path[i], word) {
			return false
		}
	}
	return true
}
