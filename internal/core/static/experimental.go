package static

// Experimental holds switches of features that are, or once were, experimental. Switches of things that Sluice always
// does are accepted and do nothing.
type Experimental struct {
	// Plugins are extensions to be downloaded, by name.
	Plugins map[string]*Plugin `json:"plugins,omitempty"`
	// LocalPlugins are extensions on disk, by name.
	LocalPlugins map[string]*LocalPlugin `json:"localPlugins,omitempty"`
	// AbortOnPluginFailure stops the start where a plugin cannot be set up.
	AbortOnPluginFailure bool `json:"abortOnPluginFailure,omitempty"`
	// FastProxy has nothing to do here: there is one data path, and it is the fast one.
	FastProxy *FastProxy `json:"fastProxy,omitempty" sluice:"section"`
	// OTLPLogs permits log.otlp and accessLog.otlp.
	OTLPLogs bool `json:"otlplogs,omitempty"`
	// Knative permits providers.knative.
	Knative bool `json:"knative,omitempty"`
	// KubernetesGateway has no effect. Deprecated.
	KubernetesGateway bool `json:"kubernetesGateway,omitempty"`
	// KubernetesIngressNGINX has no effect. Deprecated.
	KubernetesIngressNGINX bool `json:"kubernetesIngressNGINX,omitempty"`
	// HTTP3 has no effect: entryPoints.NAME.http3 alone decides.
	HTTP3 bool `json:"http3,omitempty" sluice:"v2"`
}

// FastProxy has no effect.
type FastProxy struct {
	// Debug has no effect.
	Debug bool `json:"debug,omitempty"`
}

// Plugin is an extension to be downloaded.
type Plugin struct {
	// ModuleName is the module path.
	ModuleName string `json:"moduleName,omitempty"`
	// Version to download.
	Version string `json:"version,omitempty"`
	// Hash that the download must have.
	Hash string `json:"hash,omitempty"`
	// Settings of the plugin's host.
	Settings *PluginSettings `json:"settings,omitempty"`
}

// LocalPlugin is an extension on disk.
type LocalPlugin struct {
	// ModuleName is the module path below ./plugins-local/src.
	ModuleName string `json:"moduleName,omitempty"`
	// Settings of the plugin's host.
	Settings *PluginSettings `json:"settings,omitempty"`
}

// PluginSettings are settings of a plugin's host.
type PluginSettings struct {
	// Envs are environment variables that the plugin sees.
	Envs []string `json:"envs,omitempty"`
	// Mounts are directories that the plugin sees.
	Mounts []string `json:"mounts,omitempty"`
	// UseUnsafe permits unsafe code.
	UseUnsafe bool `json:"useUnsafe,omitempty"`
}
