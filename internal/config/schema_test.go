package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite golden files and the schema")

// generator turns the structs of config.go into a JSON Schema; their doc
// comments become the descriptions.
type generator struct{ docs map[string]string } // "API.URL" -> text

func (g generator) object(t reflect.Type, defaults reflect.Value) map[string]any {
	props, required := map[string]any{}, []string{}
	for f := range t.Fields() {
		key := keyOf(f)
		if key == "" {
			continue
		}
		var def reflect.Value
		if defaults.IsValid() {
			def = defaults.FieldByIndex(f.Index)
		}
		p := g.value(f.Type, f.Tag, def)
		p["description"] = g.docs[t.Name()+"."+f.Name]
		props[key] = p
		if f.Tag.Get("required") == "true" {
			required = append(required, key)
		}
	}
	o := map[string]any{"type": "object", "properties": props, "additionalProperties": false}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}

func (g generator) value(t reflect.Type, tag reflect.StructTag, def reflect.Value) map[string]any {
	number := func(s string) json.Number { return json.Number(s) }
	var s map[string]any
	switch {
	case t == typeSecretRef:
		return map[string]any{"$ref": "#/$defs/secret"}
	case t == typeValue:
		return map[string]any{"anyOf": []any{map[string]any{"type": "string"}, map[string]any{"$ref": "#/$defs/secret"}}}
	case t == typeDuration:
		s = map[string]any{"type": "string", "pattern": `^(0|([0-9]+d)?([0-9.]+(ns|us|µs|ms|s|m|h))*)$`}
		if def.IsValid() && !def.IsZero() {
			s["default"] = text(def)
		}
		return s
	case t.Kind() == reflect.Pointer:
		d := reflect.New(t.Elem())
		if sd, ok := reflect.TypeAssert[defaulter](d); ok {
			sd.setDefaults(Default())
		}
		return g.object(t.Elem(), d.Elem())
	case t.Kind() == reflect.Struct:
		return g.object(t, def)
	case t.Kind() == reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": g.value(t.Elem(), "", reflect.Value{})}
	case t.Kind() == reflect.Slice:
		elem := reflect.New(t.Elem())
		if sd, ok := reflect.TypeAssert[defaulter](elem); ok {
			sd.setDefaults(Default())
		}
		d := elem.Elem()
		if d.Kind() != reflect.Struct {
			d = reflect.Value{}
		}
		return map[string]any{"type": "array", "items": g.value(t.Elem(), tag, d)}
	case t.Kind() == reflect.Bool:
		s = map[string]any{"type": "boolean"}
	case t.Kind() == reflect.String:
		s = map[string]any{"type": "string"}
		if e := enumOf(tag); e != nil {
			s["enum"] = e
		}
	case t.Kind() == reflect.Float64:
		s = map[string]any{"type": "number", "minimum": number(tag.Get("min")), "maximum": number(tag.Get("max"))}
	default:
		s = map[string]any{"type": "integer", "minimum": number(tag.Get("min")), "maximum": number(tag.Get("max"))}
	}
	if def.IsValid() && !def.IsZero() {
		s["default"] = def.Interface()
	}
	return s
}

func docs(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		if ts, ok := n.(*ast.TypeSpec); ok {
			if st, ok := ts.Type.(*ast.StructType); ok {
				for _, f := range st.Fields.List {
					for _, name := range f.Names {
						found[ts.Name.Name+"."+name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
					}
				}
			}
		}
		return true
	})
	return found
}

func TestSchema(t *testing.T) {
	t.Parallel()
	g := generator{docs(t)}
	root := g.object(reflect.TypeFor[Config](), reflect.ValueOf(Default()).Elem())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "tsupload configuration"
	secret := g.object(typeSecretRef, reflect.Value{})
	secret["minProperties"], secret["maxProperties"] = 1, 1
	root["$defs"] = map[string]any{"secret": secret}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("schema.json", buf.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(Schema(), buf.Bytes()) {
		t.Error("schema.json is out of date: go generate ./internal/config")
	}
}

// Every key has a manual entry: a sentence that ends with a full stop.
func TestManual(t *testing.T) {
	t.Parallel()
	entries := docs(t)
	var walk func(reflect.Type)
	walk = func(rt reflect.Type) {
		for rt.Kind() == reflect.Pointer || rt.Kind() == reflect.Slice {
			rt = rt.Elem()
		}
		if rt.Kind() != reflect.Struct || rt == typeValue {
			return
		}
		for f := range rt.Fields() {
			if keyOf(f) == "" {
				continue
			}
			if d := entries[rt.Name()+"."+f.Name]; !strings.HasSuffix(d, ".") {
				t.Errorf("%s.%s: manual entry %s", rt.Name(), f.Name, strconv.Quote(d))
			}
			walk(f.Type)
		}
	}
	walk(reflect.TypeFor[Config]())
}
