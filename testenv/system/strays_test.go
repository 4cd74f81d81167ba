package system

import (
	"fmt"
	"strings"
	"testing"

	"swerve/testenv/lab"
	"swerve/testenv/wire"
)

// misled makes the gateway send one packet with fiber's address by lte, by a static
// route of the owner's.
const misled = `ip -%[1]d route add %[2]s via %[3]s dev wan1
ping -c1 -W2 -I %[4]s %[2]s || echo no answer
ip -%[1]d route del %[2]s via %[3]s dev wan1`

// mislead sends such a packet in both families.
func mislead(l *lab.Lab) (out string, err error) {
	up, other := l.Uplinks[lte], l.Uplinks[fiber]
	four := fmt.Sprintf(misled, 4, lab.Server4, up.Router4, other.Address4)
	six := fmt.Sprintf(misled, 6, lab.Server6, up.Router6, other.Address6)
	return l.Gateway.Run("sh", "-c", four+"\n"+six)
}

// The counters that noStrays reads do count: without a daemon such packets arrive at
// the wrong ISP.
func TestStraysAreSeen(t *testing.T) {
	scenario(t, func(t *trial) {
		l := lab.NewTest(t, usual)
		if out, err := mislead(l); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if n := l.Wire[lte].Counters(wire.ToISP).Foreign; n != 2 {
			t.Errorf("%d packets with a foreign source at lte's ISP, want 2", n)
		}
	})
}

// With a daemon such packets have the address of the uplink by which they leave, and
// are answered.
func TestMisledPackets(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, twoUplinks)
		out, err := mislead(g.Lab)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		g.noStrays()
		if n := strings.Count(out, "1 received"); n != 2 {
			t.Errorf("%d of 2 were answered:\n%s", n, out)
		}
	})
}
