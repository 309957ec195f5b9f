module github.com/go-libevent/libevent

go 1.24
