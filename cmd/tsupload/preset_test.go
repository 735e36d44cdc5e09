package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/source"
)

// The configuration takes the names that the sources know, in their order.
func TestPresetNames(t *testing.T) {
	t.Parallel()
	f, ok := reflect.TypeFor[config.Source]().FieldByName("Preset")
	if !ok {
		t.Fatal("a source has no preset")
	}
	want := append([]string{source.PresetAuto}, source.Presets()...)
	if diff := cmp.Diff(want, strings.Split(f.Tag.Get("enum"), ",")); diff != "" {
		t.Error(diff)
	}
}
