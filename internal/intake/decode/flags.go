package decode

import (
	"fmt"
	"strings"

	"sluice/internal/core/diag"
)

// flagTree turns command-line arguments into a tree. Differences from the reference, each decided: a repeated list flag
// always appends, a scalar always takes the next word, and a word that is no flag is an error instead of the silent end
// of the command line.
func flagTree(args []string, s *schema) (*pathTree, diag.List) {
	t := newPathTree(doorFlags)
	var findings diag.List
	bad := func(arg, code, message, hint string) {
		findings.Add(diag.Finding{
			Place: diag.Place{Source: "flag " + clip(arg)}, Severity: diag.Error, Code: code, Message: message, Hint: hint,
		})
	}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			if i+1 < len(args) {
				bad(arg, CodeFlagSyntax, "what follows -- is not read: "+clip(strings.Join(args[i+1:], " ")), "")
			}
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			hint := ""
			if _, ok := truth(&node{text: arg}); ok && i > 0 && !strings.Contains(args[i-1], "=") {
				hint = fmt.Sprintf("write %s=%s", clip(args[i-1]), arg)
			}
			bad(arg, CodeFlagSyntax, fmt.Sprintf("%q is not a flag", clip(arg)), hint)
			continue
		}
		name := strings.TrimPrefix(arg[1:], "-")
		name, text, given := strings.Cut(name, "=")
		if name == "" || name[0] == '-' {
			bad(arg, CodeFlagSyntax, "bad flag syntax: "+clip(arg), "write --name=value")
			continue
		}
		shown := arg[:len(arg)-len(strings.TrimLeft(arg, "-"))] + name
		path, err := checkPath(name)
		if err != nil {
			bad(shown, CodeFlagSyntax, err.Error(), "")
			continue
		}
		leaf := t.leaf(s, path)
		if !given {
			switch {
			case leaf == nil:
				// An unknown flag is reported by the walk. What follows it may be its value.
				if i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
					i++
				}
			case leaf.shape == shapeBool, leaf.shape == shapeStruct, leaf.shape == shapeMap, leaf.shape == shapeStringMap, leaf.shape == shapeFreeMap:
				text = "true"
			case i+1 == len(args) || strings.HasPrefix(args[i+1], "--"):
				bad(shown, CodeFlagSyntax, "flag needs an argument: -"+clip(name), "write "+shown+"=value")
				continue
			default:
				i++
				text = args[i]
			}
		}
		t.insert(s, path, text, t.source("flag "+clip(shown)))
	}
	t.finish()
	return t, findings
}
