package linkmon

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/testenv/netns"
	"swerve/testenv/privilege"
)

func TestReceiveBuffer(t *testing.T) {
	o := observe(t, netns.New(t))
	if size := bufferOf(t, o.m.watch); size < receiveBuffer {
		t.Errorf("the kernel grants %d bytes, want %d or more", size, receiveBuffer)
	}
}

func bufferOf(t *testing.T, w *watch) int {
	t.Helper()
	size, err := unix.GetsockoptInt(w.messages.GetFd(), unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// Where the limit may not be exceeded the watch takes what it gets, and says so.
func TestReceiveBufferWithinTheLimit(t *testing.T) {
	const wanted = 1 << 30 // more than any machine's limit
	var log bytes.Buffer
	var w *watch
	failed := privilege.Without(unix.CAP_NET_ADMIN, func() {
		var err error
		o := Options{Clock: clockFrom(time.Now()), Log: slog.New(slog.NewTextHandler(&log, nil))}
		if w, err = openWatch(o, newOutbox(), wanted); err != nil {
			t.Error(err)
		}
	})
	if failed != nil || w == nil {
		t.Fatal(failed)
	}
	defer w.close()
	want, err := privilege.Buffer("rmem_max", wanted)
	if size := bufferOf(t, w); err != nil || size != want {
		t.Errorf("the kernel grants %d bytes, want %d (%v)", size, want, err)
	}
	if !strings.Contains(log.String(), "net.core.rmem_max") {
		t.Errorf("the log does not name the limit: %q", log.String())
	}
}
