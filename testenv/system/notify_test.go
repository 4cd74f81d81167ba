package system

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"swerve/control"
	"swerve/testenv/lab"
)

// systemd is told when the daemon is ready and what its state is, and its watchdog is fed.
func TestNotify(t *testing.T) {
	scenario(t, func(t *trial) {
		folder, err := os.MkdirTemp("", "swerve-notify-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(folder) })
		path := filepath.Join(folder, "socket")
		notified := lab.ListenNotify(t, path)
		g := newGateway(t, usual, twoUplinks, "env", "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=600000")
		g.Start()
		g.Until("READY with its STATUS", func() bool { return notified.Count("READY=1\nSTATUS=ipv4 by fiber, ipv6 by fiber") > 0 })
		g.Until("three times WATCHDOG", func() bool { return notified.Count("WATCHDOG=1") >= 3 })
		f := g.Break(fiber, "carrier")
		g.Until("a STATUS that names what is wrong", func() bool {
			return notified.Count("STATUS=ipv4 by lte, ipv6 by lte, fiber down in ipv4, fiber down in ipv6") > 0
		})
		g.Mend(f)
		ready := notified.Count("READY=1")
		if err := g.daemon.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		g.Until("RELOADING and READY again", func() bool {
			return notified.Count("RELOADING=1\nMONOTONIC_USEC=") > 0 && notified.Count("READY=1") > ready
		})
		g.Await("another generation", func(s *control.Status) bool { return s.Daemon.Generation == 2 })
		g.Stop()
		g.Until("STOPPING", func() bool { return notified.Count("STOPPING=1") > 0 })
	})
}
