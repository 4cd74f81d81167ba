package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
)

// A reload tells the file that it took, also one that was not there at the start; a
// refused one leaves what is in force, and so does one whose file has gone.
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
		was := r.status().Daemon
		r.path = ""
		if err := r.reload("uplinks: auto\n"); !errors.Is(err, control.ErrRefused) || !strings.Contains(fmt.Sprint(err.(*control.Error).Problems), "is gone") {
			t.Errorf("the file is gone: %v", err)
		}
		if now := r.status().Daemon; now.Config != was.Config || now.Generation != was.Generation {
			t.Errorf("in force after the file has gone: %+v, before %+v", now, was)
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
		r.change("eth2", func(l *line) {
			l.link.Family[failover.IPv4].Gateway, l.link.Family[failover.IPv6].Gateway = netip.Addr{}, netip.Addr{}
		})
		if err := r.reload(twoUplinks[1:] + "  - {name: cable, interface: eth2}\n"); err != nil {
			t.Fatal(err)
		}
		r.until("cable is down", 5*time.Second, r.isIn("cable", control.Down))
		r.after(5 * time.Second)
		if moved := ofType(r.take(), control.EventSessions); len(moved) > 0 {
			t.Errorf("told of one without a gateway: %+v", moved)
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
		if len(moved) != 4 { // in each family they were moved, and counted
			t.Errorf("an uplink that went while the daemon was ended: %+v", moved)
		}
	})
}
