package decode

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/secret"
)

// scalar fills v, of a scalar type, from n. It reports what is wrong and returns false if nothing was set.
func (w *walker) scalar(n *node, s *schema, v reflect.Value) bool {
	switch n.kind {
	case kindNull:
		return false
	case kindTable, kindList:
		got := n.kind.String()
		if n.has(hasText) {
			got = "a value and keys below it"
		}
		w.report(n.pos, diag.Error, CodeWrongType, "expected "+s.shape.word()+", got "+got, "")
		return false
	case kindDate:
		w.report(n.pos, diag.Error, CodeWrongType, "expected "+s.shape.word()+", got "+n.kind.describe(n), "write it in quotes")
		return false
	}
	switch s.shape {
	case shapeString:
		v.SetString(n.text)
	case shapeSecret:
		v.Set(reflect.ValueOf(secret.New(n.text)))
	case shapeMaterial:
		m := w.material(n)
		v.Set(reflect.ValueOf(m))
	case shapeBool:
		on, ok := truth(n)
		if !ok {
			return w.wrong(n, s, "write true or false")
		}
		v.SetBool(on)
	case shapeInt:
		i, err := integer(n, v.Type().Bits())
		if err != nil {
			return w.wrongNumber(n, s, err, v.Type().Bits())
		}
		v.SetInt(i)
	case shapeUint:
		i, err := integer(n, 64)
		if err == nil && (i < 0 || v.OverflowUint(uint64(i))) {
			err = strconv.ErrRange
		}
		if err != nil {
			return w.wrongNumber(n, s, err, v.Type().Bits())
		}
		v.SetUint(uint64(i))
	case shapeFloat:
		f, err := strconv.ParseFloat(digits(n), v.Type().Bits())
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return w.wrong(n, s, "")
		}
		v.SetFloat(f)
	case shapeDuration:
		d, err := duration(n)
		if err != nil {
			w.report(n.pos, diag.Error, CodeBadDuration, err.Error(), durationHint(n))
			return false
		}
		v.SetInt(int64(d))
	}
	return true
}

// word names what a scalar option takes.
func (s shape) word() string {
	switch s {
	case shapeBool:
		return "a boolean"
	case shapeInt, shapeUint:
		return "an integer"
	case shapeFloat:
		return "a number"
	case shapeDuration:
		return "a duration"
	case shapeMaterial:
		return "a file name or content"
	default:
		return "text"
	}
}

func (w *walker) wrong(n *node, s *schema, hint string) bool {
	w.report(n.pos, diag.Error, CodeWrongType, "expected "+s.shape.word()+", got "+n.kind.describe(n), hint)
	return false
}

func (w *walker) wrongNumber(n *node, s *schema, err error, bits int) bool {
	if errors.Is(err, strconv.ErrRange) {
		w.report(n.pos, diag.Error, CodeWrongType,
			fmt.Sprintf("%s is out of range", clip(n.text)), fmt.Sprintf("an integer of %d bits is expected", bits))
		return false
	}
	return w.wrong(n, s, "")
}

// truth reads a boolean. YAML 1.1 words count where they are not quoted.
func truth(n *node) (on, ok bool) {
	switch n.text {
	case "1", "t", "T", "true", "TRUE", "True":
		return true, true
	case "0", "f", "F", "false", "FALSE", "False":
		return false, true
	}
	if n.kind == kindPlain || n.kind == kindBool {
		switch strings.ToLower(n.text) {
		case "y", "yes", "on", "true":
			return true, true
		case "n", "no", "off", "false":
			return false, true
		}
	}
	return false, false
}

// digits returns the text of a number without the separators that TOML and YAML allow between digits.
func digits(n *node) string {
	if (n.kind == kindInt || n.kind == kindFloat) && strings.IndexByte(n.text, '_') >= 0 {
		return strings.ReplaceAll(n.text, "_", "")
	}
	return n.text
}

// integer reads a whole number. Numbers of files may have a base (0x, 0o, 0b, and a leading zero in YAML); text is
// decimal.
func integer(n *node, bits int) (int64, error) {
	base := 10
	if n.kind == kindInt {
		base = 0
	}
	return strconv.ParseInt(digits(n), base, bits)
}

// duration reads a length of time: whole seconds or Go's syntax.
func duration(n *node) (dynamic.Duration, error) {
	if n.kind == kindInt {
		i, err := integer(n, 64)
		if err == nil {
			return dynamic.ParseDuration(strconv.FormatInt(i, 10))
		}
	}
	return dynamic.ParseDuration(n.text)
}

func durationHint(n *node) string {
	if _, err := strconv.ParseFloat(n.text, 64); err == nil && strings.ContainsAny(n.text, ".eE") {
		return fmt.Sprintf("write %q", clip(n.text)+"s")
	}
	compact := strings.ToLower(strings.ReplaceAll(n.text, " ", ""))
	for _, unit := range [][2]string{{"days", "d"}, {"day", "d"}, {"seconds", "s"}, {"second", "s"}, {"secs", "s"}, {"sec", "s"},
		{"minutes", "m"}, {"minute", "m"}, {"mins", "m"}, {"min", "m"}, {"hours", "h"}, {"hour", "h"}, {"msec", "ms"}} {
		if number, ok := strings.CutSuffix(compact, unit[0]); ok {
			compact = number + unit[1]
			break
		}
	}
	if number, ok := strings.CutSuffix(compact, "d"); ok {
		if days, err := strconv.ParseInt(number, 10, 32); err == nil {
			return fmt.Sprintf("write %q", strconv.FormatInt(days*24, 10)+"h")
		}
	}
	if compact != n.text {
		if _, err := dynamic.ParseDuration(compact); err == nil {
			return fmt.Sprintf("write %q", compact)
		}
	}
	return ""
}

// freeScalar returns a scalar of a free-form value in its natural Go type.
func freeScalar(n *node) any {
	switch n.kind {
	case kindInt:
		if i, err := integer(n, 64); err == nil {
			return i
		}
	case kindFloat:
		if f, err := strconv.ParseFloat(digits(n), 64); err == nil {
			return f
		}
	case kindBool:
		if on, ok := truth(n); ok {
			return on
		}
	}
	return n.text
}
