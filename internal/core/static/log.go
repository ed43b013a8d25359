package static

import "sluice/internal/core/dynamic"

// Levels of the process log, in the upper case that documentation uses; case does not matter.
const (
	LevelTrace = "TRACE"
	LevelDebug = "DEBUG"
	LevelInfo  = "INFO"
	LevelWarn  = "WARN"
	LevelError = "ERROR"
	LevelFatal = "FATAL"
	LevelPanic = "PANIC"
)

// LogLevels returns the levels, the most talkative first.
func LogLevels() []string {
	return []string{LevelTrace, LevelDebug, LevelInfo, LevelWarn, LevelError, LevelFatal, LevelPanic}
}

// Formats of the process log and of the access log.
const (
	FormatCommon     = "common"
	FormatJSON       = "json"
	FormatGenericCLF = "genericCLF" // access log only
)

// AccessLogFormats returns the formats of the access log.
func AccessLogFormats() []string { return []string{FormatCommon, FormatJSON, FormatGenericCLF} }

// Log is the process log.
type Log struct {
	// Level is the least severe level that is written. Default ERROR; unknown text acts the same.
	Level string `json:"level,omitempty"`
	// Format is common or json. Default common.
	Format string `json:"format,omitempty"`
	// NoColor writes without colours; a file never has any.
	NoColor bool `json:"noColor,omitempty"`
	// FilePath of the log. Empty: standard output.
	FilePath string `json:"filePath,omitempty"`
	// MaxSize in megabytes at which the file is rotated. Zero: 100.
	MaxSize int `json:"maxSize,omitempty"`
	// MaxAge in days of rotated files. Zero: kept.
	MaxAge int `json:"maxAge,omitempty"`
	// MaxBackups is the number of rotated files. Zero: all are kept.
	MaxBackups int `json:"maxBackups,omitempty"`
	// Compress compresses rotated files.
	Compress bool `json:"compress,omitempty"`
	// OTLP sends the log to a collector.
	OTLP *OTLPLog `json:"otlp,omitempty" sluice:"section"`
}

// SetDefaults sets level ERROR and format common.
func (l *Log) SetDefaults() {
	l.Level = LevelError
	l.Format = FormatCommon
}

// Modes of access log fields.
const (
	FieldKeep   = "keep"
	FieldDrop   = "drop"
	FieldRedact = "redact" // headers only
)

// AccessLog is the log of requests and connections.
type AccessLog struct {
	// FilePath of the log. Empty: standard output.
	FilePath string `json:"filePath,omitempty"`
	// Format is common, json or genericCLF. Default common; unknown text acts the same.
	Format string `json:"format,omitempty"`
	// Filters choose what is written. Absent: everything.
	Filters *AccessLogFilters `json:"filters,omitempty"`
	// Fields choose what a record holds.
	Fields *AccessLogFields `json:"fields,omitempty"`
	// BufferingSize is how many lines may wait for the writer. Zero: none.
	BufferingSize int64 `json:"bufferingSize,omitempty"`
	// AddInternals writes requests to internal services as well.
	AddInternals bool `json:"addInternals,omitempty"`
	// OTLP sends records to a collector instead.
	OTLP *OTLPLog `json:"otlp,omitempty" sluice:"section"`
	// DualOutput writes the file as well where OTLP is set.
	DualOutput bool `json:"dualOutput,omitempty"`
}

// SetDefaults sets format common and the default field modes.
func (l *AccessLog) SetDefaults() {
	l.Format = FormatCommon
	l.Fields = &AccessLogFields{}
	l.Fields.SetDefaults()
}

// AccessLogFilters choose what is written. A record that passes one of them is written.
type AccessLogFilters struct {
	// StatusCodes holds codes (200) and inclusive ranges (300-399).
	StatusCodes []string `json:"statusCodes,omitempty"`
	// RetryAttempts writes requests that were tried more than once.
	RetryAttempts bool `json:"retryAttempts,omitempty"`
	// MinDuration writes requests that took longer.
	MinDuration dynamic.Duration `json:"minDuration,omitempty"`
}

// AccessLogFields choose what a record holds.
type AccessLogFields struct {
	// DefaultMode is keep or drop. Default keep.
	DefaultMode string `json:"defaultMode,omitempty"`
	// Names sets the mode by field name, in any case.
	Names map[string]string `json:"names,omitempty"`
	// Headers chooses headers.
	Headers *FieldModes `json:"headers,omitempty"`
	// QueryParameters chooses whether the request path has its query.
	QueryParameters *QueryMode `json:"queryParameters,omitempty"`
}

// SetDefaults keeps fields and queries, and drops headers.
func (f *AccessLogFields) SetDefaults() {
	f.DefaultMode = FieldKeep
	f.Headers = &FieldModes{}
	f.Headers.SetDefaults()
	f.QueryParameters = &QueryMode{}
	f.QueryParameters.SetDefaults()
}

// FieldModes chooses headers of a record.
type FieldModes struct {
	// DefaultMode is keep, drop or redact. Default drop.
	DefaultMode string `json:"defaultMode,omitempty"`
	// Names sets the mode by header name, in any case.
	Names map[string]string `json:"names,omitempty"`
}

// SetDefaults sets defaultMode drop.
func (f *FieldModes) SetDefaults() { f.DefaultMode = FieldDrop }

// QueryMode chooses whether the request path of a record has its query.
type QueryMode struct {
	// DefaultMode is keep or drop. Default keep.
	DefaultMode string `json:"defaultMode,omitempty"`
}

// SetDefaults sets defaultMode keep.
func (q *QueryMode) SetDefaults() { q.DefaultMode = FieldKeep }
