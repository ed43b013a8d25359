package admin

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"

	"sluice/internal/core/secret"
)

// object returns a part of the configuration as a JSON object. Secrets redact themselves when they are marshalled; this
// takes care of those that stand in the midst of plain values: passwords in URLs, fields that carry credentials, and all
// options of plug-ins, of which nobody knows what they are.
func object(v any) map[string]any {
	text, err := json.Marshal(v)
	if err != nil {
		return map[string]any{} // the configuration has nothing that does not marshal
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // priorities do not fit into a float
	out := map[string]any{}
	if err := d.Decode(&out); err != nil {
		return map[string]any{}
	}
	if p, ok := out["plugin"]; ok {
		out["plugin"] = hide(p)
	}
	return redact(out).(map[string]any)
}

// password finds user:password@ in anything that looks like a URL.
var password = regexp.MustCompile(`(\w://[^\s/:@?#]*):[^\s/@?#]*@`)

func redactText(s string) string {
	if !strings.Contains(s, "@") {
		return s
	}
	return password.ReplaceAllString(s, "$1:"+secret.Redacted+"@")
}

// credentials are header fields whose values let somebody in.
var credentials = map[string]bool{"authorization": true, "proxy-authorization": true, "cookie": true, "set-cookie": true, "x-api-key": true}

func redact(v any) any {
	switch v := v.(type) {
	case string:
		return redactText(v)
	case []any:
		for i := range v {
			v[i] = redact(v[i])
		}
	case map[string]any:
		for key, value := range v {
			if _, isText := value.(string); isText && credentials[strings.ToLower(key)] && value != "" {
				v[key] = secret.Redacted
			} else {
				v[key] = redact(value)
			}
		}
	}
	return v
}

// hide replaces every text and number.
func hide(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = hide(v[i])
		}
		return v
	case map[string]any:
		for key := range v {
			v[key] = hide(v[key])
		}
		return v
	case bool, nil:
		return v
	}
	return secret.Redacted
}
