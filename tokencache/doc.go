// Package tokencache gets, keeps and drops an OAuth 2.0 client-credentials access token.
//
// A [Cache] answers from memory, then from its [Store], then from the authorization server. A [Transport] puts the
// token on requests and repeats a request once when the API no longer accepts the token it was sent with.
//
// Invariants:
//
//   - One token serves every caller until it nears its end: goroutines share one fetch, processes on one machine share
//     one file under one lock. A caller may leave early; the fetch it started goes on for the others.
//   - A token request is never sent in two styles, and an answer of the kind "no" is never asked for again before the
//     credentials change or five minutes have passed, in this process or another.
//   - Expiry is counted from the moment before the request and from expires_in, never from claims of the token.
//   - A store that cannot be read or written is a miss and a warning, never a failure.
//   - [Cache.Invalidate] drops the very token it is given and no other, so many requests refused at once cost one fetch.
//   - A request that reaches the base transport has no GetBody: net/http cannot repeat it behind our back.
//   - The token goes to the listed origins only. No error, log line or diagnosis holds a token or a secret.
package tokencache
