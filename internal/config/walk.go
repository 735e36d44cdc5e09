package config

import (
	"reflect"
	"slices"
	"sort"
	"strconv"
)

// keyOf is the key of a struct's field, "" where it has none.
func keyOf(f reflect.StructField) string {
	if k := f.Tag.Get("yaml"); k != "-" {
		return k
	}
	return ""
}

func keysOf(t reflect.Type) []string {
	var keys []string
	for f := range t.Fields() {
		if k := keyOf(f); k != "" {
			keys = append(keys, k)
		}
	}
	return keys
}

// leaf is one value of a Config that is shown, set and checked as a whole.
type leaf struct {
	key string
	v   reflect.Value
	tag reflect.StructTag
}

// leaves calls fn for each value below v, in the order of the structs and of
// the keys of maps.
func leaves(v reflect.Value, key string, tag reflect.StructTag, fn func(leaf)) {
	switch {
	case v.Type() == typeSecretRef || v.Type() == typeValue:
		fn(leaf{key, v, tag})
	case v.Kind() == reflect.Pointer:
		if !v.IsNil() {
			leaves(v.Elem(), key, tag, fn)
		}
	case v.Kind() == reflect.Struct:
		for f, fv := range v.Fields() {
			if k := keyOf(f); k != "" {
				leaves(fv, join(key, k), f.Tag, fn)
			}
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			leaves(v.Index(i), key+"["+strconv.Itoa(i)+"]", tag, fn)
		}
	case v.Kind() == reflect.Map:
		names := v.MapKeys()
		sort.Slice(names, func(i, j int) bool { return names[i].String() < names[j].String() })
		for _, n := range names {
			leaves(v.MapIndex(n), join(key, n.String()), tag, fn)
		}
	default:
		fn(leaf{key, v, tag})
	}
}

// keysNamed lists the paths of all keys called name, for hints.
func keysNamed(name string) []string {
	var found []string
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			if t.Kind() == reflect.Slice {
				path += "[]"
			}
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || t == typeValue || t == typeSecretRef {
			return
		}
		for f := range t.Fields() {
			k := keyOf(f)
			if k == "" {
				continue
			}
			if k == name {
				found = append(found, join(path, k))
			}
			walk(f.Type, join(path, k))
		}
	}
	walk(reflect.TypeFor[Config](), "")
	slices.Sort(found)
	return found
}
