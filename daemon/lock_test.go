package daemon

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"swerve/testenv/netns"

	"golang.org/x/sys/unix"
)

func TestOneDaemonANamespace(t *testing.T) {
	ns, other := netns.New(t), netns.New(t)
	var first *lock
	var err error
	in(t, ns, func() { first, err = hold("/run/a.sock", "/etc/a.yaml") })
	if err != nil {
		t.Fatal(err)
	}
	in(t, ns, func() {
		_, err := hold("/run/b.sock", "")
		var held *HeldError
		if !errors.As(err, &held) || !strings.Contains(err.Error(), "/run/a.sock") || !strings.Contains(err.Error(), "pid ") {
			t.Errorf("the second daemon got %v, want who holds it", err)
		}
	})
	free := func(what string, ns *netns.NS) {
		in(t, ns, func() {
			l, err := hold("/run/c.sock", "")
			if err != nil {
				t.Errorf("%s is held: %v", what, err)
				return
			}
			l.release()
		})
	}
	free("another namespace", other)
	first.release()
	free("a namespace that was released", ns)
}

// A name held by another user does not prevent a start: the daemon takes the next
// name, a second daemon still cannot start, even after the stranger has gone, and a
// problem names the stranger for as long as it holds the name.
func TestStrangersHoldNothing(t *testing.T) {
	ns := netns.New(t)
	stranger := squat(t, ns, "hold")
	var l *lock
	in(t, ns, func() {
		var err error
		if l, err = hold("/run/a.sock", "/etc/a.yaml"); err != nil {
			t.Fatal(err)
		}
	})
	defer l.release()
	kept := func(when string) {
		in(t, ns, func() {
			_, err := hold("/run/b.sock", "")
			if held := new(HeldError); !errors.As(err, &held) || !strings.Contains(held.Holder, "/run/a.sock") {
				t.Errorf("%s: a second daemon got %v", when, err)
			}
		})
	}
	kept("beside a stranger")
	var found []string
	in(t, ns, func() { found = l.squatters() })
	if len(found) != 1 || !strings.Contains(found[0], "@swerve is held by pid "+strconv.Itoa(stranger.Process.Pid)+" of user 65534") {
		t.Errorf("found %v", found)
	}
	stranger.end()
	kept("after the stranger has gone")
	in(t, ns, func() { found = l.squatters() })
	if len(found) != 0 {
		t.Errorf("still found %v", found)
	}
}

// The daemon that a unit starts is not root, and is none of root's strangers: it may change
// routes. A user with all rights in a user namespace of its own may not.
func TestWhoeverMayChangeRoutesCounts(t *testing.T) {
	user := &syscall.Credential{Uid: 65534, Gid: 65534}
	own := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 65534, Size: 1}}
	for name, c := range map[string]struct {
		rights *syscall.SysProcAttr
		counts bool
	}{
		"net_admin":              {&syscall.SysProcAttr{Credential: user, AmbientCaps: []uintptr{unix.CAP_NET_ADMIN}}, true},
		"net_raw alone":          {&syscall.SysProcAttr{Credential: user, AmbientCaps: []uintptr{unix.CAP_NET_RAW}}, false},
		"no right":               {&syscall.SysProcAttr{Credential: user}, false},
		"a namespace of its own": {&syscall.SysProcAttr{Credential: &syscall.Credential{}, Cloneflags: unix.CLONE_NEWUSER, UidMappings: own, GidMappings: own}, false},
	} {
		t.Run(name, func(t *testing.T) {
			ns := netns.New(t)
			other := squatAs(t, ns, "hold-as-is", c.rights)
			in(t, ns, func() {
				l, err := hold("/run/a.sock", "")
				if held := new(HeldError); c.counts != errors.As(err, &held) {
					t.Errorf("beside pid %d: %v", other.Process.Pid, err)
				}
				if err == nil {
					l.release()
				}
			})
		})
	}
}

