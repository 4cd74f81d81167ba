package vm

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
	"swerve/testenv/wait"
	"swerve/testenv/wire"
)

var (
	releases = flag.String("vm.debian", "", "play the scenarios on these releases of Debian, such as trixie,bookworm; empty: on none")
	packages = flag.String("vm.packages", "", "the folder with the deb package to install")
	renew    = flag.Duration("vm.renew", 0, "how long leases are renewed under traffic, at least")
)

// slow bounds each wait for something in the guest.
const slow = 6 * time.Minute

// eachRelease runs a test on every release that the flags name.
func eachRelease(t *testing.T, test func(t *testing.T, s *site)) {
	eachReleaseIn(t, lab.Options{NoIPv6: true}, 8*time.Second, test)
}

// eachReleaseIn is eachRelease in another lab, with leases of another time.
func eachReleaseIn(t *testing.T, opts lab.Options, lease time.Duration, test func(t *testing.T, s *site)) {
	play(t, named(), setting{lab: opts, lease: lease}, test)
}

// onNewest runs a test on the first release that the flags name.
func onNewest(t *testing.T, with setting, test func(t *testing.T, s *site)) {
	all := named()
	play(t, all[:min(1, len(all))], with, test)
}

func play(t *testing.T, releases []string, with setting, test func(t *testing.T, s *site)) {
	for _, release := range releases {
		t.Run(release, func(t *testing.T) { test(t, newSite(t, release, with)) })
	}
}

// named are the releases that the flags name.
func named() []string {
	return strings.FieldsFunc(*releases, func(r rune) bool { return r == ',' || r == ' ' })
}

// setting is what differs between sites.
type setting struct {
	lab    lab.Options
	kernel string        // its flavour; "": CloudKernel
	vlan   uint16        // of the first uplink
	lease  time.Duration // its time; 0: eight seconds
	renew  time.Duration // after which it is renewed; 0: half of it
}

// site is a lab with a guest as its gateway, whose uplinks are leased by DHCP.
type site struct {
	t         *testing.T
	lab       *lab.Lab
	guest     *Machine
	providers []*Provider
	server    *traffic.Server
}

func newSite(t *testing.T, release string, with setting) *site {
	with.lab.Announce = lab.AnnounceNothing
	with.lease = cmp.Or(with.lease, 8*time.Second)
	began := time.Now()
	debs, err := filepath.Glob(filepath.Join(*packages, "swerve_*_amd64.deb"))
	if err != nil || len(debs) == 0 {
		t.Fatalf("no package for amd64 in -vm.packages %q", *packages)
	}
	image, err := MakeImage(t.Context(), release, cmp.Or(with.kernel, CloudKernel))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("image after %v", time.Since(began).Round(time.Second))
	s := &site{t: t, lab: lab.NewTest(t, with.lab)}
	if err := wire.DisableOffloads(s.lab.Client, "eth0"); err != nil {
		t.Fatal(err)
	}
	cards := []Card{{Link: "lan0", MAC: "02:00:5e:00:10:00"}}
	for i, up := range s.lab.Uplinks {
		card := Card{Link: up.Interface, MAC: up.MAC}
		if i == 0 {
			card.VLAN = with.vlan
		}
		cards = append(cards, card)
		p, err := Provide(s.lab.ISP[i], "cust", Lease{Address: up.Address4, Bits: up.Prefix4.Bits(), Router: up.Router4, Time: with.lease, Renew: cmp.Or(with.renew, with.lease/2)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		s.providers = append(s.providers, p)
	}
	if s.server, err = traffic.Serve(s.lab.Internet, lab.Server4, lab.Server6); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.server.Close)
	if s.guest, err = Boot(t.Context(), image, s.lab.Gateway, cards, debs); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("console:\n%s", tail(s.guest.Console()))
			for _, c := range []string{"ip -br addr; ip route; ip -6 route; ip rule; networkctl; nmcli device; systemctl --failed", "journalctl -u swerve --no-pager | grep -E 'msg=|systemd|SIG|panic' | tail -n 60", "journalctl -u swerve --no-pager | grep -A 120 -E 'SIG|panic:' | head -n 150", "swerve status",
				"journalctl -n 100 --no-pager | grep -v swerve | tail -n 40"} {
				t.Logf("%s:\n%s", c, s.try(c))
			}
		}
		s.guest.Close()
	})
	t.Logf("booted after %v, KVM fails: %v", time.Since(began).Round(time.Second), kvmFails)
	return s
}

// try runs a command in the guest, whatever comes of it.
func (s *site) try(command string) string {
	ctx, cancel := context.WithTimeout(context.Background(), slow)
	defer cancel()
	r, err := s.guest.Run(ctx, command)
	if err != nil {
		return err.Error()
	}
	return r.Output
}

// run runs a command in the guest that must succeed.
func (s *site) run(command string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), slow)
	defer cancel()
	r, err := s.guest.Run(ctx, command)
	if err != nil || r.Code != 0 {
		s.t.Fatalf("%s: %v, exit code %d:\n%s", command, err, r.Code, r.Output)
	}
	return r.Output
}

