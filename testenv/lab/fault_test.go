package lab

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"swerve/testenv/wait"
)

// reached is which destinations an uplink reaches from inside the gateway, by family.
type reached struct{ router4, beyond4, router6, beyond6 bool }

func reach(lab *Lab, i int) (p reached) {
	up := lab.Uplinks[i]
	var all sync.WaitGroup
	for answer, to := range map[*bool]netip.Addr{
		&p.router4: up.Router4, &p.beyond4: Targets[0],
		&p.router6: up.Router6, &p.beyond6: Targets[3],
	} {
		all.Go(func() { *answer = pings(lab.Gateway, up.Interface, to) == nil })
	}
	all.Wait()
	return p
}

var (
	full   = reached{true, true, true, true}
	silent = reached{}
)

func TestFaultsSilenceAndUndoRestores(t *testing.T) {
	for _, tc := range []struct {
		spec string
		want reached
	}{
		{"carrier", silent},
		{"interface-down", silent},
		{"black-hole", reached{router4: true, router6: true}},
		{"black-hole=ipv4", reached{router4: true, router6: true, beyond6: true}},
		{"black-hole=ipv6", reached{router4: true, beyond4: true, router6: true}},
		{"gateway-dead", silent},
		{"loss=100%", silent},
		{"loss-out=100%", silent},
		{"loss-in=100%", silent},
		{"stall=1h", silent},
		{"target-dead=1.1.1.1", reached{router4: true, router6: true, beyond6: true}},
		{"address-change", full},
	} {
		t.Run(tc.spec, func(t *testing.T) {
			t.Parallel()
			lab := NewTest(t, Options{Delay: -1})
			if got := reach(lab, 0); got != full {
				t.Fatalf("before the fault %+v", got)
			}
			addresses := run(t, lab.Gateway, "ip -br addr")
			before := time.Now()
			f, err := lab.Fault(0, tc.spec)
			if err != nil {
				t.Fatal(err)
			}
			if f.Onset.Before(before) || f.Onset.After(time.Now()) {
				t.Errorf("the onset %v is not while Fault ran", f.Onset)
			}
			if got := reach(lab, 0); got != tc.want {
				t.Errorf("during the fault %+v, want %+v", got, tc.want)
			}
			if got := reach(lab, 1); f.Spec.Kind != TargetDead && got != full {
				t.Errorf("during the fault the other uplink %+v", got)
			}
			undo(t, f)
			wait.For(t, "the uplink to work again", func() bool { return reach(lab, 0) == full })
			if now := run(t, lab.Gateway, "ip -br addr"); now != addresses {
				t.Errorf("addresses were\n%sand are\n%s", addresses, now)
			}
		})
	}
}

func undo(t *testing.T, f *Fault) {
	t.Helper()
	for range 2 { // the second is harmless
		if err := f.Undo(); err != nil {
			t.Fatal(err)
		}
	}
}

// The default routes after an undo are those of the start.
func TestUndoPutsRoutesBack(t *testing.T) {
	for _, spec := range []string{"carrier", "interface-down", "address-change", "gateway-change", "address-removal"} {
		t.Run(spec, func(t *testing.T) {
			t.Parallel()
			lab := NewTest(t, Options{})
			routes := func() string {
				out := run(t, lab.Gateway, "ip -4 route") + run(t, lab.Gateway, "ip -6 route")
				lines := strings.Split(out, "\n")
				for i, l := range lines {
					lines[i], _, _ = strings.Cut(l, " expires") // counts down by itself
				}
				slices.Sort(lines) // restored ones come last
				return strings.Join(lines, "\n")
			}
			before := routes()
			f, err := lab.Fault(0, spec)
			if err != nil {
				t.Fatal(err)
			}
			if during := routes(); during == before {
				t.Error("no route shows the fault")
			}
			undo(t, f)
			wait.For(t, "the routes to be as before", func() bool { return routes() == before })
		})
	}
}

