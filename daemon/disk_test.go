package daemon

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/control"
)

// disk is a small file system in memory that a test can fill.
type disk struct {
	t      testing.TB
	folder string
}

func newDisk(t testing.TB) disk {
	t.Helper()
	d := disk{t, t.TempDir()}
	d.must(unix.Mount("tmpfs", d.folder, "tmpfs", 0, "size=256k"))
	t.Cleanup(func() { d.must(unix.Unmount(d.folder, unix.MNT_DETACH)) })
	return d
}

func (d disk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d disk) filler() string { return filepath.Join(d.folder, "filler") }

// fill uses up the remaining space; empty frees it.
func (d disk) fill() {
	d.t.Helper()
	if err := os.WriteFile(d.filler(), make([]byte, 1<<20), 0o600); err == nil {
		d.t.Fatal("a mebibyte was written: the disk cannot be filled")
	}
}

func (d disk) empty() { d.t.Helper(); d.must(os.Remove(d.filler())) }

// readOnly makes the file system read-only or writable.
func (d disk) readOnly(on bool) {
	d.t.Helper()
	flags := uintptr(unix.MS_REMOUNT)
	if on {
		flags |= unix.MS_RDONLY
	}
	d.must(unix.Mount("tmpfs", d.folder, "tmpfs", flags, ""))
}

// A disk that cannot be written is reported, and delays neither the start nor a
// switch. Once it can be written again, everything is written.
func TestDiskThatTakesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		breaks, mends func(disk)
		says, remedy  string
	}{
		"full": {disk.fill, disk.empty, "no space left on device (ENOSPC)", "make room: see df -h "},
		"read-only": {func(d disk) { d.readOnly(true) }, func(d disk) { d.readOnly(false) },
			"read-only file system (EROFS)", "make it writable: findmnt -T "},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
				r.file = "state: " + d.folder + "\n" + twoUplinks
				c.breaks(d)
				r.start()
				r.after(3 * time.Second)
				p := r.problem("state-unwritable")
				if p == nil || p.Severity != control.Warning || !strings.Contains(p.Text, c.says) || !strings.Contains(p.Remedy, c.remedy) {
					t.Fatalf("problems: %+v", r.status().Problems)
				}
				r.blackHole("eth0", true, both...)
				r.until("traffic leaves fiber", time.Second, r.isIn("fiber", control.Shunned))
				r.wantLadder(2, 1)
				c.mends(d)
				r.after(2 * saveAgain)
				if p := r.problem("state-unwritable"); p != nil {
					t.Errorf("stands on: %+v", p)
				}
				r.wantState(map[string]int{"fiber": 1, "lte": 2})

				// The file that was written stays intact when there is no space
				// left.
				c.breaks(d)
				if err := r.reload(twoUplinks + "  - {name: sat, interface: eth2}\n"); err != nil {
					t.Fatal(err)
				}
				r.after(time.Second)
				if r.problem("state-unwritable") == nil {
					t.Errorf("problems: %+v", r.status().Problems)
				}
				r.wantState(map[string]int{"fiber": 1, "lte": 2})
				c.mends(d)
				r.after(2 * saveAgain)
				r.wantState(map[string]int{"fiber": 1, "lte": 2, "sat": 3})
				if left, _ := filepath.Glob(filepath.Join(d.folder, "*")); len(left) != 1 {
					t.Errorf("files left: %v", left)
				}
			})
		})
	}
}

// wantState fails unless the state file is complete and holds these lanes of
// uplinks.
func (r *rig) wantState(lanes map[string]int) {
	r.t.Helper()
	s, err := loadState(r.folder())
	if err != nil || len(s.Lanes.Uplinks) != len(lanes) {
		r.t.Errorf("the state has %v (%v), want %v", s.Lanes.Uplinks, err, lanes)
	}
	for name, n := range lanes {
		if int(s.Lanes.Uplinks[name]) != n {
			r.t.Errorf("%s has lane %d in the state, want %d", name, s.Lanes.Uplinks[name], n)
		}
	}
}

// A state file that is truncated, or of a later version, is kept aside and reported
// for as long as the daemon runs.
func TestBadStateIsTold(t *testing.T) {
	for name, text := range map[string]string{
		"cut short": `{"version": 1, "lanes": {"uplinks": {"fib`, "empty": "", "zeros": strings.Repeat("\x00", 512),
		"of the future": `{"version": 9, "lanes": []}`,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
				path := filepath.Join(r.folder(), stateFile)
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				r.start()
				r.after(time.Minute)
				p := r.problem("state-unreadable")
				if p == nil || p.Severity != control.Info || !strings.Contains(p.Text, path) || !strings.Contains(p.Remedy, ".bad") {
					t.Errorf("problems: %+v", r.status().Problems)
				}
				if kept, err := os.ReadFile(path + ".bad"); err != nil || string(kept) != text {
					t.Errorf("kept aside: %q, %v", kept, err)
				}
				r.wantState(map[string]int{"fiber": 1, "lte": 2})
				r.restart()
				if p := r.problem("state-unreadable"); p != nil {
					t.Errorf("after a restart: %+v", p)
				}
			})
		})
	}
}

