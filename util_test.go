package libevent_test

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/go-libevent/libevent"
)

func TestAddressesKeepTheirMeaningInC(t *testing.T) {
	interfaces, err := net.Interfaces()
	if err != nil || len(interfaces) == 0 {
		t.Skip("no network interface: ", err)
	}
	first := interfaces[0]
	number := netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone("4000000000"), 1)
	for _, tt := range []struct{ have, want netip.AddrPort }{
		{netip.MustParseAddrPort("127.0.0.1:80"), netip.MustParseAddrPort("127.0.0.1:80")},
		{netip.MustParseAddrPort("255.254.253.252:65535"), netip.MustParseAddrPort("255.254.253.252:65535")},
		{netip.MustParseAddrPort("0.0.0.0:0"), netip.MustParseAddrPort("0.0.0.0:0")},
		{netip.MustParseAddrPort("[::1]:258"), netip.MustParseAddrPort("[::1]:258")},
		{netip.MustParseAddrPort("[102:304:506:708:90a:b0c:d0e:f10]:1"), netip.MustParseAddrPort("[102:304:506:708:90a:b0c:d0e:f10]:1")},
		{netip.MustParseAddrPort("[::ffff:1.2.3.4]:1"), netip.MustParseAddrPort("[::ffff:1.2.3.4]:1")},
		{
			netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone(first.Name), 9),
			netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone(first.Name), 9),
		},
		{number, number}, // no interface has it
	} {
		got, err := libevent.ThroughSockaddr(tt.have, 0)
		if err != nil || got != tt.want {
			t.Errorf("%v becomes %v, %v", tt.have, got, err)
		}
		if got, _ := libevent.ThroughSockaddr(tt.have, 1); got.IsValid() {
			t.Errorf("%v cut short becomes %v", tt.have, got)
		}
	}
	for _, ap := range []netip.AddrPort{
		{},
		netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone("no such zone"), 1),
		netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone("0"), 1),
		netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone(first.Name+"\x00"), 1),
	} {
		if got, err := libevent.ThroughSockaddr(ap, 0); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%v becomes %v, %v", ap, got, err)
		}
	}
}

func TestUnixPathsKeepTheirMeaningInC(t *testing.T) {
	for _, tt := range []struct {
		have, want string
		err        error
	}{
		{"/tmp/socket", "/tmp/socket", nil},
		{"relative", "relative", nil},
		{strings.Repeat("x", 107), strings.Repeat("x", 107), nil},
		{strings.Repeat("x", 108), "", syscall.EINVAL},
		{"@name", "@name", nil},
		{"\x00name", "@name", nil},
		{"@na\x00me", "@na\x00me", nil},
		{"@" + strings.Repeat("x", 107), "@" + strings.Repeat("x", 107), nil},
		{"@" + strings.Repeat("x", 108), "", syscall.EINVAL},
		{"", "", syscall.EINVAL},
		{"a\x00b", "", syscall.EINVAL},
		{"a\x00", "", syscall.EINVAL},
	} {
		got, err := libevent.PathThroughSockaddr(tt.have)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%q becomes %q, %v", tt.have, got, err)
		}
	}
}
