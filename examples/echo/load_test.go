package main

import (
	"net"
	"strings"
	"testing"
	"time"
)

// Servers that do not give back what they get must not go unnoticed.
func TestLoadNoticesWrongAnswers(t *testing.T) {
	tests := []struct {
		name   string
		answer func(message []byte) []byte // nil: the server hangs up
		want   string
	}{
		{"a byte changed", func(m []byte) []byte { m[len(m)-1]++; return m }, "not what was sent"},
		{"a byte too many", func(m []byte) []byte { return append(m, 0) }, "not what was sent"},
		{"another message", func(m []byte) []byte { return make([]byte, len(m)) }, "not what was sent"},
		{"hanging up", func(m []byte) []byte { return nil }, "closed a connection"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			const size = 64
			ln, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					go func() {
						defer conn.Close()
						message := make([]byte, size)
						for {
							if n, err := conn.Read(message); err != nil || n != size {
								return
							}
							answer := test.answer(message)
							if answer == nil {
								return
							}
							if _, err := conn.Write(answer); err != nil {
								return
							}
						}
					}()
				}
			}()
			l, err := newLoad(2, size)
			if err != nil {
				t.Fatal(err)
			}
			defer l.close()
			err = l.run(ln.Addr().(*net.TCPAddr).AddrPort(), time.Hour)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("run = %v, want %q", err, test.want)
			}
		})
	}
}

func TestPercentile(t *testing.T) {
	l, err := newLoad(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	for us := range 200 {
		l.count(time.Duration(us+1) * time.Microsecond)
	}
	l.count(time.Hour)
	for p, want := range map[int]time.Duration{
		1: 3 * time.Microsecond, 50: 101 * time.Microsecond, 99: 199 * time.Microsecond, 100: maxLatency,
	} {
		if got := l.percentile(p); got != want {
			t.Errorf("percentile(%d) = %v, want %v", p, got, want)
		}
	}
}
