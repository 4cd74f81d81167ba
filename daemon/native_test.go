package daemon

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/config"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
	"swerve/testenv/fake"
)

// Networks found native at the first start are not masqueraded on their uplink, are
// shown, and are known after a restart, when no search is made; uplinks that appear
// later are adopted separately.
func TestNativeNetworksAreKept(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		found := []netip.Prefix{netip.MustParsePrefix("192.168.5.0/24"), netip.MustParsePrefix("2001:db8:5::/64")}
		r.Packets.Native = map[lane.Lane][]netip.Prefix{1: found}
		r.Packets.Plain = map[lane.Lane][]firewall.Ends{1: {{From: netip.MustParsePrefix("10.1.0.0/16"), To: netip.MustParsePrefix("10.50.0.0/16")}}}
		r.start()
		want := func(when string) {
			t.Helper()
			for _, text := range []string{"ip saddr 192.168.5.0/24 accept", "2001:db8:5::/64", "ip saddr 10.1.0.0/16 ip daddr 10.50.0.0/16 accept"} {
				if !strings.Contains(r.Packets.Text(), text) {
					t.Errorf("%s the table lacks %q", when, text)
				}
			}
			if got := r.status().Uplinks[0].Native; !slices.Equal(got, found) {
				t.Errorf("%s native: %v, want %v", when, got, found)
			}
			if got := r.status().Uplinks[1].Native; got == nil || len(got) > 0 {
				t.Errorf("%s native on the other uplink: %#v, want an empty list", when, got)
			}
		}
		want("after the start")
		r.after(3 * time.Second)
		r.Packets.Native, r.Packets.Plain = nil, nil
		r.Journal.Take()
		r.restart()
		r.after(3 * time.Second)
		want("after a restart")
		if did := fake.With(r.Journal.Take(), "adopt"); len(did) > 0 {
			t.Errorf("after a restart: %q", did)
		}
		if err := r.reload(strings.Replace(twoUplinks, "interface: eth0", "interface: eth0, snat: masquerade, prefix6: none", 1)); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(r.Packets.Text(), "192.168.5.0/24") || strings.Contains(r.Packets.Text(), "2001:db8:5::/64") || strings.Contains(r.Packets.Text(), "10.50.0.0/16") {
			t.Error("native networks hold against the configuration")
		}
	})
}

// If the packet filter is refused at the first start, the flows that were adopted then are
// healed when it is accepted: some may have begun anew since.
func TestRefusedFirstStartHealsLater(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		refuse := func(err error) {
			r.Packets.Lock()
			r.Packets.Refuse = err
			r.Packets.Unlock()
		}
		refuse(errors.New("refused"))
		r.start()
		r.after(3 * time.Second)
		if did := r.Journal.Take(); len(fake.With(did, "heal")) > 0 || len(fake.With(did, "adopt")) != 1 {
			t.Errorf("done: %q", did)
		}
		refuse(nil)
		r.after(time.Minute)
		if did := r.Journal.Take(); r.Packets.Text() == "" || len(fake.With(did, "heal")) != 1 || len(fake.With(did, "adopt")) > 0 {
			t.Errorf("done then: %q", did)
		}
	})
}

func TestNativesAreBounded(t *testing.T) {
	many := make([]netip.Prefix, 65)
	for i := range many {
		many[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i)}), 16)
	}
	if n := len(bounded(many)); n != 64 {
		t.Errorf("%d are kept, want 64", n)
	}
	for _, n := range []natives{{"fiber": many}, {"fiber": {{}}}} {
		if n.check(netip.Prefix.IsValid) == nil {
			t.Errorf("accepted %d networks of %v", len(n["fiber"]), n)
		}
	}
	if err := (natives{"fiber": bounded(many), "lte": bounded[netip.Prefix](nil)}).check(netip.Prefix.IsValid); err != nil {
		t.Error(err)
	}
	kept := natives{"fiber": bounded(many), "gone": nil}.retain([]config.Uplink{{Name: "fiber"}, {Name: "new"}})
	if _, met := kept["new"]; len(kept) != 1 || met {
		t.Errorf("kept: %v", kept)
	}
}

