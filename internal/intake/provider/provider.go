// Package provider runs the sources of dynamic configuration and brings what they say to one consumer.
//
// A Provider only knows its own source. The Supervisor restarts those that fail, keeps what each said last, drops
// repetitions, bounds how often changes go on, and hands the consumer all snapshots together. So no provider has to
// think about the others, and the consumer is never called by two goroutines.
package provider

import (
	"context"
	"errors"

	"sluice/internal/core/dynamic"
)

// Provider is a source of dynamic configuration.
type Provider interface {
	// Name is what stands behind the @ of its elements, such as file or docker. It is the same at every call.
	Name() string
	// Run publishes a snapshot at the beginning and at each change, until ctx ends. Every snapshot is complete, and
	// fragments that did not change keep their pointers where that is cheap. publish does not block and may be called
	// from several goroutines, but not after Run has returned.
	//
	// Returning nil means that the source has said all it will ever say; what it said stays in force. An error means
	// that Run shall be called again after a while, unless it is Permanent; what was said before stays in force too.
	Run(ctx context.Context, publish func(dynamic.Snapshot)) error
}

// Permanent wraps an error that trying again cannot cure, such as options that contradict each other.
func Permanent(err error) error { return &permanentError{err} }

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// IsPermanent reports whether err, or one that it wraps, came from Permanent.
func IsPermanent(err error) bool {
	var p *permanentError
	return errors.As(err, &p)
}
