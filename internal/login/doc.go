// Package login is how a person logs in: with a browser on this machine (authorization code with PKCE on a loopback
// redirect, RFC 7636 and RFC 8252), or with one anywhere (device grant, RFC 8628). And how a machine proves who it is
// without a secret: by signing ([Key]), or with what its platform signed.
//
// Invariants:
//
//   - The listener is bound, on loopback only, before anybody is sent to the login page, and takes one answer.
//   - An answer counts only with the state that was sent, and from the issuer that was asked (RFC 9207).
//   - The verifier leaves this process in the token request alone. No code, state, verifier, device code or token is in
//     an error, a log line or the page that the browser shows.
//   - No error quotes a key or an assertion; a signature is made for one request and never used twice.
//   - Everything ends: with the context, or with the time that a person is given.
package login
