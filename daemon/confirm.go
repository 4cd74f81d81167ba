package daemon

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"swerve/config"
	"swerve/control"
	"swerve/failover"
)

// A reload with a time for its confirmation is undone when that is over, also by a daemon
// that is started after it. What it takes for that is in the state folder before anything
// is applied.

// pendingFile has the configuration to go back to.
const (
	pendingFile    = "pending.json"
	pendingVersion = 1
	pendingLimit   = 8 << 20 // bytes; a configuration has at most 2 MiB, and JSON escapes it
)

// pendingRecord is the content of that file.
type pendingRecord struct {
	Version int `json:"version"`
	// Path of the configuration file.
	Path string `json:"path"`
	// Earlier is the content of the configuration to go back to, and EarlierPath its file;
	// empty where there was none.
	Earlier     string `json:"earlier"`
	EarlierPath string `json:"earlier_path"`
	// End is when it is gone back to.
	End deadline `json:"end"`
	// Reverted is the sum of the file's content that was not confirmed: while the file has
	// it, the earlier configuration is in force. Empty while the confirmation is waited for.
	Reverted string `json:"reverted,omitempty"`
}

// sumOf identifies the content of a configuration file.
func sumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// loadPending reads the record of a state folder; nil for none.
func loadPending(folder string) (*pendingRecord, error) {
	path := filepath.Join(folder, pendingFile)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("daemon: read %s: %w", path, err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, pendingLimit+1))
	var r pendingRecord
	if err == nil && len(data) > pendingLimit {
		err = fmt.Errorf("more than %d bytes", pendingLimit)
	}
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err == nil && r.Version != pendingVersion {
		err = fmt.Errorf("format version %d is not known; this swerve writes version %d", r.Version, pendingVersion)
	}
	if err := cmp.Or(err, r.End.check(control.MaxConfirm)); err != nil {
		return nil, fmt.Errorf("daemon: read %s: %w", path, err)
	}
	return &r, nil
}

// writePending writes the record of a state folder, or removes it.
func writePending(folder string, r *pendingRecord) error {
	path := filepath.Join(folder, pendingFile)
	if r == nil {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("daemon: remove %s: %w", path, err)
		}
		return nil
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = replaceFile(folder, pendingFile, append(data, '\n'), false)
	}
	if err != nil {
		return fmt.Errorf("daemon: write %s: %w", path, err)
	}
	return nil
}

// earlier reads the configuration to go back to.
func (r *pendingRecord) earlier() (*config.Config, []config.Problem) {
	if r.EarlierPath == "" {
		return config.Default(), nil
	}
	return config.Parse(r.EarlierPath, []byte(r.Earlier))
}

// beginning is what a daemon starts with.
type beginning struct {
	cfg   *config.Config
	path  string
	found []config.Problem
	// record is what the state folder has of a reload with a confirmation; nil for nothing.
	record *pendingRecord
	// back: the earlier configuration is in force since no confirmation came, which this
	// start found.
	back bool
	// unread is why the record cannot be read.
	unread error
}

// begin reads the configuration to start with: the file, or the one before it, if a
// reload of the file was not confirmed in time.
func begin(load func() (*config.Config, string, []config.Problem), clock *clock) beginning {
	cfg, path, found := load()
	b := beginning{cfg: cfg, path: path, found: found}
	folder := config.Default().State
	if cfg != nil {
		folder = cfg.State
	}
	r, err := loadPending(folder)
	if b.unread = err; r == nil || r.Path != path {
		return b
	}
	var text []byte
	if cfg != nil {
		text = cfg.Source
	} else if text, err = os.ReadFile(path); err != nil {
		return b
	}
	switch {
	case r.Reverted != "" && r.Reverted != sumOf(text), r.EarlierPath == path && r.Earlier == string(text):
		return b // the file was changed, or put back
	case r.Reverted == "" && len(found) == 0 && clock.left(&r.End) > 0:
		b.record = r
		return b
	}
	before, wrong := r.earlier()
	if len(wrong) > 0 {
		return b // this version does not accept what an earlier one did
	}
	b.back = r.Reverted == ""
	r.Reverted = sumOf(text)
	b.cfg, b.path, b.found, b.record = before, r.EarlierPath, nil, r
	return b
}

// Begin returns the configuration that Run would start with: that of the file, or the
// one before it, if a reload of the file was not confirmed in time.
func (o Options) Begin() (*config.Config, []config.Problem) {
	b := begin(o.Load, &clock{start: time.Now(), today: time.Now, boot: thisBoot()})
	return b.cfg, b.found
}

// pending is a reload that waits for its confirmation.
type pending struct {
	record  *pendingRecord
	earlier *config.Config
	// due is when it is undone.
	due failover.Instant
}

// resumePending continues with what the start found of a reload with a confirmation.
func resumePending(l *loop, b beginning) {
	l.reporter.problems.set("config", "pending-unreadable", control.Warning, b.unread,
		"nothing, if the configuration in force is the one that you want: it stays, and the file is written anew with the next swerve reload --confirm")
	switch r := b.record; {
	case r == nil:
		if b.unread == nil {
			l.keeper.keepPending(nil)
		}
	case r.Reverted != "":
		l.reverted = r
		l.keeper.keepPending(r)
		l.reporter.unconfirmed(r)
		if b.back {
			l.reporter.configured("reverted", "configuration", notInTime, nil, l.setup.generation)
		}
	default:
		earlier, wrong := r.earlier()
		if len(wrong) > 0 {
			l.log.Warn("the earlier configuration cannot be gone back to", "problem", wrong[0])
			return
		}
		l.keeper.keepPending(r)
		setPending(l, &pending{record: r, earlier: earlier, due: l.clock.now() + l.clock.left(&r.End)})
	}
}

