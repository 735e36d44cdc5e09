// Package login is how somebody proves who they are to an authorization server: a machine with a signature of its own.
//
// What holds: no error quotes a key, an assertion or a token; an assertion is made for one request and never used twice.
package login
