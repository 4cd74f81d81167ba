package daemon

import (
	"context"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"swerve/control"
)

// keeper writes the state file, in a goroutine of its own: the loop never waits
// for a disk, and disks of gateways are slow and wear out. The daemon runs on
// without it.
type keeper struct {
	folder   string
	log      *slog.Logger
	problems *problems
	// keepBad: the file there could not be read, so it is kept beside ours.
	keepBad bool

	mu sync.Mutex
	// wanted is what the file should hold.
	wanted state
	// changed yields a token when wanted is another.
	changed chan struct{}

	// written is what the file holds, where it is known to.
	written *state
}

// saveAgain is how long a state waits that could not be written.
const saveAgain = 10 * time.Second

// openKeeper reads the state of a folder, and returns it with the keeper of its
// file. Where it cannot be read, the state is empty.
func openKeeper(folder string, log *slog.Logger, problems *problems) (*keeper, state) {
	k := &keeper{folder: folder, log: log, problems: problems, changed: make(chan struct{}, 1)}
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

// keep has a state written, soon, where the file does not hold it. The state's
// maps must not be changed any more.
func (k *keeper) keep(s state) {
	k.mu.Lock()
	k.wanted = s
	k.mu.Unlock()
	select {
	case k.changed <- struct{}{}:
	default: // the token that waits is for this one too
	}
}

// run writes what is to be kept until ctx ends.
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
			// A state that changes while the disk refuses writes waits as well.
			if again != nil {
				select {
				case <-ctx.Done():
					return nil
				case <-again:
				}
			}
		case <-again:
		}
	}
}

// save writes the state where the file does not hold it, and reports whether the
// file holds it then. It is for one goroutine at a time.
func (k *keeper) save() bool {
	k.mu.Lock()
	wanted := k.wanted
	k.mu.Unlock()
	if k.written != nil && reflect.DeepEqual(wanted, *k.written) {
		return true
	}
	err := wanted.save(k.folder, k.keepBad)
	k.problems.set(k.folder, "state-unwritable", control.Warning, err,
		"make room or give the daemon the folder; it runs on, but a restart may give other numbers, and uplinks: auto forgets what it took")
	if err != nil {
		k.written = nil // what a half-done write has left is not known
		return false
	}
	k.written, k.keepBad = &wanted, false
	return true
}