func TestCarrierIsReported(t *testing.T) {
	lab := NewTest(t, Options{})
	for _, spec := range []string{"carrier", "interface-down"} {
		f, err := lab.Fault(0, spec)
		if err != nil {
			t.Fatal(err)
		}
		if f.Reported.Before(f.Onset) {
			t.Errorf("%s: reported at %v, before the onset at %v", spec, f.Reported, f.Onset)
		}
		t.Logf("%s: the kernel reported it after %v", spec, f.Reported.Sub(f.Onset))
		undo(t, f)
	}
}

func TestAddressFaults(t *testing.T) {
	lab := NewTest(t, Options{})
	f, err := lab.Fault(1, "address-change")
	if err != nil {
		t.Fatal(err)
	}
	out := run(t, lab.Gateway, "ip -br addr show dev wan1") + run(t, lab.Gateway, "ip route show default dev wan1")
	for _, want := range []string{"198.51.100.77/24", "2001:db8:2::77/64", "src 198.51.100.77 metric 200"} {
		if !strings.Contains(out, want) {
			t.Errorf("after a change there is no %s in\n%s", want, out)
		}
	}
	if strings.Contains(out, "198.51.100.2") || strings.Contains(out, "2001:db8:2::2") {
		t.Errorf("after a change the old addresses are there:\n%s", out)
	}
	undo(t, f)
	if f, err = lab.Fault(1, "address-removal"); err != nil {
		t.Fatal(err)
	}
	out = run(t, lab.Gateway, "ip -br addr show dev wan1 scope global") + run(t, lab.Gateway, "ip route show default dev wan1")
	if strings.Contains(out, "198.51") || strings.Contains(out, "2001:") {
		t.Errorf("after the removal there is\n%s", out)
	}
	undo(t, f)
}

func TestStepsOfDelayAndRate(t *testing.T) {
	lab := NewTest(t, Options{Delay: -1})
	ping := func() time.Duration {
		out := run(t, lab.Gateway, "ping -c 3 -i 0.05 -I wan0 1.1.1.1")
		var least float64
		_, stats, _ := strings.Cut(out, "mdev = ")
		if _, err := fmt.Sscanf(stats, "%f/", &least); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return time.Duration(least * float64(time.Millisecond))
	}
	// near waits for a round trip in this range: other frames, such as of neighbour
	// discovery, go before a ping now and then, and the machine pauses.
	near := func(what string, least, most time.Duration) {
		t.Helper()
		var got time.Duration
		wait.For(t, fmt.Sprintf("%s: a round trip of %v to %v", what, least, most), func() bool {
			if got = ping(); got < least {
				t.Fatalf("%s: a round trip took %v, want %v at least", what, got, least)
			}
			return got <= most
		})
	}
	ping() // neighbours
	const slack = 40 * time.Millisecond
	for _, tc := range []struct {
		spec  string
		least time.Duration
	}{{"delay=50ms", 100 * time.Millisecond}, {"jitter=0s", 0}, {"rate=20000", 78 * time.Millisecond}} {
		f, err := lab.Fault(0, tc.spec)
		if err != nil {
			t.Fatal(err)
		}
		// At 20 kbit/s the 98 bytes of a ping take 39.2 ms each way.
		near(tc.spec, tc.least, tc.least+slack)
		undo(t, f)
		near(tc.spec+" undone", 0, slack)
	}
}

// carrierChanges is how often the first uplink's carrier has changed so far, as the
// kernel counts.
func carrierChanges(t *testing.T, lab *Lab) int {
	t.Helper()
	var links []struct {
		Stats struct {
			TX struct {
				Changes int `json:"carrier_changes"`
			} `json:"tx"`
		} `json:"stats64"`
	}
	if err := json.Unmarshal([]byte(run(t, lab.Gateway, "ip -s -s -j link show wan0")), &links); err != nil || len(links) != 1 {
		t.Fatalf("%v in the list of links %v", err, links)
	}
	return links[0].Stats.TX.Changes
}

