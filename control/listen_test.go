package control

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func listenAt(t *testing.T, path, group string) *Listener {
	t.Helper()
	l, err := Listen(path, group)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func modeOf(t *testing.T, path string) (os.FileMode, *syscall.Stat_t) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode(), info.Sys().(*syscall.Stat_t)
}

func TestListenMakesFoldersAndModes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "swerve", "swerve.sock")
	l := listenAt(t, path, "daemon")
	mode, stat := modeOf(t, path)
	want, err := GroupID("daemon")
	if err != nil {
		t.Fatal(err)
	}
	if mode != os.ModeSocket|0o660 || int(stat.Gid) != want || len(l.Problems()) != 0 {
		t.Errorf("mode %v, group %d, problems %v; want group %d", mode, stat.Gid, l.Problems(), want)
	}
	if n, err := GroupID("4711"); n != 4711 || err != nil {
		t.Errorf("a group by its number: %d, %v", n, err)
	}
	if mode, _ := modeOf(t, filepath.Dir(path)); mode.Perm() != 0o755 {
		t.Errorf("the folder has mode %v", mode)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Close: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func TestListenWithoutTheGroup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l := listenAt(t, path, "no-such-group")
	if mode, _ := modeOf(t, path); mode != os.ModeSocket|0o600 {
		t.Errorf("mode %v", mode)
	}
	p := l.Problems()
	if len(p) != 1 || p[0].Code != "socket-group" || p[0].Severity != Info || p[0].Object != path ||
		!strings.Contains(p[0].Text, "no group no-such-group") || p[0].Since.IsZero() || p[0].Remedy == "" {
		t.Errorf("%+v", p)
	}
}

func TestListenForTheOwnerAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l := listenAt(t, path, "")
	if mode, _ := modeOf(t, path); mode != os.ModeSocket|0o600 || l.Problems() != nil {
		t.Errorf("mode %v, problems %v", mode, l.Problems())
	}
}

// The socket is never open to others, not even before its group is set.
func TestBindIsPrivateAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := bind(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if mode, _ := modeOf(t, path); mode.Perm() != 0o600 {
		t.Errorf("mode %v", mode)
	}
}

// killedSocket leaves a socket behind as a killed process does.
func killedSocket(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
}

func TestListenReplacesAStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	killedSocket(t, path)
	listenAt(t, path, "")
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestListenLeavesOthersAlone(t *testing.T) {
	live := filepath.Join(t.TempDir(), "live")
	listenAt(t, live, "")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, cause string }{
		{live, "answers there; stop that process"},
		{file, "not a socket; remove it"},
		{t.TempDir(), "not a socket"},
		{filepath.Join(file, "s"), "not a directory"},
		{"", "it is empty"},
		{"@abstract", "abstract"},
		{"a\x00b", "zero byte"},
		{"/tmp/" + strings.Repeat("long", 26), "109 bytes"},
	} {
		l, err := Listen(c.path, "")
		if err == nil {
			l.Close()
			t.Errorf("%q: no error", c.path)
			continue
		}
		if !strings.Contains(err.Error(), c.cause) || !strings.HasPrefix(err.Error(), strings.TrimSpace("listen on "+c.path)+": ") {
			t.Errorf("%q: %v", c.path, err)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file: %q, %v", b, err)
	}
	conn, err := net.Dial("unix", live)
	if err != nil {
		t.Fatalf("the live socket: %v", err)
	}
	conn.Close()
}

// Another process that listens is named by its number.
func TestListenNamesTheHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	cmd := exec.Command(os.Args[0], "-test.run=^TestHoldSocket$")
	cmd.Env = append(os.Environ(), "HOLD_SOCKET="+path)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer stdin.Close()
	until(t, "the other process", func() bool {
		conn, err := net.Dial("unix", path)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	l, err := Listen(path, "")
	if err == nil {
		l.Close()
		t.Fatal("took over a live socket")
	}
	if want := "process " + strconv.Itoa(cmd.Process.Pid) + " answers there"; !strings.Contains(err.Error(), want) {
		t.Errorf("%v; want %q", err, want)
	}
}

// TestHoldSocket is the other process of TestListenNamesTheHolder, and nothing of
// its own: it listens until its standard input ends.
func TestHoldSocket(t *testing.T) {
	path := os.Getenv("HOLD_SOCKET")
	if path == "" {
		return
	}
	listenAt(t, path, "")
	os.Stdin.Read(make([]byte, 1))
}

// Of many that start at once on the leftovers of one, exactly one gets the socket.
func TestListenRace(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "s")
		killedSocket(t, path)
		var mu sync.Mutex
		var won []*Listener
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if l, err := Listen(path, ""); err == nil {
					mu.Lock()
					won = append(won, l)
					mu.Unlock()
				}
			})
		}
		all.Wait()
		if len(won) != 1 {
			t.Fatalf("%d have the socket", len(won))
		}
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		won[0].Close()
	}
}

// Close leaves a file that another put in the socket's place.
func TestCloseRemovesOnlyItsOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l := listenAt(t, path, "")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other := listenAt(t, path, "")
	l.Close()
	conn, err := net.Dial("unix", other.Path())
	if err != nil {
		t.Fatalf("the other's socket is gone: %v", err)
	}
	conn.Close()
}
