package firewall

import (
	"net/netip"
	"strings"
	"testing"

	"swerve/failover"
)

// blind reports whether the lab's gateway is blind.
func (l *lab) blind() (blind bool) {
	l.t.Helper()
	inside(l.t, l.gw, func() (err error) {
		blind, err = l.kernel.Blind()
		return err
	})
	return blind
}

// A machine that forwards or has open connections, and tracks nothing, is watched for a
// moment; then it shows what it carries without NAT.
func TestUntrackedMachineIsWatched(t *testing.T) {
	for _, f := range failover.Families {
		for _, own := range []bool{false, true} {
			name := f.String() + " forwarded"
			if own {
				name = f.String() + " its own"
			}
			t.Run(name, func(t *testing.T) {
				l := newLab(t)
				p := plans[f]
				if l.blind() {
					t.Error("blind before anything was sent")
				}
				l.carriesLAN(f)
				serveTCP(t, l.net, at(p.host, 5000))
				from, source := l.client, p.client
				if own {
					from, source = l.gw, p.a
				}
				c := dialTCP(t, from, at(p.host, 5000))
				if got, err := askTCP(c); got != source {
					t.Fatalf("before the start the server saw %q, %v", got, err)
				}
				if !l.blind() {
					t.Fatal("not blind, although nothing is tracked")
				}
				inside(t, l.gw, l.kernel.Watch)
				until(t, "a tracked flow", func() bool {
					if got, err := askTCP(c); got != source {
						t.Fatalf("while it is watched the server saw %q, %v", got, err)
					}
					return strings.Contains(l.flows("-p", "tcp"), "dport=5000")
				})
				if l.blind() {
					t.Error("still blind")
				}
				a := l.adopt(1, 2)
				if want := []netip.Prefix{lanOf(f)}; !own && (len(a.Native) != 1 || a.Native[1][0] != want[0]) {
					t.Errorf("adopted %+v", a)
				}
				l.apply()
				if got, err := askTCP(c); got != source {
					t.Errorf("after the start the server saw %q, %v", got, err)
				}
			})
		}
	}
}
