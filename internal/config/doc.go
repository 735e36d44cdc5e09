// Package config is the one place where tsupload's settings are read: defaults
// in code, then the YAML file, then the environment, then flags, each beating
// the one before.
//
// What holds:
//
//   - All faults are reported at once, as an *Error, each with its place, its
//     key and what to do. A Config that Load returns has none.
//   - Every value knows where it came from (Config.Origin).
//   - A secret is never part of a Config: a SecretRef says where it is, and a
//     Resolver reads it each time it is needed. What it yields prints as
//     REDACTED.
//   - Everything is driven by the structs in config.go: the yaml tag is the
//     key, the doc comment the manual entry, and the tags enum, min, max,
//     check and required the limits. The file's decoder, the environment's
//     names, Show and the JSON Schema all come from them.
package config