// The whole daemon with a disk that cannot be written: neither the state nor the
// previous values of sysctls can be saved. So no sysctl is set, and that is
// reported.
func TestRunOnAFullDisk(t *testing.T) {
	t.Parallel() // it waits, mostly
	g := newGateway(t)
	d := newDisk(t)
	g.folder = d.folder
	g.configure("")
	d.fill()
	before := g.sh("sysctl net.ipv4.conf.wan0.ignore_routes_with_linkdown net.ipv4.conf.wan0.src_valid_mark")
	p := g.start()
	p.await("both uplinks are up, and the problems are told", func(s *control.Status) bool {
		return allUp(s) && has(s, "state-unwritable", "no space left on device") && has(s, "sysctl", "no space left on device")
	})
	if now := g.sh("sysctl net.ipv4.conf.wan0.ignore_routes_with_linkdown net.ipv4.conf.wan0.src_valid_mark"); now != before {
		t.Errorf("sysctls were set that cannot be put back: %s", now)
	}
	p.await("the start is over", func(s *control.Status) bool { return s.Now.Sub(s.Daemon.Since.Time) > 3*time.Second })
	g.must(g.isp.SetDown("wan0"))
	p.await("traffic left", func(s *control.Status) bool { return s.SwitchesTotal == 2 })
	g.must(g.isp.SetUp("wan0"))
	d.empty()
	p.await("all is written", func(s *control.Status) bool { return !has(s, "sysctl", "") && !has(s, "state-unwritable", "") })
	if kept, err := os.ReadFile(sysctlFile(g.socket())); err != nil || !strings.Contains(string(kept), "src_valid_mark") {
		t.Errorf("the old sysctls: %s, %v", kept, err)
	}
	if s, err := loadState(filepath.Join(d.folder, "state")); err != nil || len(s.Lanes.Uplinks) != 2 {
		t.Errorf("the state: %+v, %v", s, err)
	}
}

// The whole daemon where there is no room for a socket: failover works without, and the
// socket is made when it can be.
func TestRunWithoutASocket(t *testing.T) {
	t.Parallel() // it waits, mostly
	g, d := newGateway(t), newDisk(t)
	g.folder = d.folder
	g.configure("")
	d.readOnly(true)
	p := g.start()
	by := func(device string) {
		t.Helper()
		for begin := time.Now(); !strings.Contains(g.sh("ip -4 route show table 5364 2>&1 || true"), "dev "+device); time.Sleep(20 * time.Millisecond) {
			if time.Since(begin) > time.Minute {
				t.Fatalf("no traffic by %s within a minute\n%s", device, p.stderr)
			}
		}
	}
	by("wan0")
	g.must(g.isp.SetDown("wan0"))
	by("wan1")
	if s, err := p.client.Status(t.Context()); err == nil {
		t.Fatalf("there is a socket: %+v", s)
	}
	g.must(g.isp.SetUp("wan0"))
	g.must(g.isp.AddAddr("wan0", netip.MustParsePrefix("2001:db8:1::1/64"))) // it went with the link
	d.readOnly(false)
	p.await("it answers", func(s *control.Status) bool { return allUp(s) && !has(s, "control-socket", "") })
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("the end: %v", err)
	}
}

// A record of sysctls that cannot be parsed is not overwritten, so none is set.
func TestRunBesideABrokenRecord(t *testing.T) {
	g := newGateway(t)
	const broken = `{"version": 7}`
	g.must(os.WriteFile(sysctlFile(g.socket()), []byte(broken), 0o600))
	p := g.start()
	p.await("both uplinks are up, and the problem is told", func(s *control.Status) bool {
		return allUp(s) && has(s, "sysctl-record", "format version 7")
	})
	if now := g.sh("sysctl -n net.ipv4.conf.wan0.src_valid_mark"); now != "0\n" {
		t.Errorf("a sysctl was set: %s", now)
	}
	if kept, err := os.ReadFile(sysctlFile(g.socket())); err != nil || string(kept) != broken {
		t.Errorf("the record: %s, %v", kept, err)
	}
}

func allUp(s *control.Status) bool {
	for _, u := range s.Uplinks {
		if u.IPv4.State != control.Up || u.IPv6.State != control.Up {
			return false
		}
	}
	return len(s.Uplinks) == 2
}

// has reports whether a problem stands that has a code and contains a text.
func has(s *control.Status, code, text string) bool {
	for _, p := range s.Problems {
		if p.Code == code && strings.Contains(p.Text, text) {
			return true
		}
	}
	return false
}

