package daemon

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/config"
	"swerve/failover"
	"swerve/lane"
	"swerve/linkmon"
	"swerve/testenv/fake"
)

func prefixesOf(texts ...string) (out []netip.Prefix) {
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// lan sets what the machine has beside its uplinks.
func (r *rig) lan(addresses ...string) {
	r.net.setLAN(func(l *linkmon.LAN) { l.Addresses = prefixesOf(addresses...) })
}

// carries sets what an uplink's provider carries as it is.
func (r *rig) carries(uplink string, prefixes ...string) {
	r.net.mu.Lock()
	defer r.net.mu.Unlock()
	r.net.carried = map[string][]netip.Prefix{uplink: prefixesOf(prefixes...)}
}

// nativeIs checks what the status calls native on fiber, and that lte has nothing.
func (r *rig) nativeIs(when string, prefixes ...string) {
	r.t.Helper()
	for name, want := range map[string][]netip.Prefix{"fiber": prefixesOf(prefixes...), "lte": nil} {
		if got := r.uplink(name).Native; !slices.Equal(got, want) {
			r.t.Errorf("%s native on %s: %v, want %v", when, name, got, want)
		}
	}
}

// proofs returns how many proofs there were since the last call, by uplink.
func (r *rig) proofs() map[string]int {
	r.net.mu.Lock()
	defer r.net.mu.Unlock()
	n := map[string]int{}
	for _, p := range r.net.proofs {
		n[p.Uplink]++
		want := map[string]struct {
			device string
			mark   uint32
		}{"fiber": {"eth0", 0x01000000}, "lte": {"eth1", 0x02000000}}[p.Uplink]
		if p.Device != want.device || p.Mark != want.mark || len(p.Targets) != 3 || p.Wait != provingWait {
			r.t.Errorf("a proof by %s: %+v", p.Uplink, p)
		}
	}
	r.net.proofs = nil
	return n
}

// A prefix of the LAN is native once its provider is shown to carry it, on this uplink
// alone, and is known after a restart. ULAs are never asked about.
func TestPrefixIsProven(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.carries("fiber", "2001:db8:1:50::/60")
		r.lan("2001:db8:1:50::1/64")
		r.start()
		r.after(5 * time.Second)
		r.nativeIs("after the start", "2001:db8:1:50::/64")
		text := r.Packets.Text()
		for _, want := range []string{"ip6 saddr 2001:db8:1:50::1 meta mark & 0x7f000000 == 0x01000000 accept"} {
			if !strings.Contains(text, want) {
				t.Errorf("the table lacks %q:\n%s", want, text)
			}
		}
		if n := r.proofs(); n["fiber"] != 1 || n["lte"] > 0 {
			t.Errorf("proofs: %v", n)
		}
		r.after(time.Hour)
		if n := r.proofs(); n["fiber"] != 6 || n["lte"] > 0 {
			t.Errorf("proofs in an hour: %v", n)
		}
		r.restart()
		r.nativeIs("at once after a restart", "2001:db8:1:50::/64")
		r.after(5 * time.Second)
		if n := r.proofs(); n["fiber"] != 1 {
			t.Errorf("proofs after a restart: %v", n)
		}
	})
}

// A prefix that the provider replaces is followed: the new one is native once it is
// proven, and the old one no longer, whether it came by a proof or was found at the first
// start. One that only goes is kept for a while.
func TestRenumbering(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.Packets.Native = map[lane.Lane][]netip.Prefix{1: prefixesOf("2001:db8:1:50::/64", "2001:db8:7::/48")}
		r.lan("2001:db8:1:50::1/64")
		r.start()
		r.after(5 * time.Second)
		r.nativeIs("found", "2001:db8:1:50::/64", "2001:db8:7::/48")
		r.carries("fiber", "2001:db8:1:51::/64")
		r.Journal.Take()
		r.lan("2001:db8:1:51::1/64")
		r.after(5 * time.Second)
		r.nativeIs("renumbered", "2001:db8:7::/48", "2001:db8:1:51::/64") // the one of a router behind stays
		if did := fake.With(r.Journal.Take(), "delete ipv6 flows of 1"); len(did) != 1 {
			t.Errorf("flows of the former prefix: %q", did)
		}
		r.lan()
		r.after(50 * time.Second)
		r.nativeIs("gone for a moment", "2001:db8:7::/48", "2001:db8:1:51::/64")
		r.after(15 * time.Second)
		r.nativeIs("gone", "2001:db8:7::/48")
		r.lan("2001:db8:1:51::1/64")
		r.after(time.Second)
		r.nativeIs("back", "2001:db8:7::/48", "2001:db8:1:51::/64")
	})
}