// What is behind another device within an uplink's own network is native there while
// it is, also while the uplink's address is renewed, and unless the configuration says
// otherwise.
func TestNetworksInsideAnUplinksAreNative(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		const rule = "ip saddr 192.0.2.64/28 accept"
		inside := netip.MustParsePrefix("192.0.2.64/28")
		host := netip.MustParsePrefix("192.0.2.66/32")
		r.Packets.Native = map[lane.Lane][]netip.Prefix{1: {host}}
		r.start()
		r.after(3 * time.Second)
		check := func(when string, shown ...netip.Prefix) {
			t.Helper()
			if got, want := strings.Contains(r.Packets.Text(), rule), slices.Contains(shown, inside); got != want {
				t.Errorf("%s: in the table: %t, want %t", when, got, want)
			}
			if got := r.status().Uplinks[0].Native; !slices.Equal(got, shown) {
				t.Errorf("%s: shown as native: %v, want %v", when, got, shown)
			}
		}
		family := func(how func(*failover.FamilyLink)) {
			t.Helper()
			r.change("eth0", func(l *line) { how(&l.link.Family[failover.IPv4]) })
			r.after(200 * time.Millisecond)
		}
		check("at first", host)
		family(func(f *failover.FamilyLink) { f.Inside = []netip.Prefix{inside, host} })
		check("with the route", host, inside)
		var addresses []netip.Prefix
		family(func(f *failover.FamilyLink) { addresses, f.Addresses, f.Inside = f.Addresses, nil, nil })
		check("without an address", host, inside)
		family(func(f *failover.FamilyLink) { f.Addresses = addresses })
		check("without the route", host)
		family(func(f *failover.FamilyLink) { f.Inside = []netip.Prefix{inside} })
		check("with it again", host, inside)
		if err := r.reload(strings.Replace(twoUplinks, "interface: eth0", "interface: eth0, snat: masquerade", 1)); err != nil {
			t.Fatal(err)
		}
		check("with snat: masquerade")
	})
}

// Without the state file the table in the kernel tells what was found, for uplinks that
// still have the lane and the interface.
func TestNativeNetworksWithoutAStateFile(t *testing.T) {
	networks := []netip.Prefix{netip.MustParsePrefix("192.168.5.0/24"), netip.MustParsePrefix("2001:db8:5::/64")}
	pair := firewall.Ends{From: netip.MustParsePrefix("10.1.0.0/16"), To: netip.MustParsePrefix("10.50.0.0/16")}
	for name, c := range map[string]struct {
		file string // of the second run
		want []netip.Prefix
	}{
		"the same":           {twoUplinks, networks},
		"another name":       {strings.Replace(twoUplinks, "fiber", "dsl", 1), networks},
		"another interface":  {strings.Replace(twoUplinks, "eth0", "eth2", 1), []netip.Prefix{}},
		"told not to":        {strings.Replace(twoUplinks, "eth0", "eth0, snat: masquerade, prefix6: none", 1), []netip.Prefix{}},
		"told not to, in v4": {strings.Replace(twoUplinks, "eth0", "eth0, snat: masquerade", 1), networks[1:]},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
				r.Packets.Native, r.Packets.Plain = map[lane.Lane][]netip.Prefix{1: networks}, map[lane.Lane][]firewall.Ends{1: {pair}}
				r.start()
				r.after(3 * time.Second)
				r.stop()
				if err := os.Remove(filepath.Join(r.folder(), stateFile)); err != nil {
					t.Fatal(err)
				}
				r.Packets.Native, r.Packets.Plain = nil, nil
				r.file = "state: " + r.folder() + "\n" + c.file
				r.start()
				r.after(3 * time.Second)
				if got := r.status().Uplinks[0].Native; !slices.Equal(got, c.want) {
					t.Errorf("native: %v, want %v", got, c.want)
				}
				four := len(c.want) == len(networks)
				if got := strings.Contains(r.Packets.Text(), "ip saddr 10.1.0.0/16 ip daddr 10.50.0.0/16 accept"); got != four {
					t.Errorf("the pair is in the table: %t, want %t", got, four)
				}
				r.stop()
				if s, err := loadState(r.folder()); err != nil || four && len(s.Native) != 2 {
					t.Errorf("written: %v, %v", s.Native, err)
				}
			})
		})
	}
}

// Whoever carries more networks without NAT than are kept is told.
func TestFullNativesAreTold(t *testing.T) {
	s := ruleSetup()
	some := make([]netip.Prefix, firewall.MostNative-1)
	s.native = natives{"fiber": some}
	if p := s.fullNatives(); len(p) > 0 {
		t.Errorf("%d networks: %+v", len(some), p)
	}
	s.native = natives{"fiber": append(some, netip.Prefix{})}
	s.plain = plains{"lte": make([]firewall.Ends, firewall.MostNative)}
	if p := s.fullNatives(); len(p) != 2 || p[0].Code != "native-full" || p[0].Object != "fiber" || p[1].Object != "lte" {
		t.Errorf("as many as are kept: %+v", p)
	}
}
