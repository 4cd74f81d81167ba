package daemon

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
)

// folder returns the rig's state folder.
func (r *rig) folder() string {
	first, _, _ := strings.Cut(r.file, "\n")
	return strings.TrimPrefix(first, "state: ")
}

// A name keeps its lane over a restart, even if the order in the file has changed,
// and the families that were offered are remembered.
func TestStateSurvivesARestart(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(time.Minute)
		r.stop()
		r.file = "state: " + r.folder() + "\nuplinks:\n  - {name: lte, interface: eth1}\n  - {name: fiber, interface: eth0}\n"
		r.change("eth0", func(l *line) { l.link.Family[failover.IPv6] = failover.FamilyLink{} })
		r.start()
		r.after(time.Minute)
		if rules := r.Routes.RuleTexts("oif eth0 lookup 5301"); len(rules) != 2 {
			t.Errorf("rules: %v", r.Routes.RuleTexts("oif"))
		}
		if got := r.uplink("fiber").IPv6.State; got != control.Down {
			t.Errorf("IPv6, that was there before, is %s; want down", got)
		}
	})
}

// To reduce the writes to the disk, a state that the file already holds is not
// written again.
func TestStateIsWrittenWhenItChanges(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(time.Minute)
		path := filepath.Join(r.folder(), stateFile)
		first, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		marked := append(first, "\n\n"...) // equivalent to a reader
		if err := os.WriteFile(path, marked, 0o600); err != nil {
			t.Fatal(err)
		}
		r.restart()
		if err := r.reload(twoUplinks); err != nil {
			t.Fatal(err)
		}
		r.after(time.Minute)
		if again, err := os.ReadFile(path); err != nil || !slices.Equal(again, marked) {
			t.Errorf("it was written again: %v", err)
		}
		if err := r.reload(twoUplinks[1:] + "  - {name: sat, interface: eth2}\n"); err != nil {
			t.Fatal(err)
		}
		r.after(time.Second)
		if s, err := loadState(r.folder()); err != nil || s.Lanes.Uplinks["sat"] != 3 {
			t.Errorf("the new uplink is not in it: %+v, %v", s, err)
		}
	})
}

// Without the state file the lanes are read from the kernel's own rules.
func TestLanesWithoutAStateFile(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(time.Minute)
		r.stop()
		if err := os.Remove(filepath.Join(r.folder(), stateFile)); err != nil {
			t.Fatal(err)
		}
		r.file = "state: " + r.folder() + "\nuplinks:\n  - {name: sat, interface: eth2}\n  - {name: lte, interface: eth1}\n  - {name: fiber, interface: eth0}\n"
		r.start()
		held, _ := r.Routes.Read()
		if got := held.Lanes(r.loop.setup.layout); got["eth0"] != 1 || got["eth1"] != 2 || got["eth2"] != 3 {
			t.Errorf("lanes: %v", got)
		}
	})
}

// A state file that cannot be read is reported and kept; one that cannot be written
// is reported until it can.
func TestStateThatCannotBeKept(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		path := filepath.Join(r.folder(), stateFile)
		if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil {
			t.Fatal(err)
		}
		// A folder in place of the .bad file: even a daemon running as root can
		// write neither file.
		if err := os.MkdirAll(path+".bad/x", 0o755); err != nil {
			t.Fatal(err)
		}
		r.start()
		r.after(3 * time.Second)
		unread, unwritten := r.problem("state-unreadable"), r.problem("state-unwritable")
		if unread == nil || unwritten == nil || unwritten.Severity != control.Warning || unwritten.Object != r.folder() {
			t.Fatalf("problems: %+v", r.status().Problems)
		}
		r.blackHole("eth0", true, both...)
		r.until("traffic leaves fiber", time.Second, r.isIn("fiber", control.Shunned))
		r.wantLadder(2, 1)
		if now := r.problem("state-unwritable"); now == nil || now.Since != unwritten.Since {
			t.Errorf("now: %+v", now)
		}

		if err := os.RemoveAll(path + ".bad"); err != nil {
			t.Fatal(err)
		}
		r.after(2 * saveAgain)
		if r.problem("state-unwritable") != nil {
			t.Errorf("problems: %+v", r.status().Problems)
		}
		s, err := loadState(r.folder())
		if err != nil || s.Lanes.Uplinks["lte"] != 2 || !s.seen("fiber", failover.IPv6) {
			t.Errorf("written: %+v, %v", s, err)
		}
		if kept, err := os.ReadFile(path + ".bad"); err != nil || string(kept) != "nonsense" {
			t.Errorf("what could not be read is lost: %v", err)
		}
	})
}

// A stall that was not an outage increases the patience, which survives a restart.
func TestLearntPatienceSurvivesARestart(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(time.Minute)
		r.blackHole("eth0", true, failover.IPv4)
		r.until("fiber is down", 5*time.Second, func() bool { return r.uplink("fiber").IPv4.State == control.Down })
		r.blackHole("eth0", false, failover.IPv4)
		r.after(2 * time.Minute)
		patience := func() [2]float64 {
			u := r.uplink("fiber")
			return [2]float64{u.IPv4.PatienceMS, u.IPv6.PatienceMS}
		}
		if got := patience(); got != [2]float64{1000, 500} {
			t.Fatalf("patience %v after a stall", got)
		}
		r.restart()
		r.after(time.Second)
		if got := patience(); got != [2]float64{1000, 500} {
			t.Errorf("patience %v after a restart", got)
		}
		// A configured patience is the minimum, and is not mistaken for a learned
		// one.
		r.file += "health: {patience: 2s}\n"
		r.restart()
		r.after(time.Minute)
		r.file = strings.Replace(r.file, "health: {patience: 2s}\n", "", 1)
		r.restart()
		r.after(time.Second)
		if got := patience(); got != [2]float64{500, 500} {
			t.Errorf("patience %v after one that was configured", got)
		}
	})
}

// What is asked to be kept is tried at once, also soon after an attempt that failed: once
// the folder can be written again, an order says so.
func TestKeptAgainAtOnce(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		away := func(from, to string) {
			t.Helper()
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
		away(r.folder(), r.folder()+".away")
		if err := os.WriteFile(r.folder(), nil, 0o600); err != nil { // in its place
			t.Fatal(err)
		}
		if done, err := r.api().Drain(t.Context(), control.Order{Uplink: "fiber"}); err != nil || done.Unkept == "" {
			t.Errorf("%+v, %v", done, err)
		}
		if err := r.api().Reload(t.Context(), time.Hour); err == nil {
			t.Error("the confirmation is kept nowhere")
		}
		away(r.folder(), r.folder()+".file")
		away(r.folder()+".away", r.folder())
		begin := time.Now()
		if err := r.api().Reload(t.Context(), time.Hour); err != nil {
			t.Errorf("writable again: %v", err)
		}
		if done, err := r.api().Drain(t.Context(), control.Order{Uplink: "lte"}); err != nil || done.Unkept != "" {
			t.Errorf("%+v, %v", done, err)
		}
		if wait := time.Since(begin); wait > time.Second {
			t.Errorf("it took %v", wait)
		}
	})
}