// What was proven and is not carried any more is masqueraded, though not because the
// uplink itself is silent; what flows showed stays, as it may be that nothing answers
// pings.
func TestProofsThatFail(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.Packets.Native = map[lane.Lane][]netip.Prefix{1: prefixesOf("2001:db8:1:60::/64")}
		r.carries("fiber", "2001:db8:1:50::/64")
		r.lan("2001:db8:1:50::1/64", "2001:db8:1:60::1/64")
		r.start()
		r.after(5 * time.Second)
		r.nativeIs("at first", "2001:db8:1:60::/64", "2001:db8:1:50::/64")
		r.blackHole("eth0", true, failover.IPv6)
		r.after(time.Hour)
		r.nativeIs("on a dead line", "2001:db8:1:60::/64", "2001:db8:1:50::/64")
		r.blackHole("eth0", false, failover.IPv6)
		r.after(time.Minute)
		r.nativeIs("on a line that is back", "2001:db8:1:60::/64", "2001:db8:1:50::/64")
		r.carries("fiber")
		r.after(11 * time.Minute)
		r.nativeIs("no longer carried", "2001:db8:1:60::/64")
	})
}

// The uplink whose addresses are most like the prefix is asked first, and another one
// only after it has not answered; what nobody carries is asked about less and less.
func TestWhoIsAskedAboutAPrefix(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.carries("fiber", "2001:db8:2:50::/64")
		r.lan("2001:db8:2:50::1/64")
		r.start()
		r.after(5 * time.Second)
		r.nativeIs("after the start", "2001:db8:2:50::/64")
		if n := r.proofs(); n["fiber"] != 1 || n["lte"] != 1 {
			t.Errorf("proofs: %v", n)
		}
		r.lan("2001:db8:2:50::1/64", "2001:db8:9::1/64")
		r.after(time.Hour)
		if n := r.proofs(); n["lte"] < 9 || n["lte"] > 16 {
			t.Errorf("proofs in an hour: %v", n)
		}
	})
}

// An address of the former prefix stays on the LAN, deprecated: it is not native once the
// provider carries it no longer.
func TestFormerPrefixStaysOnTheLAN(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.carries("fiber", "2001:db8:1:50::/64")
		r.lan("2001:db8:1:50::1/64")
		r.start()
		r.after(5 * time.Second)
		r.carries("fiber", "2001:db8:1:51::/64")
		r.lan("2001:db8:1:50::1/64", "2001:db8:1:51::1/64")
		r.after(20 * time.Second)
		r.nativeIs("renumbered", "2001:db8:1:51::/64")
	})
}

// prefix6 decides where it is given.
func TestNothingIsProvenWherePrefixesAreGiven(t *testing.T) {
	inBubble(t, strings.ReplaceAll(twoUplinks, "}", ", prefix6: none}"), func(t *testing.T, r *rig) {
		r.carries("fiber", "2001:db8:1:50::/60")
		r.lan("2001:db8:1:50::1/64")
		r.start()
		r.after(time.Minute)
		r.nativeIs("after a minute")
		if n := r.proofs(); len(n) > 0 {
			t.Errorf("proofs: %v", n)
		}
	})
}

// npt follows the delegated prefix: its N-th /64 is translated to, sessions with the
// former one are ended, and what cannot be is told.
func TestTranslationFollowsTheDelegation(t *testing.T) {
	file := strings.Replace(twoUplinks, "eth0}", `eth0, snat6: npt, npt: {fd00:1::/64: auto/3, fd00:2::/64: "2001:db8:1:99::/64"}}`, 1)
	inBubble(t, file, func(t *testing.T, r *rig) {
		r.start()
		r.after(5 * time.Second)
		has := func(outside string) bool {
			return strings.Contains(r.Packets.Text(), "ip6 saddr fd00:1::/64 snat ip6 prefix to "+outside)
		}
		told := func() int {
			n := 0
			for _, p := range r.status().Problems {
				if p.Code == "npt" {
					n++
				}
			}
			return n
		}
		if told() != 1 || has("") || !strings.Contains(r.Packets.Text(), "ip6 saddr fd00:2::/64 snat ip6 prefix to 2001:db8:1:99::/64") {
			t.Errorf("without a delegation: %d problems\n%s", told(), r.Packets.Text())
		}
		delegate := func(prefixes ...string) {
			r.net.setLAN(func(l *linkmon.LAN) { l.Delegated = prefixesOf(prefixes...) })
			r.after(time.Second)
		}
		r.Journal.Take()
		delegate("2001:db8:1:40::/60")
		if told() != 0 || !has("2001:db8:1:43::/64") {
			t.Errorf("delegated: %d problems\n%s", told(), r.Packets.Text())
		}
		if did := fake.With(r.Journal.Take(), "drop"); len(did) > 0 {
			t.Errorf("nothing to end: %q", did)
		}
		delegate("2001:db8:1:80::/60")
		if told() != 0 || !has("2001:db8:1:83::/64") {
			t.Errorf("delegated anew: %d problems\n%s", told(), r.Packets.Text())
		}
		if did := fake.With(r.Journal.Take(), "drop ipv6 flows of 1"); len(did) != 1 {
			t.Errorf("sessions of the former prefix: %q", did)
		}
		delegate("2001:db8:1:80::/63")
		if told() != 1 || has("") {
			t.Errorf("too small: %d problems\n%s", told(), r.Packets.Text())
		}
		delegate("2001:db8:1:80::/60")
		r.lan("2001:db8:1:83::1/64")
		r.after(time.Second)
		if told() != 1 || has("") {
			t.Errorf("in use here: %d problems\n%s", told(), r.Packets.Text())
		}
	})
}

