package daemon

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/config"
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

// If the packet filter is refused at the first start, nothing is healed when it is
// accepted: there was no table of ours before.
func TestRefusedFirstStartHealsNothing(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		refuse := func(err error) {
			r.Packets.Lock()
			r.Packets.Refuse = err
			r.Packets.Unlock()
		}
		refuse(errors.New("refused"))
		r.start()
		r.after(3 * time.Second)
		refuse(nil)
		r.after(time.Minute)
		did := r.Journal.Take()
		if r.Packets.Text() == "" || len(fake.With(did, "heal")) > 0 || len(fake.With(did, "adopt")) != 1 {
			t.Errorf("done: %q", did)
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
