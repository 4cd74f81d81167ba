package daemon

import (
	"testing"
	"time"

	"swerve/control"
)

// A reload tells the file that it took, also one that was not there at the start, and
// none once it is gone; a refused one leaves what is in force.
func TestReloadTellsItsFile(t *testing.T) {
	inBubble(t, "uplinks: auto\n", func(t *testing.T, r *rig) {
		r.start()
		r.loop.reporter.path = "" // as without a file
		r.path = "/etc/swerve/swerve.yaml"
		if err := r.reload("uplinks: nothing\n"); err == nil || r.status().Daemon.Config != "" {
			t.Errorf("after a refused file: %v, %q", err, r.status().Daemon.Config)
		}
		if err := r.reload(twoUplinks); err != nil {
			t.Fatal(err)
		}
		if got := r.status().Daemon.Config; got != r.path {
			t.Errorf("the file in force is told as %q", got)
		}
		r.path = ""
		if err := r.reload("uplinks: auto\n"); err != nil || r.status().Daemon.Config != "" {
			t.Errorf("without a file again: %v, %q", err, r.status().Daemon.Config)
		}
	})
}

// An uplink whose interface was never there has no sessions, and none are told as
// moved; one that was there has, also after a restart that finds it gone.
func TestMissingUplinkMovesNothing(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.take()
		if err := r.reload(twoUplinks[1:] + "  - {name: sat, interface: wan7}\n"); err != nil {
			t.Fatal(err)
		}
		r.until("sat is down", 5*time.Second, r.isIn("sat", control.Down))
		r.after(5 * time.Second)
		if moved := ofType(r.take(), control.EventSessions); len(moved) > 0 {
			t.Errorf("told: %+v", moved)
		}
		r.stop()
		gone := r.net.lines["eth0"]
		delete(r.net.lines, "eth0")
		r.Routes.Device(gone.link.Index, false)
		r.start()
		r.after(5 * time.Second)
		moved := ofType(r.take(), control.EventSessions)
		for _, e := range moved {
			if u := e.Detail.(control.SessionsDetail).Uplink; u != "fiber" {
				t.Errorf("told of %s", u)
			}
		}
		if len(moved) != 2 {
			t.Errorf("an uplink that went while the daemon was ended: %+v", moved)
		}
	})
}
