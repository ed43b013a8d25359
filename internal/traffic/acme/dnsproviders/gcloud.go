//go:build gcloud

package dnsproviders

import "github.com/go-acme/lego/v5/providers/dns/gcloud"

// optional are the providers that a build tag adds. Google's brings 6 MB of client library along.
var optional = []row{{"gcloud", from(gcloud.NewDNSProvider)}}
