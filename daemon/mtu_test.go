package daemon

import (
	"strings"
	"testing"
	"time"

	"swerve/failover"
)

// TCP's segment size follows what the interface carries and what its default route says,
// by family.
func TestSegmentSizeFollowsTheUplink(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(2 * time.Second)
		has := func(text string) bool { return strings.Contains(r.Packets.Text(), text) }
		if has("maxseg size set 1") {
			t.Errorf("without a known MTU:\n%s", r.Packets.Text())
		}
		r.change("eth1", func(l *line) {
			l.link.MTU = 1428
			l.link.Family[failover.IPv6].Shape.Metrics[failover.MetricMTU] = 1280
		})
		r.after(2 * time.Second)
		if !has("meta nfproto ipv4 tcp option maxseg size set 1388") || !has("meta nfproto ipv6 tcp option maxseg size set 1220") {
			t.Errorf("with 1428 and 1280:\n%s", r.Packets.Text())
		}
		r.change("eth1", func(l *line) { l.link.MTU = 1500 })
		r.after(2 * time.Second)
		if !has("meta nfproto ipv4 tcp option maxseg size set 1460") {
			t.Errorf("with 1500:\n%s", r.Packets.Text())
		}
	})
}
