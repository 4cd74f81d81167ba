package failover

import "testing"

func TestLayout(t *testing.T) {
	l := DefaultLayout
	for _, c := range []struct {
		what      string
		got, want uint32
	}{
		{"mark of uplink 1", l.Mark(1), 0x01000000},
		{"mark of the default policy", l.Mark(DefaultPolicyLane), 0x40000000},
		{"policy mask", l.CTPolicyMask(), 0x007f0000},
		{"established bit", l.CTEstablished(), 0x00800000},
		{"pair 2, 65", l.CTPair(2, 65), 0x02410000},
		{"inbound by 1", l.CTPair(1, NobodyLane), 0x017f0000},
		{"other mask", Layout{MarkMask: 0x7f00, CTMask: 0x7fff}.CTPair(1, 64), 0x0140},
	} {
		if c.got != c.want {
			t.Errorf("%s: %#08x, want %#08x", c.what, c.got, c.want)
		}
	}
	if got := l.Table(64); got != 5364 {
		t.Errorf("table of the default policy: %d, want 5364", got)
	}
	for _, n := range []Lane{1, 63} {
		for _, p := range []Lane{0, 64, 126, 127} {
			if u, q := l.CTLanes(l.CTPair(n, p) | l.CTEstablished() | 0xffff); u != n || q != p {
				t.Errorf("lanes of pair %d, %d: %d, %d", n, p, u, q)
			}
		}
	}
}
