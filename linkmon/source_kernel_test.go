package linkmon

import (
	"strings"
	"testing"

	"swerve/failover"
)

// A default route for one source gives a gateway only where none is for all of them.
// Each step has the expected gateway and prefixes, and the command that leads there.
func TestSourceSpecificDefaults(t *testing.T) {
	ns, _ := wan(t)
	o := observe(t, ns, uplink("a", "w0"))
	for _, step := range []string{
		"fe80::5 boot 2001:db8:1b00::/56: add default from 2001:db8:1b00::/56 via fe80::5 dev w0 metric 512",
		"fe80::5 boot 2001:db8::/64 2001:db8:1b00::/56: add default from 2001:db8::/64 via fe80::6 dev w0 metric 600",
		"fe80::7 boot 2001:db8::/64 2001:db8:1b00::/56: add default via fe80::7 dev w0 metric 9000",
		"fe80::7 boot 2001:db8::/64: del default from 2001:db8:1b00::/56",
		"fe80::7 boot 2001:db8::/64: add default from fd00:1::/48 via fe80::5 dev w0", // unique local addresses are nobody's
		"fe80::7 boot 2001:db8::/64: add default from 2001:db8:cc00::/56 via fe80::5 dev w1",
		"fe80::6 boot 2001:db8::/64: del default via fe80::7 dev w0",
	} {
		want, command, _ := strings.Cut(step, ": ")
		runIP(t, ns, "-6 route "+command)
		o.catchUp(ns)
		o.untilLink("a", want, func(l failover.Link) bool {
			f := l.Family[failover.IPv6]
			got := f.Gateway.String() + " " + f.Source
			for _, p := range f.Prefixes {
				got += " " + p.String()
			}
			return got == want
		})
	}
	// The address of the source comes first, since only packets with it have a way.
	runIP(t, ns, "-6 route flush default")
	runIP(t, ns, "-6 addr add 2001:db8:1b00::2/64 dev w0 nodad")
	runIP(t, ns, "-6 route add default from 2001:db8:1b00::/56 via fe80::5 dev w0")
	o.untilLink("a", "the address of the source", func(l failover.Link) bool {
		a := l.Family[failover.IPv6].Addresses
		return len(a) == 2 && a[0].Addr().String() == "2001:db8:1b00::2"
	})
	if d := o.m.Defaults(); len(d) != 1 || d[0].Interface != "w0" || d[0].Family != failover.IPv6 {
		t.Errorf("defaults %+v", d)
	}
}
