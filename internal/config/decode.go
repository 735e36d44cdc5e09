package config

import (
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// loader is one Load under way.
type loader struct {
	opts   LoadOptions
	cfg    *Config
	faults []Fault
	bad    map[string]bool // keys with a fault of their own: no further complaint about them
	nodes  int
}

func (l *loader) fault(o Origin, key, message, hint string) {
	if !l.bad[key] {
		l.faults = append(l.faults, Fault{Origin: o, Key: key, Message: message, Hint: hint})
	}
	if key != "" {
		l.bad[key] = true
	}
}

func (l *loader) faultAt(n *yaml.Node, key, message, hint string) {
	l.fault(l.at(n), key, message, hint)
}

func (l *loader) at(n *yaml.Node) Origin {
	return Origin{File: l.cfg.File, Line: n.Line, Column: n.Column}
}

func kindOf(n *yaml.Node) string {
	if n.Kind == yaml.MappingNode {
		return "keys"
	}
	if n.Kind == yaml.SequenceNode {
		return "a list"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "a truth value"
	case "!!null":
		return "no value"
	}
	return "text"
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// pair is a key of a mapping with its value.
type pair struct{ key, value *yaml.Node }

// pairs lists a mapping's keys, reporting those that are no text or appear
// twice.
func (l *loader) pairs(n *yaml.Node, key string) []pair {
	var ps []pair
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := l.resolve(n.Content[i], key)
		if k == nil {
			return ps
		}
		if k.Kind != yaml.ScalarNode || isNull(k) {
			hint := "write a plain word before the colon"
			if k.Kind == yaml.MappingNode {
				hint = `quote values that begin with a brace: "{{since}}"`
			}
			l.faultAt(k, key, "a key is "+kindOf(k), hint)
			continue
		}
		if k.Value == "<<" && k.Style == 0 {
			l.faultAt(k, join(key, "<<"), "merging mappings is not supported", "write the keys out")
			continue
		}
		if line, dup := seen[k.Value]; dup {
			l.faultAt(k, join(key, k.Value), "appears twice, first on line "+strconv.Itoa(line), "remove one of both")
			continue
		}
		seen[k.Value] = k.Line
		ps = append(ps, pair{k, n.Content[i+1]})
	}
	return ps
}

func join(prefix, key string) string {
	if prefix == "" {
		return key
	}
	return prefix + "." + key
}

// structure reads a mapping into the struct v.
func (l *loader) structure(n *yaml.Node, v reflect.Value, key string) {
	for _, p := range l.pairs(n, key) {
		var field reflect.StructField
		found := false
		for f := range v.Type().Fields() {
			if keyOf(f) == p.key.Value && p.key.Value != "" {
				field, found = f, true
			}
		}
		k := join(key, p.key.Value)
		if !found {
			l.unknown(p.key, v.Type(), k)
			continue
		}
		l.value(p.value, v.FieldByIndex(field.Index), field.Tag, k)
	}
}

func (l *loader) unknown(k *yaml.Node, t reflect.Type, key string) {
	hint := ""
	if s := nearest(k.Value, keysOf(t)); s != "" {
		hint = "did you mean " + s + "?"
	} else if elsewhere := keysNamed(k.Value); len(elsewhere) > 0 && len(elsewhere) < 5 {
		hint = "did you mean " + strings.Join(elsewhere, " or ") + "?"
	} else {
		hint = "known here: " + strings.Join(keysOf(t), ", ")
	}
	l.faultAt(k, key, "unknown key", hint)
}

// defaulter is a section that has defaults of its own wherever it appears.
type defaulter interface{ setDefaults(c *Config) }

// value reads the node n into v.
func (l *loader) value(n *yaml.Node, v reflect.Value, tag reflect.StructTag, key string) {
	if n = l.resolve(n, key); n == nil {
		return
	}
	l.cfg.origins[key] = l.at(n)
	if n.Style&yaml.TaggedStyle != 0 {
		l.faultAt(n, key, "has a YAML tag (!...)", "quote the value if it begins with an exclamation mark")
		return
	}
	switch v.Type() {
	case typeSecretRef:
		l.secret(n, v, key)
		return
	case typeValue:
		if n.Kind != yaml.ScalarNode {
			l.secret(n, v.FieldByName("Secret"), key)
			return
		}
		v = v.FieldByName("Text")
	}
	switch v.Kind() {
	case reflect.Struct:
		if l.expect(n, yaml.MappingNode, key) {
			l.structure(n, v, key)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		if d, ok := reflect.TypeAssert[defaulter](v); ok {
			d.setDefaults(l.cfg)
		}
		if l.expect(n, yaml.MappingNode, key) {
			l.structure(n, v.Elem(), key)
		}
	case reflect.Slice:
		l.list(n, v, tag, key)
	case reflect.Map:
		l.table(n, v, tag, key)
	default:
		l.scalar(n, v, tag, key)
	}
}

// expect tells whether n is of the kind wanted; no value at all passes for an
// empty one, because a section whose keys are commented out is one.
func (l *loader) expect(n *yaml.Node, kind yaml.Kind, key string) bool {
	if isNull(n) {
		return false
	}
	if n.Kind == kind {
		return true
	}
	wanted, hint := "keys", "put its keys below it, indented"
	if kind == yaml.SequenceNode {
		wanted, hint = "a list", "write [one, two], or one item a line after a dash"
	}
	l.faultAt(n, key, "is "+kindOf(n)+" instead of "+wanted, hint)
	return false
}

func (l *loader) list(n *yaml.Node, v reflect.Value, tag reflect.StructTag, key string) {
	if !l.expect(n, yaml.SequenceNode, key) {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		elem := v.Index(i)
		if d, ok := reflect.TypeAssert[defaulter](elem.Addr()); ok {
			d.setDefaults(l.cfg)
		}
		l.value(item, elem, tag, key+"["+strconv.Itoa(i)+"]")
	}
}

func (l *loader) table(n *yaml.Node, v reflect.Value, tag reflect.StructTag, key string) {
	if !l.expect(n, yaml.MappingNode, key) {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, p := range l.pairs(n, key) {
		elem := reflect.New(v.Type().Elem()).Elem()
		l.value(p.value, elem, tag, join(key, p.key.Value))
		v.SetMapIndex(reflect.ValueOf(p.key.Value), elem)
	}
}

func (l *loader) scalar(n *yaml.Node, v reflect.Value, tag reflect.StructTag, key string) {
	switch {
	case n.Kind != yaml.ScalarNode:
		hint := "give one value"
		if n.Kind == yaml.MappingNode && len(n.Content) > 0 && n.Content[0].Kind == yaml.MappingNode {
			hint = `quote values that begin with a brace: "{{since}}"`
		}
		l.faultAt(n, key, "is "+kindOf(n)+" instead of one value", hint)
		return
	case isNull(n):
		l.faultAt(n, key, "has no value", `give one, or remove the key (or write "" for an empty text)`)
		return
	}
	// A text may be written without quotes where YAML sees a number or a date
	// (user: 007): it is taken as written.
	quoted := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0
	if v.Kind() == reflect.String && n.ShortTag() == "!!bool" {
		l.faultAt(n, key, "is a truth value instead of text", `put it in quotes: "`+n.Value+`"`)
		return
	}
	if v.Kind() != reflect.String && v.Type() != typeDuration && quoted {
		l.faultAt(n, key, "is text instead of "+wantedOf(v), "remove the quotes")
		return
	}
	if p := l.setText(v, tag, n.Value, filepath.Dir(l.cfg.File)); p != nil {
		if v.Kind() != reflect.String && n.ShortTag() == "!!str" && v.Type() != typeDuration && v.Kind() != reflect.Bool {
			p.message = "is text instead of " + wantedOf(v)
		}
		l.faultAt(n, key, p.message, p.hint)
	}
}

func wantedOf(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number"
	default:
		return "a whole number"
	}
}

const secretHint = "a secret never sits in the configuration: write {file: PATH}, {env: NAME}, {keyring: NAME}, {credential: NAME} or {command: [PROGRAM, ARGUMENT]}"

// secret reads a secret reference. What stands in its place is never quoted.
func (l *loader) secret(n *yaml.Node, v reflect.Value, key string) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		l.faultAt(n, key, "is "+kindOf(n)+" instead of a secret reference", secretHint)
		return
	}
	l.structure(n, v, key)
	ref, ok := reflect.TypeAssert[SecretRef](v)
	if given := ref.given(); ok && len(given) != 1 && !l.badBelow(key) {
		msg := "names no place"
		if len(given) > 1 {
			msg = "names several places: " + strings.Join(given, ", ")
		}
		l.faultAt(n, key, msg, "exactly one of file, env, keyring, credential, command")
	}
}

// badBelow tells whether key, or a key inside it, has a fault.
func (l *loader) badBelow(key string) bool {
	for k, bad := range l.bad {
		if bad && (k == key || strings.HasPrefix(k, key+".") || strings.HasPrefix(k, key+"[")) {
			return true
		}
	}
	return false
}

// badAbove tells whether key, or a section around it, has a fault.
func (l *loader) badAbove(key string) bool {
	for {
		if l.bad[key] {
			return true
		}
		i := strings.LastIndexAny(key, ".[")
		if i < 0 {
			return false
		}
		key = key[:i]
	}
}
