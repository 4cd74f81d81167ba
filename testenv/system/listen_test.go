package system

import (
	"maps"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
)

// listeners are TCP clients in the LAN that only listen, one in each family.
type listeners [2]*session

func (g *gateway) listeners() (l listeners) {
	g.Helper()
	for _, f := range failover.Families {
		l[f] = g.session(g.Client, traffic.TCPListen, lab.Servers[f], 50)
	}
	for _, s := range l {
		g.Until("the server to be heard", func() bool { return s.heardSince(time.Time{}) })
	}
	return l
}

// heardSince reports whether the server was heard from an instant on.
func (s *session) heardSince(at time.Time) bool {
	return s.Answered(1, at, func(netip.Addr) bool { return true })
}

// wereReset waits until both have had their reset.
func (l listeners) wereReset(g *gateway, what string, onset time.Time) {
	g.Helper()
	for f, s := range l {
		var breaks []traffic.Break
		g.Until(what+": the "+failover.Family(f).String()+" listener to be told", func() bool {
			breaks = s.Breaks()
			return len(breaks) > 0
		})
		if took := breaks[0].At.Sub(onset); took > 20*time.Second {
			g.Errorf("%s: %s listener waited for %v", what, failover.Family(f), took)
		}
		if b := breaks[0]; !strings.Contains(b.Err, unix.ECONNRESET.Error()) || b.Reset.IsZero() {
			g.Errorf("%s: %s listener ended with %s, reset at %v", what, failover.Family(f), b.Err, b.Reset)
		}
		g.Logf("%s: %s listener: reset after %v", what, failover.Family(f), breaks[0].At.Sub(onset).Round(time.Millisecond))
	}
}

// A client that only listens, to a download or to a log, has its reset soon after the
// verdict, and not when it speaks some day; also where the kernel took the connection's entry
// before there was a verdict.
func TestListenersAreTold(t *testing.T) {
	for _, spec := range []string{"black-hole", "carrier", "interface-down", "address-removal"} {
		t.Run(spec, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, usual, tellsRoster)
				g.leaks = spec == "address-removal" // what the kernel masquerades without an address
				l := g.listeners()
				g.listedClients()
				fault := g.Break(fiber, spec)
				l.wereReset(g, spec, fault.Onset)
				g.tellsPokes()
			})
		})
	}
	t.Run("interface gone", func(t *testing.T) {
		scenario(t, func(t *trial) {
			g := startGateway(t, usual, tellsRoster)
			l := g.listeners()
			g.listedClients()
			onset := time.Now()
			g.shell("ip link del wan0")
			l.wereReset(g, "interface gone", onset)
			g.tellsPokes()
		})
	})
}

// tellsRoster has the daemon's log tell whom it knows.
const tellsRoster = quickRecovery + "log: {level: debug}\n"

// listedClients waits until the daemon knows both listeners.
func (g *gateway) listedClients() {
	g.Helper()
	g.Until("the daemon to know who listens", func() bool {
		return regexp.MustCompile(`in use.*\bknown=2\b`).MatchString(g.daemon.Log())
	})
}

// tellsPokes wants the events to tell that one client was made to speak in each family.
func (g *gateway) tellsPokes() {
	g.Helper()
	g.Until("the events to tell of the pokes", func() bool {
		poked := map[string]int64{}
		for _, e := range g.Events() {
			if d, ok := e.Detail.(control.SessionsDetail); ok && d.Poked != nil {
				poked[d.Uplink+" "+d.Family] += *d.Poked
			}
		}
		return maps.Equal(poked, map[string]int64{"fiber ipv4": 1, "fiber ipv6": 1})
	})
}

// So has one whose uplink the configuration removes, while what it listens to still comes.
func TestListenersOfARemovedUplink(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, tellsRoster)
		l := g.listeners()
		g.listedClients()
		g.leaks = true // what the gateway says to what still comes by fiber, which is nobody's now
		onset := time.Now()
		g.put(strings.Replace(tellsRoster, "{name: fiber", "{name: fiber, enabled: false", 1) + "policies: [{name: default, tiers: [lte]}]\n")
		l.wereReset(g, "removed", onset)
	})
}

// One whose uplink has its address back in a moment goes on listening.
func TestListenersOverARenewal(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, tellsRoster)
		l := g.listeners()
		g.listedClients()
		g.shell("ip -4 addr del 203.0.113.2/24 dev wan0; sleep 0.2; ip -4 addr add 203.0.113.2/24 dev wan0; " +
			"ip route add default via 203.0.113.1 dev wan0 proto dhcp metric 100 || true")
		since := time.Now().Add(time.Second)
		g.Until("news to come again", func() bool { return l[failover.IPv4].heardSince(since) })
		if b := l[failover.IPv4].Breaks(); len(b) > 0 {
			g.Errorf("the listener ended: %+v", b)
		}
	})
}
