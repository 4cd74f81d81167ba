package lane

import "testing"

func TestLayout(t *testing.T) {
	l := DefaultLayout
	for _, c := range []struct {
		what      string
		got, want uint32
	}{
		{"mark of uplink 1", l.Mark(1), 0x01000000},
		{"mark of the default policy", l.Mark(DefaultPolicy), 0x40000000},
		{"policy mask", l.CTPolicyMask(), 0x007f0000},
		{"established bit", l.CTEstablished(), 0x00800000},
		{"pair 2, 65", l.CTPair(2, 65), 0x02410000},
		{"inbound by 1", l.CTPair(1, Nobody), 0x017f0000},
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

func TestLaneOf(t *testing.T) {
	l := DefaultLayout
	for table, want := range map[int]Lane{5300: 0, 5301: 1, 5363: 63, 5364: 64, 5426: 126, 5427: 0, 254: 0} {
		if got := l.LaneOf(table); got != want {
			t.Errorf("lane of table %d: %d, want %d", table, got, want)
		}
	}
}

// TestPriorities checks that the rules of all lanes have distinct priorities, within
// the span that the configuration checks.
func TestPriorities(t *testing.T) {
	l := DefaultLayout
	seen := map[int]bool{l.FirstPriority: true}
	add := func(priority int) {
		if seen[priority] || priority > l.FirstPriority+PrioritySpan {
			t.Errorf("priority %d is used twice, or beyond the span", priority)
		}
		seen[priority] = true
	}
	for n := FirstUplink; n <= LastPolicy; n++ {
		add(l.MarkPriority(n))
		if n.IsUplink() {
			add(l.FromPriority(n))
			add(l.OIFPriority(n))
			add(l.OIFUnreachablePriority(n))
		}
	}
	if got := l.OIFUnreachablePriority(LastUplink); got != 5713 {
		t.Errorf("the highest priority is %d, want 5713", got)
	}
}