func setPending(l *loop, p *pending) {
	l.pending, l.reporter.confirmUntil = p, 0
	if p != nil {
		l.reporter.confirmUntil = max(p.due, 1)
	}
	l.changed = true
}

// notInTime is why a configuration is gone back from.
const notInTime = "no confirmation came in time, so the configuration before it is in force again"

// prepareConfirm puts on disk what a reload with a confirmation needs, before anything is
// applied, and returns the reload to be waited for.
func (b backend) prepareConfirm(ctx context.Context, cfg *config.Config, path string, confirm time.Duration) (*pending, error) {
	refuse := func(cause error, remedy string) error {
		return &control.Error{Action: "reload", Object: "the configuration until it is confirmed", Cause: cause, Remedy: remedy}
	}
	l, p := b.loop, new(pending)
	var refused error
	asked := l.ask(ctx, func() {
		if cfg.State != l.keeper.folder {
			refused = refuse(control.Refuse("it has another state folder, %s, in which a restart would not find what to go back to", cfg.State),
				"reload that change alone and without --confirm")
			return
		}
		now := l.clock.now()
		p.record = &pendingRecord{Version: pendingVersion, Path: path, EarlierPath: l.reporter.path,
			Earlier: string(l.setup.cfg.Source), End: *l.clock.deadline(confirm)}
		p.earlier, p.due = l.setup.cfg, now+confirm
		if l.pending != nil { // what was never confirmed is nothing to go back to
			p.record.Earlier, p.record.EarlierPath, p.earlier = l.pending.record.Earlier, l.pending.record.EarlierPath, l.pending.earlier
		}
		l.keeper.keepPending(p.record)
	})
	if err := cmp.Or(asked, refused); err != nil {
		return nil, err
	}
	if err := l.keeper.flush(ctx); err != nil {
		b.dropPrepared()
		return nil, refuse(control.Refuse("what to go back to cannot be kept: %v", named(err)),
			diskRemedy(err, l.keeper.folder)+"; or reload without --confirm; nothing is applied")
	}
	return p, nil
}

// dropPrepared takes back what prepareConfirm put on disk.
func (b backend) dropPrepared() {
	l := b.loop
	_ = l.ask(context.Background(), func() {
		var before *pendingRecord
		if l.pending != nil {
			before = l.pending.record
		} else if l.reverted != nil {
			before = l.reverted
		}
		l.keeper.keepPending(before)
	})
}

// reloaded continues after a reload that was applied: p is what waits for its confirmation
// now, nil for a reload without.
func reloaded(l *loop, p *pending, cfg *config.Config) {
	l.reverted = nil
	l.reporter.problems.set("config", "config-reverted", control.Warning, nil, "")
	switch {
	case p != nil:
		setPending(l, p)
	case l.pending != nil && string(cfg.Source) != l.pending.record.Earlier:
		// It waits on: whoever asked for that may have lost the way to this machine.
	default:
		setPending(l, nil)
		l.keeper.keepPending(nil)
	}
}

// Confirm implements control.Backend.
func (b backend) Confirm(ctx context.Context) (control.Confirmed, error) {
	l := b.loop
	var done control.Confirmed
	var refused error
	asked := l.ask(ctx, func() {
		if l.pending == nil {
			refused = &control.Error{Action: "confirm", Object: "the configuration", Cause: control.Refuse("no reload waits for a confirmation"),
				Remedy: "swerve reload --confirm 2m begins one; swerve events tells whether one was undone"}
			return
		}
		setPending(l, nil)
		l.keeper.keepPending(nil)
		done = control.Confirmed{Config: l.reporter.path, Generation: l.setup.generation}
		l.reporter.configured("confirmed", "configuration", "it stays in force", nil, l.setup.generation)
		l.pass()
	})
	if err := cmp.Or(asked, refused); err != nil {
		return done, err
	}
	if err := l.keeper.flush(ctx); err != nil {
		return done, &control.Error{Action: "keep", Object: "the confirmation", Cause: named(err),
			Remedy: "it holds while this daemon runs; " + diskRemedy(err, l.keeper.folder) + ", since a restart would go back"}
	}
	return done, nil
}

// revert goes back to the configuration before a reload that was not confirmed.
func revert(l *loop) {
	p := l.pending
	setPending(l, nil)
	unconfirmed := l.setup.cfg.Source
	if string(unconfirmed) == p.record.Earlier && l.reporter.path == p.record.EarlierPath {
		l.keeper.keepPending(nil)
		l.reporter.configured("confirmed", "configuration", "no confirmation came in time, but it is the same as before", nil, l.setup.generation)
		return
	}
	if err := l.configure(p.earlier); err != nil {
		l.log.Error("go back to the configuration before", "err", err)
		l.reporter.configured("refused", "configuration", "the configuration before cannot be gone back to: "+err.Error(), nil, l.setup.generation)
		l.keeper.keepPending(nil)
		return
	}
	l.reporter.path = p.record.EarlierPath
	r := *p.record
	r.Reverted = sumOf(unconfirmed)
	l.reverted = &r
	l.keeper.keepPending(&r)
	l.reporter.unconfirmed(&r)
	l.reporter.configured("reverted", "configuration", notInTime, nil, l.setup.generation)
}

// unconfirmed reports that the file is not what is in force.
func (r *reporter) unconfirmed(record *pendingRecord) {
	r.problems.set("config", "config-reverted", control.Warning, fmt.Errorf("%s was not confirmed in time, so the configuration before it is in force", record.Path),
		"correct the file and reload it; it is left as it is, and a restart goes on with the configuration before while it is unchanged")
}
