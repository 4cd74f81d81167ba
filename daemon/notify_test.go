package daemon

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"swerve/testenv/fake"
)

// asSystemd listens in systemd's place, and returns the messages that it received.
func asSystemd(t *testing.T) (told func() []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	var all []string
	var done sync.WaitGroup
	done.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			all = append(all, string(buf[:n]))
		}
	})
	t.Cleanup(func() { conn.Close(); done.Wait() })
	return func() []string {
		time.Sleep(50 * time.Millisecond) // messages sent before are read before this one
		conn.Close()
		done.Wait()
		return all
	}
}

func TestSystemdIsTold(t *testing.T) {
	told := asSystemd(t)
	t.Setenv("WATCHDOG_USEC", "3000000")
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(10 * time.Second)
		if err := r.reload(twoUplinks); err != nil {
			t.Fatal(err)
		}
		r.after(time.Second)
		r.change("eth0", func(l *line) { l.link.Carrier = false })
		r.after(time.Second)
	})
	lines := told()
	count := func(prefix string) (n int) {
		for _, l := range lines {
			if strings.HasPrefix(l, prefix) {
				n++
			}
		}
		return n
	}
	if count("READY=1\nSTATUS=") != 2 || count("RELOADING=1\nMONOTONIC_USEC=") != 1 || count("STOPPING=1") != 1 {
		t.Errorf("notified:\n%s", strings.Join(lines, "\n--\n"))
	}
	if n := count("WATCHDOG=1"); n < 11 || n > 13 {
		t.Errorf("the watchdog of 3 s was fed %d times in 12 s", n)
	}
	if len(fake.With(lines, "STATUS=ipv4 by lte, ipv6 by lte, fiber down in ipv4, fiber down in ipv6")) != 1 {
		t.Errorf("notified:\n%s", strings.Join(lines, "\n--\n"))
	}
	if last := lines[len(lines)-1]; last != "STOPPING=1" {
		t.Errorf("last %q", last)
	}
}

// The daemon becomes ready without any uplink too: they may all appear later.
func TestReadyWithoutUplinks(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		delete(r.net.lines, "eth0")
		delete(r.net.lines, "eth1")
		r.start()
		r.until("ready", readyWithin+time.Second, func() bool {
			select {
			case <-r.loop.ready:
				return true
			default:
				return false
			}
		})
	})
}

func TestWatchdogEvery(t *testing.T) {
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"", "", 0},
		{"30000000", "", 10 * time.Second},
		{"30000000", "1", 0},
		{"nonsense", "", 0},
	} {
		t.Setenv("WATCHDOG_USEC", c.usec)
		t.Setenv("WATCHDOG_PID", c.pid)
		if c.usec == "" {
			os.Unsetenv("WATCHDOG_USEC")
		}
		if c.pid == "" {
			os.Unsetenv("WATCHDOG_PID")
		}
		if got := watchdogEvery(); got != c.want {
			t.Errorf("WATCHDOG_USEC=%s WATCHDOG_PID=%s: every %v, want %v", c.usec, c.pid, got, c.want)
		}
	}
}

// A systemd that does not listen, or does not read, stops nothing.
func TestSystemdIsGone(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	var log strings.Builder
	n := newNotifier(slog.New(slog.NewTextHandler(&log, nil)))
	n.ready("fine")
	n.status("fine") // unchanged: not sent again
	n.status("other")
	n.stopping()
	n.run()
	if got := strings.Count(log.String(), "notify systemd"); got != 3 {
		t.Errorf("%d warnings:\n%s", got, log.String())
	}

	log.Reset()
	stuck := newNotifier(slog.New(slog.NewTextHandler(&log, nil)))
	for range notifierQueue + 2 {
		stuck.alive()
	}
	if got := strings.Count(log.String(), "the queue is full"); got != 2 {
		t.Errorf("%d warnings of a full queue:\n%s", got, log.String())
	}
}
