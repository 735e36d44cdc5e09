package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"

	"go.yaml.in/yaml/v4"
)

// maxNodes bounds the work that aliases of aliases can make of a small file.
const maxNodes = 100_000

// parse turns the file into its root mapping; nil where it is empty or no
// YAML at all.
func (l *loader) parse(data []byte) *yaml.Node {
	// Keys that appear twice are our own to report: the library stops at the first.
	yl, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithUniqueKeys(false))
	if err != nil {
		l.fault(Origin{File: l.cfg.File}, "", err.Error(), "")
		return nil
	}
	var doc, second yaml.Node
	switch err := yl.Load(&doc); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		l.syntax(err)
		return nil
	}
	switch err := yl.Load(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		l.syntax(err)
	default:
		l.faultAt(&second, "", "the file holds a second document", "remove what follows the line ---")
	}
	if len(doc.Content) != 1 {
		return nil
	}
	root := l.resolve(doc.Content[0], "")
	switch {
	case root == nil || root.ShortTag() == "!!null" && root.Kind == yaml.ScalarNode:
		return nil
	case root.Kind != yaml.MappingNode:
		l.faultAt(root, "", "the file holds "+kindOf(root)+" instead of keys", "begin with a section such as api: or sources:")
		return nil
	}
	return root
}

// inQuotes is text of the file inside the library's messages; it may be a
// secret that was written where none belongs.
var inQuotes = regexp.MustCompile(` '[^']*'`)

func (l *loader) syntax(err error) {
	o, msg := Origin{File: l.cfg.File}, "is not YAML"
	if le, ok := errors.AsType[*yaml.LoadError](err); ok {
		o.Line, o.Column, msg = le.Mark.Line, le.Mark.Column, le.Message
		if le.Stage == yaml.ComposerStage {
			msg = inQuotes.ReplaceAllString(msg, "")
		}
		if le.ContextMsg != "" {
			msg += " (" + le.ContextMsg + ")"
		}
	}
	l.fault(o, "", msg, "check indentation (spaces, no tabs), and quote values with special characters")
}

// resolve follows aliases, and nil where there are too many of them.
func (l *loader) resolve(n *yaml.Node, key string) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil && l.nodes <= maxNodes {
		l.nodes++
		n = n.Alias
	}
	if l.nodes++; l.nodes > maxNodes {
		if l.nodes == maxNodes+1 {
			l.faultAt(n, key, "the file is too large once its aliases are written out", "")
		}
		return nil
	}
	return n
}
