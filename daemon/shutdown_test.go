package daemon

import (
	"testing"
	"time"

	"swerve/control"
	"swerve/routing"
)

// The end of the daemon does not interrupt the traffic.
func TestShutdownLeavesTheKernelAlone(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.blackHole("eth0", true, both...)
		r.until("fiber is down", 3*time.Second, r.isIn("fiber", control.Down))
		want, _ := r.Routes.Read()
		table := r.Packets.Text()
		r.Journal.Take()
		r.stop()
		r.after(time.Minute)
		r.wantQuiet("after the end")
		got, _ := r.Routes.Read()
		if len(routing.Plan(want, got)) > 0 || r.Packets.Text() != table {
			t.Error("the kernel is not as it was")
		}
	})
}

// It can end while it works, too: in the middle of a failover.
func TestShutdownAtAnyMoment(t *testing.T) {
	for step := range 13 {
		inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
			r.start()
			r.after(2500 * time.Millisecond)
			r.blackHole("eth0", true, both...)
			r.after(time.Duration(step) * 47 * time.Millisecond)
			r.stop()
			r.after(time.Second)
			r.start()
			r.after(10 * time.Second)
			r.wantLadder(2, 1)
			r.blackHole("eth0", false, both...)
			r.until("fiber is up again", 2*time.Minute, r.isIn("fiber", control.Up))
			r.after(time.Second)
			r.wantLadder(1, 2)
		})
	}
}