func TestFlap(t *testing.T) {
	lab := NewTest(t, Options{})
	before := carrierChanges(t, lab)
	f, err := lab.Fault(0, "flap=3x400ms")
	if err != nil {
		t.Fatal(err)
	}
	wait.For(t, "three losses of carrier", func() bool { return carrierChanges(t, lab)-before >= 5 })
	undo(t, f)
	wait.For(t, "the uplink to work", func() bool { return reach(lab, 0) == full })
	if n := carrierChanges(t, lab) - before; n != 6 {
		t.Errorf("the carrier changed %d times, want three losses and returns", n)
	}

	if f, err = lab.Fault(0, "flap=1000x1h"); err != nil {
		t.Fatal(err)
	}
	undo(t, f) // before the flapping ends
	wait.For(t, "the uplink to work", func() bool { return reach(lab, 0) == full })
	if _, err = lab.Fault(0, "flap=1000x1h"); err != nil {
		t.Fatal(err)
	}
	lab.Close() // also before it ends
}

func TestForeignDeletionTakesSwervesAlone(t *testing.T) {
	lab := NewTest(t, Options{})
	gw := lab.Gateway
	for _, f := range []string{"-4", "-6"} {
		run(t, gw, "ip "+f+" rule add pref 5300 lookup main suppress_prefixlength 1 protocol 83")
		run(t, gw, "ip "+f+" rule add pref 5301 fwmark 0x01000000/0x7f000000 lookup 5301 protocol 83")
		run(t, gw, "ip "+f+" rule add pref 5651 oif wan0 protocol 83 unreachable")
		run(t, gw, "ip "+f+" rule add pref 200 lookup 201 protocol static")
		run(t, gw, "ip "+f+" route add unreachable default table 5366 proto 83 metric 9999")
		run(t, gw, "ip "+f+" route add default table 201 proto static dev lan0")
	}
	run(t, gw, "ip -4 route add default table 5364 proto 83 metric 1 via 203.0.113.1 dev wan0 onlink")
	run(t, gw, "ip -6 route add default table 5364 proto 83 metric 1 via 2001:db8:1::1 dev wan0 onlink")
	run(t, gw, "ip -4 route add default table 5365 proto 83 metric 1 nexthop via 203.0.113.1 dev wan0 weight 3 onlink nexthop via 198.51.100.1 dev wan1 onlink")
	run(t, gw, "ip -6 route add default table 5365 proto 83 metric 1 nexthop via 2001:db8:1::1 dev wan0 weight 3 onlink nexthop via 2001:db8:2::1 dev wan1 onlink")
	all := func() (rules, routes, ruleset string) {
		return run(t, gw, "ip -4 rule") + run(t, gw, "ip -6 rule"),
			run(t, gw, "ip -4 route show table all") + run(t, gw, "ip -6 route show table all"), run(t, gw, "nft list ruleset")
	}
	rules, routes, _ := all()
	if strings.Count(rules, "proto 83") != 6 || strings.Count(routes, "proto 83") != 6 {
		t.Fatalf("the test's own objects are not there:\n%s%s", rules, routes)
	}
	breakOnce := func(spec string) {
		if _, err := lab.Fault(0, spec); err != nil {
			t.Fatal(err)
		}
	}
	breakOnce("delete-rules")
	rules, routes, _ = all()
	if strings.Contains(rules, "proto 83") || strings.Count(rules, "200:") != 2 || strings.Count(routes, "proto 83") != 6 {
		t.Errorf("after delete-rules:\n%s%s", rules, routes)
	}
	breakOnce("delete-routes")
	_, routes, ruleset := all()
	if strings.Contains(routes, "proto 83") || strings.Count(routes, "table 201 proto static") != 2 || !strings.Contains(routes, "proto ra") {
		t.Errorf("after delete-routes:\n%s", routes)
	}
	if !strings.Contains(ruleset, "table inet lab") {
		t.Errorf("before flush-ruleset:\n%s", ruleset)
	}
	breakOnce("flush-ruleset")
	if _, _, ruleset = all(); ruleset != "" {
		t.Errorf("after flush-ruleset:\n%s", ruleset)
	}
}

func TestFaultsAreRefusedWithReasons(t *testing.T) {
	lab := NewTest(t, Options{})
	for _, tc := range []struct {
		uplink int
		spec   string
	}{{2, "carrier"}, {-1, "carrier"}, {0, "nonsense"}, {0, "loss=2"}} {
		if f, err := lab.Fault(tc.uplink, tc.spec); err == nil {
			t.Errorf("fault %v on uplink %d is accepted", f.Spec, tc.uplink)
		}
	}
}
