package dynamic

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Duration is a length of time in nanoseconds. Its text is Go's (1m30s, 500ms) or a bare integer, which counts seconds.
type Duration int64

// Seconds returns a Duration of n seconds.
func Seconds(n int64) Duration { return Duration(n) * Duration(time.Second) }

// Milliseconds returns a Duration of n milliseconds.
func Milliseconds(n int64) Duration { return Duration(n) * Duration(time.Millisecond) }

// ParseDuration reads the text form. Fractions need a unit; surrounding space is an error.
func ParseDuration(text string) (Duration, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err == nil:
		const limit = math.MaxInt64 / int64(time.Second)
		if n > limit || n < -limit {
			return 0, fmt.Errorf("duration %q is out of range", text)
		}
		return Seconds(n), nil
	case errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("duration %q is out of range", text)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is no duration: want whole seconds (30) or a number with a unit (500ms, 1m30s)", text)
	}
	return Duration(d), nil
}

// Std returns the value as a time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String returns Go's text form, such as 1m0s.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText gives JSON and other writers Go's text form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is ParseDuration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := ParseDuration(string(text))
	if err == nil {
		*d = v
	}
	return err
}
