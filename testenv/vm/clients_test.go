package vm

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"swerve/testenv/lab"
	"swerve/testenv/traffic"
)

// The lines that other programs than systemd-networkd lease: each as its package sets it
// up. For a program that gives up for minutes after a failed attempt, the files say
// otherwise, as those of people with two lines do.

// networkManager has NetworkManager lease both uplinks.
func (s *site) networkManager() {
	s.t.Helper()
	profile := func(link, rest string) {
		s.run(fmt.Sprintf(`f=/etc/NetworkManager/system-connections/%[1]s.nmconnection
printf '[connection]\nid=%[1]s\ntype=ethernet\ninterface-name=%[1]s\n%[2]s' >$f && chmod 600 $f`, link, rest))
	}
	profile("lan0", `[ipv4]\nmethod=manual\naddress1=192.168.10.1/24\n[ipv6]\nmethod=disabled\n`)
	for _, up := range s.lab.Uplinks {
		profile(up.Interface, fmt.Sprintf(`[ipv4]\nmethod=auto\nroute-metric=%d\n`, up.Metric4))
	}
	s.run("systemctl enable --now NetworkManager")
}

// ifup starts ifup(8) as systemd does, without the units' wait for udev.
const ifup = "systemd-run --no-block --collect --property=Type=oneshot --property=RemainAfterExit=yes ifup"

// ifupdown has ifupdown set up the uplinks, with the DHCP client that it finds first.
func (s *site) ifupdown() {
	s.t.Helper()
	stanzas := `auto lo lan0\niface lo inet loopback\niface lan0 inet static\n address 192.168.10.1/24\n`
	for _, up := range s.lab.Uplinks {
		stanzas += fmt.Sprintf(`allow-hotplug %[1]s\niface %[1]s inet dhcp\n metric %[2]d\n`, up.Interface, up.Metric4)
	}
	s.run(fmt.Sprintf("printf '%s' >/etc/network/interfaces", stanzas))
	s.run("systemctl enable networking && " + ifup + " -a && " + ifup + " --allow=hotplug wan0 && " + ifup + " --allow=hotplug wan1")
}

func (s *site) dhclient() {
	s.t.Helper()
	s.run("printf 'timeout 20;\nretry 10;\n' >>/etc/dhcp/dhclient.conf")
	s.ifupdown()
	s.await("dhclient to run for both uplinks", func() bool {
		return strings.TrimSpace(s.try("pgrep -c dhclient")) == "2"
	})
}

func (s *site) dhcpcd() {
	s.t.Helper()
	s.run("rm /usr/sbin/dhclient")
	s.ifupdown()
	s.await("dhcpcd to run for both uplinks", func() bool {
		return strings.Contains(s.try("pgrep -a dhcpcd"), "wan0") && strings.Contains(s.try("pgrep -a dhcpcd"), "wan1")
	})
}

func TestNetworkManager(t *testing.T) { eachRelease(t, playLeased((*site).networkManager)) }

func TestDhclient(t *testing.T) { eachScripted(t, playLeased((*site).dhclient)) }

func TestDhcpcd(t *testing.T) { eachScripted(t, playLeased((*site).dhcpcd)) }

// eachScripted is eachRelease for programs that have shell scripts do what a lease says:
// in an emulated guest these take seconds, in which a lease of eight runs out.
func eachScripted(t *testing.T, test func(t *testing.T, s *site)) {
	play(t, named(), setting{lab: lab.Options{NoIPv6: true}, lease: 40 * time.Second, renew: 4 * time.Second}, test)
}

// playLeased is the test of a program that leases both uplinks.
func playLeased(start func(*site)) func(*testing.T, *site) {
	return func(t *testing.T, s *site) {
		start(s)
		s.await("both uplinks to be leased", func() bool {
			return s.providers[0].Acks() > 0 && s.providers[1].Acks() > 0
		})
		s.install()
		c := s.follow()
		s.by(c, lab.Fiber)
		t.Run("renewals", func(t *testing.T) { s.in(t).renewedUnnoticed(c) })
		t.Run("black-hole", func(t *testing.T) { s.in(t).fault(c, "black-hole") })
		t.Run("carrier", func(t *testing.T) { s.in(t).carrier(c) })
		t.Run("expiry", func(t *testing.T) { s.in(t).expiry(c) })
		t.Run("reboot", func(t *testing.T) { s.in(t).reboot(c) })
	}
}

