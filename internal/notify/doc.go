// Package notify tells people what a schedule would hide: pings a check when a
// run starts and ends, and sends messages when a state changes: a source that
// fails, entries that wait for a person, entries that do not come, and that any
// of it is over.
//
// What was told is kept in a small file in the state directory, so that
// run --once and the daemon tell the same thing once between them. A message
// that did not arrive is told again by the next run; one that arrived while the
// process died is told twice rather than never.
//
// Nothing here changes a run. What goes wrong is logged, and a URL, which is a
// secret, is never among it: only its host. Messages carry counts and names of
// sources; only those about silence name a person, by the user id.
package notify
