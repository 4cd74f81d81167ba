package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"swerve/control"
)

// swapped has the uplinks of twoUplinks the other way round.
const swapped = `
uplinks:
  - {name: lte, interface: eth1}
  - {name: fiber, interface: eth0}
failback: {after: 1s, min_interval: 0s}
`

// reloadFor reloads another file, to be confirmed within a time.
func (r *rig) reloadFor(file string, confirm time.Duration) error {
	state, _, _ := strings.Cut(r.file, "\n")
	r.file = state + "\n" + file
	return r.api().Reload(r.t.Context(), confirm)
}

// configs returns the actions of the configuration's events since the last take.
func (r *rig) configs() string {
	var all []string
	for _, e := range ofType(r.take(), control.EventConfig) {
		all = append(all, e.Detail.(control.ConfigDetail).Action)
	}
	return strings.Join(all, " ")
}

func (r *rig) wantPending(when string, left time.Duration) {
	r.t.Helper()
	d := r.status().Daemon
	if got := d.ConfirmUntil.Sub(r.loop.clock.today()); !d.ConfigPending || (got-left).Abs() > 2*time.Second {
		r.t.Errorf("%s: pending %t, %v left, want %v", when, d.ConfigPending, got, left)
	}
}

func (r *rig) wantSettled(when string) {
	r.t.Helper()
	if d := r.status().Daemon; d.ConfigPending || !d.ConfirmUntil.IsZero() {
		r.t.Errorf("%s: pending until %v", when, d.ConfirmUntil)
	}
}

func (r *rig) record() bool {
	_, err := os.Stat(filepath.Join(r.loop.keeper.folder, pendingFile))
	return err == nil
}

// What is confirmed in time stays; what is not is undone at that time, and told.
func TestConfirm(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.take()
		if err := r.reloadFor(swapped, 2*time.Minute); err != nil {
			t.Fatal(err)
		}
		r.wantPending("reloaded", 2*time.Minute)
		if !r.record() {
			t.Error("nothing is kept to go back to")
		}
		r.after(time.Minute)
		r.wantLadder(2, 1)
		r.wantPending("a minute later", time.Minute)
		done, err := r.api().Confirm(t.Context())
		if err != nil || done.Generation != 2 || done.Config != r.path {
			t.Errorf("%+v, %v", done, err)
		}
		r.wantSettled("confirmed")
		r.after(5 * time.Minute)
		r.wantLadder(2, 1)
		if got := r.configs(); got != "reloaded confirmed" || r.record() {
			t.Errorf("events %s; record %t", got, r.record())
		}
		if _, err := r.api().Confirm(t.Context()); !errors.Is(err, control.ErrRefused) ||
			err.Error() != "confirm the configuration: no reload waits for a confirmation; swerve reload --confirm 2m begins one; swerve events tells whether one was undone" {
			t.Errorf("a second one: %v", err)
		}

		if err := r.reloadFor(twoUplinks, 2*time.Minute); err != nil {
			t.Fatal(err)
		}
		r.after(2*time.Minute - time.Second)
		r.wantLadder(1, 2)
		r.after(5 * time.Second)
		r.wantSettled("undone")
		r.wantLadder(2, 1)
		if got := r.configs(); got != "reloaded reverted" {
			t.Errorf("events: %s", got)
		}
		if p := r.problem("config-reverted"); p == nil || p.Severity != control.Warning {
			t.Errorf("problem: %+v", p)
		}
		// A restart does not take up the file that was not confirmed, until it is reloaded.
		r.restart()
		r.after(3 * time.Second)
		r.wantLadder(2, 1)
		if got := r.configs(); got != "" || r.problem("config-reverted") == nil {
			t.Errorf("events %q, problem %+v", got, r.problem("config-reverted"))
		}
		if err := r.reload(twoUplinks); err != nil {
			t.Fatal(err)
		}
		r.after(30 * time.Second)
		r.wantLadder(1, 2)
		if p := r.problem("config-reverted"); p != nil || r.record() {
			t.Errorf("still: %+v", p)
		}
	})
}

// A daemon that was killed meanwhile waits for the rest, or goes back at its start.
func TestConfirmOverARestart(t *testing.T) {
	for name, c := range map[string]struct {
		away   time.Duration
		reboot bool
		set    time.Duration
		left   time.Duration // 0: gone back
	}{
		"in time":                       {away: time.Minute, left: 4 * time.Minute},
		"in time, another clock":        {away: time.Minute, set: -1000 * time.Hour, left: 4 * time.Minute},
		"in time, another boot":         {away: time.Minute, reboot: true, left: 4 * time.Minute},
		"too late":                      {away: 6 * time.Minute},
		"too late, another clock":       {away: 6 * time.Minute, set: -1000 * time.Hour},
		"too late, another boot":        {away: 6 * time.Minute, reboot: true},
		"another boot, no clock at all": {away: 6 * time.Minute, reboot: true, set: -1000 * time.Hour, left: 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
				r.start()
				r.after(3 * time.Second)
				if err := r.reloadFor(swapped, 5*time.Minute); err != nil {
					t.Fatal(err)
				}
				r.stop()
				time.Sleep(c.away)
				r.set.Add(int64(c.set))
				if c.reboot {
					r.reboot("second")
				}
				r.take()
				r.start()
				if c.left > 0 {
					r.wantPending("started", c.left)
					r.after(c.left - 5*time.Second)
					r.wantLadder(2, 1)
					r.after(10 * time.Second)
				}
				r.after(time.Minute)
				r.wantLadder(1, 2)
				r.wantSettled("at the end")
				if got := r.configs(); got != "reverted" {
					t.Errorf("events: %s", got)
				}
			})
		})
	}
}