// Whose a delegated prefix is: of a default route for it, of a native network in it, of
// the only uplink, or of the provider whose addresses are most like it.
func TestDelegatedTo(t *testing.T) {
	for _, c := range []struct {
		what, own, other string
		native, source   string
		delegated        []string
		want             string
	}{
		{"a route for it", "2001:db8:1::2/64", "2001:db8:2::2/64", "", "2001:db8:9::/56", []string{"2001:db8:1:40::/60"}, "2001:db8:9::/56"},
		{"native", "2001:db8:1::2/64", "2001:db8:2::2/64", "2001:db8:2:50::/64", "", []string{"2001:db8:1:40::/60", "2001:db8:2:50::/60"}, "2001:db8:2:50::/60"},
		{"alike", "2001:db8:1::2/64", "2001:db8:2::2/64", "", "", []string{"2001:db8:2:50::/60", "2001:db8:1:40::/60"}, "2001:db8:1:40::/60"},
		{"the other's", "2001:db8:1::2/64", "2001:db8:2::2/64", "", "", []string{"2001:db8:2:50::/60"}, ""},
		{"neither's", "2001:db8:1::2/64", "2a00:1::2/64", "", "", []string{"2b00:2:50::/60"}, ""},
		{"the only one's", "2001:db8:1::2/64", "", "", "", []string{"2b00:2:50::/60"}, "2b00:2:50::/60"},
		{"none", "2001:db8:1::2/64", "", "", "", nil, ""},
	} {
		links := newPicture()
		for name, address := range map[string]string{"fiber": c.own, "lte": c.other} {
			if address != "" {
				last := remembered{}
				last.addresses[failover.IPv6] = prefixesOf(address)
				if name == "fiber" && c.source != "" {
					last.prefixes = prefixesOf(c.source)
				}
				links.last[name] = last
			}
		}
		links.lan.Delegated = prefixesOf(c.delegated...)
		cfg, _ := config.Parse("swerve.yaml", []byte(twoUplinks))
		s := setup{cfg: cfg, uplinks: cfg.Uplinks, native: natives{}}
		if c.native != "" {
			s.native["fiber"] = prefixesOf(c.native)
		}
		got := goal{setup: s, links: links}.delegatedTo(s.uplinks[0])
		if text := strings.TrimPrefix(fmt.Sprint(got), "invalid Prefix"); text != c.want {
			t.Errorf("%s: %s, want %s", c.what, text, c.want)
		}
	}
}

// No proof is sent from an address that an uplink uses for its own probes, since it has lost
// its own: these would be taken for a proof, and not be counted.
func TestTrialsSpareWhatProbesUse(t *testing.T) {
	lan := netip.MustParsePrefix("2001:db8:1:10::1/64")
	p := newPicture()
	p.lan.Addresses = []netip.Prefix{lan}
	link := failover.Link{Present: true, Interface: "eth0", Carrier: true, AdminUp: true}
	link.Family[failover.IPv6] = failover.FamilyLink{Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8:1::2/64")}, Gateway: netip.MustParseAddr("fe80::1")}
	p.set("fiber", link)
	if got := p.trials(); !slices.Equal(got, []netip.Prefix{lan}) {
		t.Errorf("with an address of its own: %v", got)
	}
	gone := link
	gone.Family[failover.IPv6].Addresses, gone.Family[failover.IPv6].Elsewhere = nil, []netip.Prefix{lan}
	p.set("fiber", gone)
	if got := p.trials(); len(got) > 0 {
		t.Errorf("without: %v", got)
	}
	p.set("fiber", link)
	if got := p.trials(); len(got) != 1 {
		t.Errorf("with it again: %v", got)
	}
}
