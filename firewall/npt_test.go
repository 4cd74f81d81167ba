package firewall

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

// translating has both uplinks of a lab translate the LAN's prefix to one of their own,
// which the internet routes to the gateway.
func translating(t *testing.T) *lab {
	t.Helper()
	l := newLab(t)
	for i, outside := range outsides {
		u, hop := &l.goal.Uplinks[i], []string{plans[1].a, plans[1].b}[i]
		u.NPT = []PrefixPair{{netip.MustParsePrefix("fd00:1::/64"), netip.MustParsePrefix(outside)}}
		u.Native6 = prefixes(hop + "/64")
		run(t, l.net, "ip", "-6", "route", "add", outside, "via", hop)
	}
	l.apply()
	l.watchWrong()
	return l
}

var outsides = [2]string{"2001:db8:1:50::/64", "2001:db8:2:50::/64"}

// A host of the LAN goes out with the same address in the uplink's prefix; at a verdict
// its flows move to the other one's, as those of static source NAT do.
func TestPrefixTranslation(t *testing.T) {
	l := translating(t)
	p := plans[failover.IPv6]
	if differences := drift(t, l.gw, l.kernel, Ruleset(l.goal)); len(differences) > 0 {
		t.Errorf("the kernel differs: %q", differences)
	}
	for _, want := range []string{"ip6 saddr fd00:1::/64 snat ip6 prefix to " + outsides[0], "dnat ip6 prefix to fd00:1::/64"} {
		if out := listed(t, l.gw); !strings.Contains(out, want) {
			t.Errorf("nft lists no %q:\n%s", want, out)
		}
	}
	const first, second = "2001:db8:1:50::10", "2001:db8:2:50::10"
	serveUDP(t, l.net, at(p.host, 5000))
	serveTCP(t, l.net, at(p.host, 5000))
	udp, tcp := dialUDP(t, l.client, at(p.host, 5000)), dialTCP(t, l.client, at(p.host, 5000))
	if got := askUDP(t, udp); got != first {
		t.Errorf("UDP left as %s", got)
	}
	if got, err := askTCP(tcp); got != first {
		t.Errorf("TCP left as %s, %v", got, err)
	}
	own := dialFrom(t, l.gw, p.lan, at(p.host, 5000), 0)
	if got, err := askTCP(own); got != "2001:db8:1:50::1" {
		t.Errorf("the gateway's own left as %s, %v", got, err)
	}
	l.lose()
	if got := askUDP(t, udp); got != second {
		t.Errorf("after the verdict UDP left as %s", got)
	}
	if _, err := askTCP(tcp); !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
		t.Errorf("want a reset, got %v", err)
	}
	if got, err := askTCP(dialTCP(t, l.client, at(p.host, 5000))); got != second {
		t.Errorf("after the verdict TCP left as %s, %v", got, err)
	}
	l.regain()
	if got := askUDP(t, udp); got != second {
		t.Errorf("after the return UDP left as %s", got)
	}
	l.noneWrong()
}

// What comes in for the uplink's prefix reaches the host inside, and is answered by that
// uplink, whichever carries. The gateway's own addresses, other hosts' ports that a user
// forwards, and translated hosts' other uplink are not affected.
func TestPrefixTranslationOfWhatComesIn(t *testing.T) {
	l := translating(t)
	p := plans[failover.IPv6]
	serveTCP(t, l.client, at(p.client, 80))
	serveUDP(t, l.client, at(p.client, 80))
	serveUDP(t, l.client, at(p.client, 81))
	l.address(l.gw, "wan1", "2001:db8:2:50::99", 128)
	serveUDP(t, l.gw, at("2001:db8:2:50::99", 80))
	loadText(t, l.gw, `table inet forwards { chain in_lan {
	type nat hook prerouting priority dstnat; ip6 daddr 2001:db8:2:50::10 udp dport 8080 dnat ip6 to [fd00:1::10]:81;
}
}`)
	by := []func() string{}
	for _, to := range []string{"2001:db8:1:50::10", "2001:db8:2:50::10"} {
		tcp, udp := dialFrom(t, l.net, p.host, at(to, 80), 0), dialFromUDP(t, l.net, p.host, at(to, 80))
		by = append(by, func() string { s, _ := askTCP(tcp); return s }, func() string { return askUDP(t, udp) })
	}
	own := dialFromUDP(t, l.net, p.host, at("2001:db8:2:50::99", 80))
	forwarded := dialFromUDP(t, l.net, p.host, at("2001:db8:2:50::10", 8080))
	by = append(by, func() string { return askUDP(t, own) }, func() string { return askUDP(t, forwarded) })
	for _, step := range []func(){func() {}, func() { l.prefer("wan1", "wan0") }, l.lose, l.regain} {
		step()
		for i, ask := range by {
			if got := ask(); got != p.host {
				t.Errorf("caller %d: the server saw %q, want %s", i, got, p.host)
			}
		}
	}
	l.noneWrong()
}

// What cannot be applied is left out: the kernel would refuse the table.
func TestTranslationsThatCannotBe(t *testing.T) {
	g := twoUplinks()
	want := Ruleset(g).String()
	prefix := netip.MustParsePrefix
	g.Uplinks[0].NPT = []PrefixPair{
		{}, {prefix("fd00:1::/64"), netip.Prefix{}}, {prefix("fd00:1::/64"), prefix("2001:db8::/56")},
		{prefix("10.0.0.0/24"), prefix("10.1.0.0/24")}, {prefix("fd00::/64"), prefix("fd00::/64")},
	}
	sameLines(t, Ruleset(g).String(), want)
}
