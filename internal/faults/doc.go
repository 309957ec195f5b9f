// Package faults makes calls of the C library fail, for tests that want to see what
// libevent and the binding do then.
//
// It stands in front of the C library in the program that imports it: what libevent and
// the binding's own C call is then here, and goes on to the kernel, or fails as planned.
// Go's own system calls do not come here.
package faults
