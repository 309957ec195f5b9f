module github.com/go-libevent/libevent/examples/interop/hiredis

go 1.24

require github.com/go-libevent/libevent v0.0.0

require github.com/mattn/go-pointer v0.0.1 // indirect

replace github.com/go-libevent/libevent => ../../..