// A stranger that holds every name prevents a daemon from starting, and the daemon
// reports that. A process that accepts no connection is a stranger as well.
func TestStrangersHoldEverything(t *testing.T) {
	for _, how := range []string{"hold-all", "hold-deaf"} {
		ns := netns.New(t)
		squat(t, ns, how)
		in(t, ns, func() {
			l, err := hold("/run/a.sock", "")
			switch {
			case how == "hold-deaf" && err == nil:
				if l.number != 1 {
					t.Errorf("got name %d beside one that is deaf", l.number)
				}
				l.release()
			case how == "hold-deaf" || err == nil || errors.As(err, new(*HeldError)) || !strings.Contains(err.Error(), "strangers hold all"):
				t.Errorf("%s: %v", how, err)
			}
		})
	}
}

// Of several daemons that start at once, one continues.
func TestOneOfManyStarts(t *testing.T) {
	for range 20 {
		ns := netns.New(t)
		var starts sync.WaitGroup
		var mu sync.Mutex
		var held []*lock
		for range 6 {
			starts.Go(func() {
				in(t, ns, func() {
					l, err := hold("/run/a.sock", "")
					if err != nil && !errors.As(err, new(*HeldError)) {
						t.Errorf("a start: %v", err)
					}
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						held = append(held, l)
					}
				})
			})
		}
		starts.Wait()
		if len(held) != 1 {
			t.Fatalf("%d of six hold the namespace", len(held))
		}
		held[0].release()
	}
}

// A daemon that has the first name and is still starting does not give way to a
// later one that is starting as well; the later one gives way.
func TestTheLowerNameStarts(t *testing.T) {
	ns := netns.New(t)
	first := &lock{holder: "pid 1, the first"}
	in(t, ns, func() {
		var err error
		if first.listener, err = net.ListenUnix("unix", lockAddress(0)); err != nil {
			t.Fatal(err)
		}
	})
	first.done.Go(first.answer)
	in(t, ns, func() {
		_, err := hold("/run/b.sock", "")
		if held := new(HeldError); !errors.As(err, &held) || held.Holder != "pid 1, the first" {
			t.Errorf("the second got %v", err)
		}
	})
	first.release()
}

// squatter is a process of another user that holds names of ours.
type squatter struct {
	*exec.Cmd
	end func()
}

// squat starts a squatter in a namespace, and waits until it holds its names.
func squat(t *testing.T, ns *netns.NS, how string) squatter {
	t.Helper()
	return squatAs(t, ns, how, nil)
}

// squatAs is squat with certain rights of the process.
func squatAs(t *testing.T, ns *netns.NS, how string, rights *syscall.SysProcAttr) squatter {
	t.Helper()
	s := squatter{Cmd: ns.Command("/proc/self/exe")} // whose folders are open to its builder alone
	s.SysProcAttr = rights
	s.Env = append(os.Environ(), insideEnv+"="+how)
	out, err := s.StdoutPipe()
	if err == nil {
		err = ns.Start(s.Cmd)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.end = sync.OnceFunc(func() { _ = s.Process.Kill(); _ = s.Wait() })
	t.Cleanup(s.end)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "held\n" {
		t.Fatalf("the squatter said %q, %v", line, err)
	}
	return s
}

// holdAsStranger is the squatter's process: it holds the first name, all of them,
// or the first without ever accepting a connection, as another user or as it is.
func holdAsStranger(how string) error {
	if how != "hold-as-is" {
		if err := errors.Join(syscall.Setgid(65534), syscall.Setuid(65534)); err != nil {
			return err
		}
	}
	names, backlog := 1, 16
	if how == "hold-deaf" {
		backlog = 0
	}
	if how == "hold-all" {
		names = lockNames
	}
	for n := range names {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrUnix{Name: lockAddress(n).Name})
		}
		if err == nil {
			err = unix.Listen(fd, backlog)
		}
		if err != nil {
			return err
		}
		if how == "hold-deaf" { // its queue is full, so nobody can connect
			for range 2 {
				conn, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
				if err != nil {
					return err
				}
				_ = unix.Connect(conn, &unix.SockaddrUnix{Name: lockAddress(n).Name})
			}
		}
	}
	fmt.Println("held")
	select {} // until it is killed
}

// in runs f inside the namespace.
func in(t *testing.T, ns *netns.NS, f func()) {
	t.Helper()
	if err := ns.Do(func() error { f(); return nil }); err != nil {
		t.Fatal(err)
	}
}
