// Package browser has no code: its tests look at the status page, at reports and
// at the page of the sandbox with a real browser. It is a module of its own, so
// that what drives the browser is nobody's dependency.
package browser
