package lab

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
)

// Manager is systemd's end of a notification socket (sd_notify(3)).
type Manager struct {
	mu  sync.Mutex
	all []string
}

// ListenNotify makes a notification socket at a path, writable by everybody like
// systemd's. It is closed when the test is over.
func ListenNotify(t TB, path string) *Manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err == nil {
		err = os.Chmod(path, 0o777)
	}
	if err != nil {
		t.Fatalf("%v", err)
	}
	m := new(Manager)
	var reader sync.WaitGroup
	reader.Go(func() { m.read(conn) })
	t.Cleanup(func() {
		conn.Close()
		reader.Wait()
		if t.Failed() {
			t.Logf("the daemon notified systemd of %s", m)
		}
	})
	return m
}

func (m *Manager) read(from net.Conn) {
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

// Count returns the number of messages with a prefix.
func (m *Manager) Count(beginning string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, text := range m.all {
		if strings.HasPrefix(text, beginning) {
			n++
		}
	}
	return n
}

func (m *Manager) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprintf("%q", slices.Compact(slices.Clone(m.all)))
}
