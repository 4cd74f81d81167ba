package daemon

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/control"
	"swerve/failover"
	"swerve/routing"
)

// A blackhole route of another program in one of our tables is a problem that names
// it. The problem is critical if our routes cannot be placed before it, and cleared
// with its cause.
func TestIntruderIsTold(t *testing.T) {
	for metric, severity := range map[uint32]control.Severity{0: control.Critical, 1: control.Warning} {
		inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
			r.start()
			r.after(3 * time.Second)
			theirs := routing.Route{
				Slot:     routing.Slot{Family: failover.IPv4, Table: 5364, Dst: anyIPv4, Metric: metric},
				Protocol: unix.RTPROT_STATIC, Type: unix.RTN_BLACKHOLE,
			}
			set := func(routes ...routing.Route) {
				r.Routes.Lock()
				r.Routes.Others = routes
				r.Routes.Unlock()
				r.Routes.Changed()
			}
			set(theirs)
			r.until("it is told", 2*time.Minute, func() bool { return r.problem("foreign-route") != nil })
			p := r.problem("foreign-route")
			if p.Severity != severity || !strings.Contains(p.Text, "blackhole default table 5364") || !strings.Contains(p.Remedy, "ip -4 route del blackhole default table 5364") {
				t.Errorf("metric %d: %+v", metric, p)
			}
			if s := r.status(); control.Overall(*s) == control.OK {
				t.Errorf("metric %d: overall is ok", metric)
			}
			set()
			r.until("it is gone", 2*time.Minute, func() bool { return r.problem("foreign-route") == nil })
		})
	}
}
