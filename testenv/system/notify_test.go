package system

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"swerve/control"
)

// systemd is told when the daemon is ready and how it is, and fed at its watchdog.
func TestNotify(t *testing.T) {
	scenario(t, func(t *trial) {
		folder, err := os.MkdirTemp("", "swerve-notify-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(folder) })
		path := filepath.Join(folder, "socket")
		manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		var told messages
		var reader sync.WaitGroup
		reader.Go(func() { told.read(manager) })
		t.Cleanup(func() { manager.Close(); reader.Wait() })
		g := newGateway(t, usual, twoUplinks, "env", "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=600000")
		g.start()
		g.eventually("READY with its STATUS", func() bool { return told.has("READY=1\nSTATUS=ipv4 by fiber, ipv6 by fiber") })
		g.eventually("three times WATCHDOG", func() bool { return told.count("WATCHDOG=1") >= 3 })
		f := g.fault(fiber, "carrier")
		g.eventually("a STATUS that names what is wrong", func() bool {
			return told.has("STATUS=ipv4 by lte, ipv6 by lte, fiber down in ipv4, fiber down in ipv6")
		})
		g.mend(f)
		ready := told.count("READY=1")
		if err := g.daemon.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		g.eventually("RELOADING and READY again", func() bool {
			return told.has("RELOADING=1\nMONOTONIC_USEC=") && told.count("READY=1") > ready
		})
		g.await("another generation", func(s *control.Status) bool { return s.Daemon.Generation == 2 })
		g.stop()
		g.eventually("STOPPING", func() bool { return told.has("STOPPING=1") })
		if t.Failed() {
			t.Logf("it told %s", &told)
		}
	})
}

// messages are what came by a socket.
type messages struct {
	mu  sync.Mutex
	all []string
}

func (m *messages) read(from *net.UnixConn) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		m.mu.Lock()
		m.all = append(m.all, string(buf[:n]))
		m.mu.Unlock()
	}
}

// has reports whether a message begins so.
func (m *messages) has(beginning string) bool { return m.count(beginning) > 0 }

func (m *messages) count(beginning string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, text := range m.all {
		if strings.HasPrefix(text, beginning) {
			n++
		}
	}
	return n
}

func (m *messages) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprintf("%q", m.all)
}