// A second reload waits for the same confirmation, or with a time of its own for that;
// what is gone back to is what was confirmed last.
func TestSecondReloadWhilePending(t *testing.T) {
	const third = "uplinks:\n  - {name: fiber, interface: eth0}\n  - {name: cable, interface: eth2}\n"
	for name, c := range map[string]struct {
		confirm, left time.Duration
	}{"without": {0, time.Minute}, "with": {5 * time.Minute, 5 * time.Minute}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
				r.start()
				r.after(3 * time.Second)
				if err := r.reloadFor(swapped, 2*time.Minute); err != nil {
					t.Fatal(err)
				}
				r.after(time.Minute)
				if err := r.reloadFor("uplinks: nonsense\n", c.confirm); !errors.Is(err, control.ErrRefused) {
					t.Errorf("a bad one: %v", err)
				}
				r.wantPending("a bad one", time.Minute)
				if err := r.reloadFor(third, c.confirm); err != nil {
					t.Fatal(err)
				}
				r.wantPending("a second one", c.left)
				r.after(c.left + time.Minute)
				r.wantLadder(1, 2)
				if u := r.status().Uplinks; len(u) != 2 || u[1].Name != "lte" {
					t.Errorf("gone back to %+v", u)
				}
			})
		})
	}
	t.Run("put back by hand", func(t *testing.T) {
		inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
			r.start()
			r.after(3 * time.Second)
			if err := r.reloadFor(swapped, 2*time.Minute); err != nil {
				t.Fatal(err)
			}
			if err := r.reload(twoUplinks); err != nil {
				t.Fatal(err)
			}
			r.wantSettled("put back")
			if r.after(5 * time.Second); r.record() {
				t.Error("the record is left")
			}
		})
	})
}

// Where what to go back to cannot be kept, nothing is applied.
func TestConfirmWithoutAStateFolder(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.Journal.Take()
		folder := r.loop.keeper.folder
		if err := os.WriteFile(folder+".file", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		state := r.file
		err := r.reloadFor("state: /elsewhere\n"+swapped, time.Minute)
		if err == nil {
			t.Error("two states are accepted")
		}
		r.file = "state: /elsewhere\n" + swapped
		if err := r.api().Reload(t.Context(), time.Minute); !errors.Is(err, control.ErrRefused) || !strings.Contains(err.Error(), "another state folder, /elsewhere") {
			t.Errorf("another folder: %v", err)
		}
		r.file = state
		r.loop.keeper.folder = folder + ".file/x"
		r.file = strings.Replace(r.file, folder, folder+".file/x", 1)
		err = r.reloadFor(swapped, time.Minute)
		if !errors.Is(err, control.ErrRefused) || !strings.Contains(err.Error(), "make the folder") || !strings.Contains(err.Error(), "nothing is applied") {
			t.Errorf("unwritable: %v", err)
		}
		r.after(time.Second)
		r.wantQuiet("by a reload that is refused")
		r.wantSettled("refused")
		if got := r.status().Daemon.Generation; got != 1 {
			t.Errorf("generation %d", got)
		}
	})
}

// What is the same as before needs no way back.
func TestConfirmOfTheSame(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.take()
		if err := r.reloadFor(twoUplinks, time.Minute); err != nil {
			t.Fatal(err)
		}
		r.Journal.Take()
		r.after(2 * time.Minute)
		r.wantQuiet("by going back to the same")
		r.wantSettled("at the end")
		if p := r.problem("config-reverted"); p != nil || r.record() || r.configs() != "reloaded confirmed" {
			t.Errorf("problem %+v, record %t", p, r.record())
		}
	})
}

// A record of another hand, or of a configuration that is no longer valid, is not believed.
func TestPendingIsChecked(t *testing.T) {
	folder := t.TempDir()
	for _, text := range []string{"", "{}", `{"version":2}`, `{"version":1,"end":{"set":"2026-01-01T00:00:00Z","until":"2027-01-01T00:00:00Z"}}`, strings.Repeat(" ", pendingLimit+1)} {
		if err := os.WriteFile(filepath.Join(folder, pendingFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := loadPending(folder); err == nil {
			t.Errorf("accepted %.100q: %+v", text, r)
		}
	}
}
