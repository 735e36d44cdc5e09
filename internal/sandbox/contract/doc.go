// Package contract has no code: its tests hold the sandbox's Timesheets API
// against its own OpenAPI document, with a validator of other people's. It is a
// module of its own, so that what validates is nobody's dependency.
package contract
