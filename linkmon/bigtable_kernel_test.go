package linkmon

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"swerve/failover"
	"swerve/testenv/netns"
)

// fillMain puts n routes of each family into main, as a BGP daemon would.
func fillMain(t testing.TB, ns *netns.NS, device string, n int) {
	t.Helper()
	for _, family := range []string{"-4", "-6"} {
		var b strings.Builder
		for i := range n {
			dst := fmt.Sprintf("20.%d.%d.0/24", i>>8, i&255)
			if family == "-6" {
				dst = fmt.Sprintf("2001:db8:f:%x::/64", i)
			}
			fmt.Fprintf(&b, "route add %s dev %s proto bird\n", dst, device)
		}
		file := t.TempDir() + "/routes"
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		runIP(t, ns, family+" -batch "+file)
	}
}

// With the internet's routes in main, changes of a default route are followed at a
// bounded cost, and those of a link at once.
func TestBigMainTable(t *testing.T) {
	ns, isps := wan(t)
	runIP(t, ns, "route add default via 10.0.0.1 dev w0")
	fillMain(t, ns, "w1", 20_000)
	o := observe(t, ns, uplink("a", "w0"), uplink("b", "w1"))
	by := func(gateway string) {
		t.Helper()
		o.untilLink("a", "gateway "+gateway, func(l failover.Link) bool { return l.Family[failover.IPv4].Gateway == addr(gateway) })
	}
	by("10.0.0.1")
	m := &o.m.watch.main
	if !m.isBig() {
		t.Fatalf("a table of %d routes is not big", m.size.Load())
	}
	began, readings := time.Now(), o.m.watch.readings.Load()
	batch := t.TempDir() + "/flaps"
	flaps := strings.Repeat("route replace default via 10.0.0.66 dev w0\nroute replace default via 10.0.0.1 dev w0\n", 50)
	if err := os.WriteFile(batch, []byte(flaps+"route replace default via 10.0.0.77 dev w0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// On a slow machine a listing is paid for with several seconds.
	for time.Since(began) < 3*time.Second || m.listings.Load() < 2 && time.Since(began) < 30*time.Second {
		runIP(t, ns, "-batch "+batch)
	}
	by("10.0.0.77")
	elapsed, busy := time.Since(began), time.Duration(m.busy.Load())
	t.Logf("%d routes: %d listings of %v in all within %v, %d readings of links", m.size.Load(), m.listings.Load(), busy, elapsed,
		o.m.watch.readings.Load()-readings)
	longest := busy / time.Duration(max(1, m.listings.Load()))
	if n := m.listings.Load(); n < 2 || busy > elapsed/restFactor+4*longest {
		t.Errorf("%d listings took %v of %v", n, busy, elapsed)
	}
	listings := m.listings.Load()
	runIP(t, isps[0], "link set isp down")
	o.untilLink("a", "no carrier", func(l failover.Link) bool { return !l.Carrier })
	if n := m.listings.Load(); n > listings+1 {
		t.Errorf("%d listings for a lost carrier", n-listings)
	}
}
