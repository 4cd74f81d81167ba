package daemon

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"swerve/lane"
)

// roster has the clients of TCP connections in use listed, in a goroutine of its own, so
// that they are known when an uplink is lost: where the kernel itself takes the entries of
// an interface, nothing else tells of them.
type roster struct {
	// list is Machine.ListClients.
	list func(lane.Layout) (known int, err error)
	log  *slog.Logger
	// began yields a token when flows have begun, suspects one when an uplink is suspected.
	began, suspects chan struct{}

	mu     sync.Mutex
	layout lane.Layout
	acts   bool
}

const (
	// listEvery is how often the clients are listed where no flow begins: those that are
	// still active have to be told from those that are not.
	listEvery = 30 * time.Second
	// Each list is owed a rest of so many times as long as it took, since the kernel's walk
	// over its entries delays packets. Some rests may be owed at a time, so that the first
	// flows after a quiet time are known soon; then, and where an uplink is suspected, a
	// shorter rest follows a list.
	listRest  = 400
	restsOwed = 3
	shortRest = 50
)

func newRoster(list func(lane.Layout) (int, error), log *slog.Logger) *roster {
	return &roster{list: list, log: log, began: make(chan struct{}, 1), suspects: make(chan struct{}, 1)}
}

// follow sets the layout of the marks by which flows are known.
func (r *roster) follow(l lane.Layout) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.layout, r.acts = l, true
}

// run lists until ctx ends.
func (r *roster) run(ctx context.Context) error {
	timer := time.NewTimer(listEvery)
	defer timer.Stop()
	var took, owed time.Duration
	for ended := time.Now(); ; {
		next := listEvery
		for waits := true; waits; {
			timer.Reset(time.Until(ended.Add(next)))
			select {
			case <-ctx.Done():
				return nil
			case <-r.began:
				next = min(next, max(shortRest*took, owed-restsOwed*listRest*took))
			case <-r.suspects:
				next = min(next, shortRest*took)
			case <-timer.C:
				waits = false
			}
		}
		began := time.Now()
		owed = max(0, owed-began.Sub(ended))
		r.listNow()
		ended = time.Now()
		took = ended.Sub(began)
		owed = min(owed+listRest*took, (restsOwed+1)*listRest*took) // a pause of the machine is not owed for minutes
	}
}

// listNow lists once our marks are in the kernel. If that fails, it will at a loss, which
// tells why.
func (r *roster) listNow() {
	r.mu.Lock()
	layout, acts := r.layout, r.acts
	r.mu.Unlock()
	if !acts || r.list == nil {
		return
	}
	n, err := r.list(layout)
	r.log.Debug("clients of TCP connections in use", "known", n, "err", err)
}