// await polls for a condition, with the patience that the guest needs.
func (s *site) await(what string, holds func() bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), slow)
	defer cancel()
	begin := time.Now()
	if err := wait.Until(ctx, what, holds); err != nil {
		s.t.Fatal(err)
	}
	s.t.Logf("%s after %v", what, time.Since(begin).Round(100*time.Millisecond))
}

// networkd has systemd-networkd lease both uplinks.
func (s *site) networkd() {
	s.t.Helper()
	for _, up := range s.lab.Uplinks {
		s.run(fmt.Sprintf("printf '[Match]\\nName=%s\\n[Network]\\nDHCP=ipv4\\nIPv6AcceptRA=no\\n[DHCPv4]\\nRouteMetric=%d\\n' >/etc/systemd/network/20-%s.network",
			up.Interface, up.Metric4, up.Interface))
	}
	s.run("systemctl enable --now systemd-networkd")
	s.await("both uplinks to be leased", func() bool {
		return s.providers[0].Acks() > 0 && s.providers[1].Acks() > 0
	})
}

// install installs the package and waits until both uplinks are taken and answer.
func (s *site) install() {
	s.t.Helper()
	s.t.Logf("%s", s.run("dpkg -i $(ls /mnt/files/swerve_*.deb | head -n 1)"))
	s.settled()
}

func (s *site) status() (st control.Status) {
	_ = json.Unmarshal([]byte(s.try("swerve status --json")), &st)
	return st
}

// settled waits until the default policy has both uplinks and all is well.
func (s *site) settled() {
	s.t.Helper()
	s.await("overall to be ok with both uplinks", func() bool {
		st := s.status()
		return st.Overall == "ok" && len(st.Uplinks) == 2
	})
}

// follow starts new sessions of the LAN's client, ten a second.
func (s *site) follow() *traffic.Client {
	s.t.Helper()
	c, err := traffic.Start(s.lab.Client, traffic.UDPSessions, lab.Server4, traffic.Options{Rate: 10})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Stop)
	return c
}

// by waits until new sessions are answered by an uplink.
func (s *site) by(c *traffic.Client, uplink int) {
	s.t.Helper()
	since, want := time.Now(), s.lab.Uplinks[uplink].Public4
	s.await(fmt.Sprintf("the LAN to go by uplink %d", uplink), func() bool { return answeredBy(c, since, want) })
}

func answeredBy(c *traffic.Client, since time.Time, want netip.Addr) bool {
	for _, r := range c.Log() {
		if r.Sent.After(since) && r.Via == want {
			return true
		}
	}
	return false
}

// TestCanary boots, installs the package, loses an uplink to a black-hole, and purges.
func TestCanary(t *testing.T) {
	eachRelease(t, func(t *testing.T, s *site) {
		s.networkd()
		s.install()
		if out := s.run("systemctl is-enabled swerve; systemctl is-active swerve"); out != "enabled\nactive\n" {
			t.Errorf("the service is %q", out)
		}
		c := s.follow()
		s.by(c, lab.Fiber)
		f, err := s.lab.Fault(lab.Fiber, "black-hole")
		if err != nil {
			t.Fatal(err)
		}
		s.by(c, lab.LTE)
		t.Logf("%v", c.Measure(f.Onset, time.Now()))
		if err := f.Undo(); err != nil {
			t.Fatal(err)
		}
		s.purge()
	})
}

// TestNetworkd plays what happens to uplinks that systemd-networkd leases.
func TestNetworkd(t *testing.T) {
	eachRelease(t, func(t *testing.T, s *site) {
		s.networkd()
		s.install()
		c := s.follow()
		s.by(c, lab.Fiber)
		t.Run("renewals", func(t *testing.T) { s.in(t).renewals(c) })
		t.Run("reconfigure", func(t *testing.T) { s.in(t).undisturbed(c, "networkctl reconfigure wan0 wan1") })
		t.Run("restart", func(t *testing.T) { s.in(t).undisturbed(c, "systemctl restart systemd-networkd") })
		t.Run("carrier", func(t *testing.T) { s.in(t).carrier(c) })
		t.Run("upgrade", func(t *testing.T) { s.in(t).upgrade() })
		t.Run("reboot", func(t *testing.T) { s.in(t).reboot(c) })
		t.Run("purge", func(t *testing.T) { s.in(t).purge() })
	})
}

// in is the site for a part of a test.
func (s *site) in(t *testing.T) *site {
	part := *s
	part.t = t
	return &part
}

// switches counts those of the default policy so far.
func (s *site) switches() int {
	return strings.Count(s.run("swerve events --json"), `"type":"switch"`)
}

// renewals waits for five more leases of each uplink, and as long as the flag says; none
// is an event.
func (s *site) renewals(c *traffic.Client) {
	before, begin := s.switches(), time.Now()
	for i, p := range s.providers {
		acks := p.Acks()
		s.await(fmt.Sprintf("uplink %d to be renewed five times", i), func() bool { return p.Acks() >= acks+5 })
	}
	acks := s.providers[0].Acks() + s.providers[1].Acks()
	ctx, cancel := context.WithTimeout(s.t.Context(), *renew+slow)
	defer cancel()
	if err := wait.Until(ctx, "the leases' time", func() bool { return time.Since(begin) >= *renew }); err != nil {
		s.t.Fatal(err)
	}
	s.t.Logf("%v of renewals, %d after the first ten", time.Since(begin).Round(time.Second), s.providers[0].Acks()+s.providers[1].Acks()-acks)
	s.unchanged(c, before, begin)
}