// archived returns the events in a state folder, the oldest first. Those of a daemon whose
// disk failed for a while have to be numbered like all others.
func (g *gateway) archived() []control.Event {
	g.t.Helper()
	text, err := os.ReadFile(filepath.Join(g.folder, "state", "events.ndjson"))
	g.must(err)
	var all []control.Event
	for line := range strings.Lines(string(text)) {
		var e control.Event
		g.must(json.Unmarshal([]byte(line), &e))
		if n := len(all); n > 0 && e.Seq != all[n-1].Seq+1 {
			g.t.Errorf("event %d follows %d", e.Seq, all[n-1].Seq)
		}
		all = append(all, e)
	}
	return all
}

// A state folder that fails while the daemon runs, or before: traffic fails over all
// the same, a problem names the kernel's error and what to do, and once the folder is
// well again all of it is written, numbered without a gap over a restart.
func TestRunOnADiskThatFails(t *testing.T) {
	for _, c := range []struct {
		name          string
		before        bool // it fails from the start
		breaks, mends func(d disk, state string)
		says, remedy  string
	}{
		{"full", false, func(d disk, _ string) { d.fill() }, func(d disk, _ string) { d.empty() },
			"no space left on device (ENOSPC)", "make room: see df -h "},
		{"read-only", true, func(d disk, state string) {
			d.must(os.Mkdir(state, 0o755))
			d.must(unix.Mount(state, state, "", unix.MS_BIND, ""))
			d.must(unix.Mount("", state, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		}, func(d disk, state string) { d.must(unix.Unmount(state, unix.MNT_DETACH)) },
			"read-only file system (EROFS)", "make it writable: findmnt -T "},
		{"replaced", false, func(d disk, state string) {
			d.must(os.RemoveAll(state))
			d.must(os.WriteFile(state, nil, 0o600))
		}, func(d disk, state string) { d.must(os.Remove(state)) }, "not a directory (ENOTDIR)", "make the folder "},
		{"removed", false, func(d disk, state string) { d.must(os.RemoveAll(state)) }, func(disk, string) {}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // a failed write is tried again after ten seconds
			g, d := newGateway(t), newDisk(t)
			g.folder = d.folder
			g.configure("")
			state := filepath.Join(d.folder, "state")
			if c.before {
				c.breaks(d, state)
			}
			p := g.start()
			p.await("both uplinks are up", allUp)
			p.await("the start is over", func(s *control.Status) bool { return s.Now.Sub(s.Daemon.Since.Time) > 3*time.Second })
			if !c.before {
				c.breaks(d, state)
			}
			g.must(g.isp.SetDown("wan0"))
			p.await("traffic left", func(s *control.Status) bool { return s.SwitchesTotal == 2 })
			for _, code := range []string{"state-unwritable", "events-unwritable"} {
				if c.says == "" {
					continue
				}
				p.await("the problem "+code, func(s *control.Status) bool {
					// The file's last page has room for some events; each reload is one.
					g.must(p.cmd.Process.Signal(syscall.SIGHUP))
					told := problemOf(s, code, state)
					return told != nil && strings.Contains(told.Text, c.says) && strings.HasPrefix(told.Remedy, c.remedy)
				})
			}
			g.must(g.isp.SetUp("wan0"))
			g.must(g.isp.AddAddr("wan0", netip.MustParsePrefix("2001:db8:1::1/64"))) // it went with the link
			c.mends(d, state)
			p.await("all is written", func(s *control.Status) bool {
				_, err := os.Stat(filepath.Join(state, "events.ndjson"))
				_, also := os.Stat(filepath.Join(state, stateFile))
				return err == nil && also == nil && !has(s, "state-unwritable", "") && !has(s, "events-unwritable", "")
			})
			if err := p.end(syscall.SIGTERM); err != nil {
				t.Errorf("the end: %v", err)
			}
			g.allIsWritten(state)
		})
	}
}

// allIsWritten checks what a daemon with a disk that failed for a while has left, and
// that its numbers go on in the next one.
func (g *gateway) allIsWritten(state string) {
	g.t.Helper()
	all := g.archived()
	switches := len(ofType(all, control.EventSwitch))
	if all[0].Seq != 1 || switches < 2 {
		g.t.Errorf("%d events from number %d on, %d switches", len(all), all[0].Seq, switches)
	}
	if s, err := loadState(state); err != nil || s.LastSwitch == nil {
		g.t.Errorf("the state: %+v, %v", s, err)
	}
	q := g.start()
	q.await("both uplinks are up again", allUp)
	if err := q.end(syscall.SIGTERM); err != nil {
		g.t.Errorf("the end: %v", err)
	}
	if again := g.archived(); len(again) <= len(all) {
		g.t.Errorf("%d events after a restart, %d before", len(again), len(all))
	}
}
