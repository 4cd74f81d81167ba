package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"swerve/control"
)

// keeper writes the state file, in a goroutine of its own, so that the loop never
// waits for a disk: gateways often have slow disks with a limited number of writes.
// If it fails, the daemon continues without it.
type keeper struct {
	folder   string
	log      *slog.Logger
	problems *problems
	// keepBad: the existing file could not be read, so it is kept beside the new
	// one.
	keepBad bool

	mu sync.Mutex
	// wanted is what the file should hold.
	wanted state
	// asked counts what was requested, done is the count that the last save had, and failed
	// its error; saved is closed after each save.
	asked, done uint64
	failed      error
	saved       chan struct{}
	// changed yields a token when wanted has changed, urgent one when somebody waits for it to
	// be in the file.
	changed, urgent chan struct{}

	// pending is what the file of a reload with a confirmation should hold; nil for no file.
	// It is left alone until it is first set.
	pending      *pendingRecord
	pendingAsked bool

	// written is what the file holds, if that is known; pendingWritten is the same of the
	// other one.
	written        *state
	pendingWritten **pendingRecord
}

// saveAgain is the pause before a failed write is retried.
const saveAgain = 10 * time.Second

// openKeeper reads the state of a folder, and returns it with the keeper of its
// file. If it cannot be read, the state is empty.
func openKeeper(folder string, log *slog.Logger, problems *problems) (*keeper, state) {
	k := &keeper{folder: folder, log: log, problems: problems, changed: make(chan struct{}, 1), urgent: make(chan struct{}, 1), saved: make(chan struct{})}
	s, err := loadState(folder)
	k.wanted = s
	if err != nil {
		k.keepBad = true
		log.Warn("begin without the saved state", "err", err)
	} else {
		k.written = &s
	}
	problems.set(folder, "state-unreadable", control.Info, err,
		"nothing: the daemon began without it, and keeps it beside the new one, with .bad at its end")
	return k, s
}

// keep requests that a state be written soon, unless the file already holds it. The
// state's maps must not be changed afterwards.
func (k *keeper) keep(s state) {
	k.mu.Lock()
	k.wanted = s
	k.asked++
	k.mu.Unlock()
	wake(k.changed)
}

// keepPending requests that the record of a reload with a confirmation be written, which
// must not be changed afterwards, or with nil be removed.
func (k *keeper) keepPending(r *pendingRecord) {
	k.mu.Lock()
	k.pending, k.pendingAsked = r, true
	k.asked++
	k.mu.Unlock()
	wake(k.changed)
}

// run writes the requested states until ctx ends.
func (k *keeper) run(ctx context.Context) error {
	for {
		var again <-chan time.Time
		if !k.save() {
			again = time.After(saveAgain)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-k.changed:
			// While the disk refuses writes, a newly changed state waits as well.
			if again != nil {
				select {
				case <-ctx.Done():
					return nil
				case <-k.urgent:
				case <-again:
				}
			}
		case <-k.urgent:
		case <-again:
		}
	}
}

// save writes the state unless the file already holds it, and reports whether the
// file holds it afterwards. It must not be called concurrently.
func (k *keeper) save() bool {
	k.mu.Lock()
	wanted, asked, record, any := k.wanted, k.asked, k.pending, k.pendingAsked
	k.mu.Unlock()
	err := k.write(wanted)
	if any && err == nil {
		err = k.writePending(record)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.done, k.failed = asked, err
	close(k.saved)
	k.saved = make(chan struct{})
	return err == nil
}

// flush waits until what was requested last is in the file, or until that fails, for which
// it is tried at once: what failed before may be possible now.
func (k *keeper) flush(ctx context.Context) error {
	k.mu.Lock()
	k.asked++
	asked := k.asked
	k.mu.Unlock()
	wake(k.urgent)
	for {
		k.mu.Lock()
		done, err, saved := k.done >= asked, k.failed, k.saved
		k.mu.Unlock()
		if done {
			return err
		}
		select {
		case <-saved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// writePending writes the record of a reload unless its file already holds it.
func (k *keeper) writePending(r *pendingRecord) error {
	if k.pendingWritten != nil && *k.pendingWritten == r {
		return nil
	}
	err := writePending(k.folder, r)
	k.pendingWritten = &r
	if err != nil {
		k.pendingWritten = nil
	}
	return err
}

// write writes a state unless the file already holds it.
func (k *keeper) write(wanted state) error {
	if k.written != nil && reflect.DeepEqual(wanted, *k.written) && !k.removed() {
		return nil
	}
	err := wanted.save(k.folder, k.keepBad)
	k.problems.set(k.folder, "state-unwritable", control.Warning, named(err),
		diskRemedy(err, k.folder)+"; failover goes on, and a restart learns lanes, native networks and what uplinks: auto took from the kernel, "+
			"but not learnt patience and holds; the next boot forgets all of it")
	if err != nil {
		k.written = nil // a partial write leaves unknown content
		return err
	}
	k.written, k.keepBad = &wanted, false
	return nil
}

// removed reports whether somebody removed the file since it was written.
func (k *keeper) removed() bool {
	_, err := os.Stat(filepath.Join(k.folder, stateFile))
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
}

// diskRemedy returns what helps where a folder cannot be written. Everything is
// tried again by itself.
func diskRemedy(cause error, folder string) string {
	errno, _ := errors.AsType[unix.Errno](cause)
	switch errno {
	case unix.ENOSPC, unix.EDQUOT:
		return fmt.Sprintf("make room: see df -h %s and df -i %s", folder, folder)
	case unix.EROFS:
		return fmt.Sprintf("make it writable: findmnt -T %s shows the mount, dmesg why it became read-only, and the unit's sandbox "+
			"leaves only its StateDirectory writable", folder)
	case unix.EACCES, unix.EPERM:
		return fmt.Sprintf("give the daemon the folder %s: chown it to the user that it runs as (User= of the unit)", folder)
	case unix.ENOENT, unix.ENOTDIR:
		return fmt.Sprintf("make the folder %s anew, with the user that the daemon runs as for its owner", folder)
	case unix.EIO:
		return "see dmesg: the disk fails"
	}
	return "make room or give the daemon the folder " + folder
}

// named adds the name of the kernel's error to an error, such as ENOSPC.
func named(err error) error {
	errno, ok := errors.AsType[unix.Errno](err)
	if !ok {
		return err
	}
	return fmt.Errorf("%w (%s)", err, unix.ErrnoName(errno))
}