// undisturbed runs a command in the guest that is no reason for a switch.
func (s *site) undisturbed(c *traffic.Client, command string) {
	before, begin := s.switches(), time.Now()
	acks := s.providers[0].Acks()
	s.run(command)
	s.await("the lease to be renewed", func() bool { return s.providers[0].Acks() >= acks+2 })
	s.settled()
	s.unchanged(c, before, begin)
}

func (s *site) unchanged(c *traffic.Client, before int, begin time.Time) {
	s.t.Helper()
	s.t.Logf("%v", c.Measure(begin, time.Now()))
	switch n := s.switches() - before; {
	case n == 0:
	case kvmFails && (strings.Contains(s.since(begin), "no address") || strings.Contains(s.since(begin), "latency")):
		// An emulated guest's networkd takes longer than the patience between
		// deleting an address and adding it again: a down, as it should be. On a busy
		// machine the emulation itself takes longer for a probe than the latency's limit.
		s.t.Logf("%d switches, an address was away for longer than the patience, or the guest was slow:\n%s", n, s.since(begin))
	default:
		s.t.Errorf("%d switches:\n%s", n, s.run("swerve events"))
	}
	s.by(c, lab.Fiber)
}

// since are the switches from an instant on.
func (s *site) since(begin time.Time) string {
	return s.try(fmt.Sprintf("swerve events --since %ds | grep ' switch '", int(time.Since(begin).Seconds())+5))
}

// carrier pulls the plug of the first uplink, and plugs it in again.
func (s *site) carrier(c *traffic.Client) {
	if err := s.guest.SetCarrier("wan0", false); err != nil {
		s.t.Fatal(err)
	}
	begin := time.Now()
	s.by(c, lab.LTE)
	s.t.Logf("%v", c.Measure(begin, time.Now()))
	if err := s.guest.SetCarrier("wan0", true); err != nil {
		s.t.Fatal(err)
	}
	s.by(c, lab.Fiber)
	s.settled()
}

// upgrade installs the newer package under traffic; no packet is lost.
func (s *site) upgrade() {
	bulk, err := traffic.StartBulk(s.lab.Client, lab.Server4, 200)
	if err != nil {
		s.t.Fatal(err)
	}
	s.run("dpkg -i $(ls /mnt/files/swerve_*.deb | tail -n 1)")
	s.settled()
	bulk.Stop()
	s.await("all packets to arrive", func() bool { return s.server.Received(bulk.Stream()).Count == bulk.Sent() })
	s.t.Logf("%d packets, none lost; %s", bulk.Sent(), s.run("swerve version"))
}

// reboot reboots with the first uplink's modem off: the LAN is masqueraded and online
// by the other, and nothing is critical on the way.
func (s *site) reboot(c *traffic.Client) {
	if err := s.guest.SetCarrier("wan0", false); err != nil {
		s.t.Fatal(err)
	}
	s.by(c, lab.LTE)
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*patience)
	defer cancel()
	if err := s.guest.Reboot(ctx); err != nil {
		s.t.Fatal(err)
	}
	s.by(c, lab.LTE)
	st := s.status()
	if st.Overall == "critical" {
		s.t.Errorf("overall is critical: %s", s.run("swerve status || true"))
	}
	if log := s.run("journalctl -b -u swerve --no-pager"); strings.Contains(log, "critical") {
		s.t.Errorf("critical at boot:\n%s", log)
	}
	if err := s.guest.SetCarrier("wan0", true); err != nil {
		s.t.Fatal(err)
	}
	// Debian 12's ifupdown gives an uplink up whose modem is off at boot, and its client
	// ends: whoever sees to the modem sees to that.
	if strings.TrimSpace(s.try("systemctl is-failed ifup@wan0.service")) == "failed" {
		s.t.Log("ifup gave wan0 up at boot: it is started again by hand")
		s.run("systemctl restart --no-block ifup@wan0.service")
	}
	s.by(c, lab.Fiber)
}

// purge leaves nothing of ours in the kernel and in the file system.
func (s *site) purge() {
	s.run("(ip rule; ip -6 rule) | grep -q 'proto 83' && nft list tables | grep -q swerve")
	s.run("dpkg --purge swerve")
	left := s.run("(ip rule; ip -6 rule) | grep 'proto 83'; ip route show table all proto 83; ip -6 route show table all proto 83; nft list tables | grep swerve; " +
		"ls -d /etc/swerve /var/lib/swerve /run/swerve /usr/bin/swerve /usr/share/doc/swerve 2>/dev/null; systemctl list-unit-files 'swerve*' --no-legend; true")
	if strings.TrimSpace(left) != "" {
		s.t.Errorf("left behind:\n%s", left)
	}
}
