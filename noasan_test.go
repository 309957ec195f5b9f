//go:build !asan

package libevent_test

// asanEnabled says that the address sanitizer watches our C code.
const asanEnabled = false
