package config

import (
	"bytes"
	_ "embed"
)

//go:generate go test -run ^TestSchema$ -update .

//go:embed schema.json
var schema []byte

// Schema is the JSON Schema of the configuration file, for editors.
func Schema() []byte { return bytes.Clone(schema) }
