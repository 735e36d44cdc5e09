//go:build !crashpoints

// Package crash marks the places at which tests let the program die, so that
// what a crash there leaves can be looked at. In an ordinary build a Point
// does nothing; with the build tag crashpoints the process ends at the Point
// that the environment variable TSUPLOAD_CRASH names, as if killed; named with
// "panic:" before it, the Point panics.
package crash

// Point is a place to die at.
func Point(string) {}