// renewedUnnoticed has both uplinks renewed while connections and a stream of packets go
// over them. Nothing breaks or is lost, and nothing is an event.
func (s *site) renewedUnnoticed(c *traffic.Client) {
	s.t.Helper()
	var loads []*traffic.Client
	for _, kind := range []traffic.Kind{traffic.TCPStream, traffic.UDPStream} {
		load, err := traffic.Start(s.lab.Client, kind, lab.Server4, traffic.Options{Rate: 20, Timeout: 5 * time.Second})
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(load.Stop)
		loads = append(loads, load)
	}
	s.run("systemd-run --collect --unit=witness sh -c 'ip -o monitor address route >/run/witness'")
	begin, switches := time.Now(), s.switches()
	before := [2]int64{s.providers[0].Acks(), s.providers[1].Acks()}
	s.await("both uplinks to be renewed five times", func() bool {
		return s.providers[0].Acks() >= before[0]+5 && s.providers[1].Acks() >= before[1]+5
	})
	s.unchanged(c, switches, begin)
	for _, load := range loads {
		load.Stop()
		o := load.Measure(begin, time.Now())
		s.t.Logf("%s over %d and %d renewals: %v", load.Kind, s.providers[0].Acks()-before[0], s.providers[1].Acks()-before[1], o)
		if o.Unanswered > 0 || len(load.Breaks()) > 0 {
			s.t.Errorf("%s: %v, broken %d times", load.Kind, o, len(load.Breaks()))
		}
	}
	// For the reader: what the program does at a renewal.
	s.t.Logf("changes to addresses and routes:\n%s", s.run(
		"systemctl stop witness; sed -E 's/(valid|preferred)_lft [0-9]+sec/\\1_lft N/g' /run/witness | cut -c1-160 | sort | uniq -c | sort -rn | head -n 30"))
}

// fault breaks the first uplink: the LAN goes by the second, and back after the end.
func (s *site) fault(c *traffic.Client, spec string) {
	s.t.Helper()
	f, err := s.lab.Fault(lab.Fiber, spec)
	if err != nil {
		s.t.Fatal(err)
	}
	s.by(c, lab.LTE)
	s.t.Logf("%s: %v", spec, c.Measure(f.Onset, time.Now()))
	if err := f.Undo(); err != nil {
		s.t.Fatal(err)
	}
	s.by(c, lab.Fiber)
	s.settled()
}

// expiry has the first uplink's router silent for longer than the lease: the program
// takes the address away, and tries again.
func (s *site) expiry(c *traffic.Client) {
	s.t.Helper()
	f, err := s.lab.Fault(lab.Fiber, "gateway-dead")
	if err != nil {
		s.t.Fatal(err)
	}
	s.by(c, lab.LTE)
	s.t.Logf("gateway-dead: %v", c.Measure(f.Onset, time.Now()))
	leased := s.lab.Uplinks[lab.Fiber].Address4.String()
	s.await("the lease to expire", func() bool { return !strings.Contains(s.run("ip -o -4 address show dev wan0"), leased) })
	begin, before := time.Now(), s.switches()
	acks := s.providers[lab.LTE].Acks()
	s.await("the other lease to be renewed twice", func() bool { return s.providers[lab.LTE].Acks() >= acks+2 })
	s.t.Logf("meanwhile wan0 has:\n%s", s.run("ip -o -4 address show dev wan0; ip route"))
	if o := c.Measure(begin, time.Now()); o.Unanswered > 0 || s.switches() != before {
		s.t.Errorf("while the lease was expired: %v, %d switches", o, s.switches()-before)
	}
	if err := f.Undo(); err != nil {
		s.t.Fatal(err)
	}
	s.by(c, lab.Fiber)
	s.settled()
}
