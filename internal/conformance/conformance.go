// Package conformance holds the table of the behaviours that libevent's own regression
// suite checks, and its test holds the table against this module's tests.
//
// A test that restates one bears a line "// Upstream: group/name" in its comment.
package conformance
