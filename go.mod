module sluice

go 1.26

require (
	github.com/pelletier/go-toml/v2 v2.4.3 // indirect
	github.com/pires/go-proxyproto v0.15.0 // indirect
	go.yaml.in/yaml/v4 v4.0.0 // indirect
)
