//go:build !gcloud

package dnsproviders

// optional are the providers that a build tag adds.
var optional []row
