package daemon

import (
	"context"
	"log/slog"
	"time"

	"swerve/control"
)

// history writes the events to the state folder, in a goroutine of its own, so that
// they outlive the daemon. If it fails, the daemon continues without it.
type history struct {
	folder   string
	archive  *control.Archive
	hub      *control.Hub
	problems *problems
	// from is the number of this run's first event.
	from uint64
	// read is closed when the archive has been read.
	read <-chan struct{}
}

// historyWithin bounds the wait for the events of earlier runs: a slower disk must
// not delay the start.
const historyWithin = time.Second

// openHistory gives the hub the events of earlier runs, as far as they can be read
// in time.
func openHistory(folder string, hub *control.Hub, log *slog.Logger, problems *problems) *history {
	read := make(chan struct{})
	h := &history{folder: folder, archive: control.OpenArchive(folder), hub: hub, problems: problems, read: read}
	var lines []control.Line
	var err error
	go func() {
		defer close(read)
		lines, err = h.archive.Read()
	}()
	select {
	case <-read:
		hub.Restore(lines)
		if err != nil {
			log.Warn("begin without some of the saved events", "err", err)
		}
		problems.set(folder, "events-unreadable", control.Info, err,
			"nothing: the events that could be read are served, and the rest leaves the files in time")
	case <-time.After(historyWithin):
		log.Warn("begin without the saved events", "err", "the disk takes too long")
	}
	h.from = hub.Next()
	return h
}

// run writes events until ctx ends.
func (h *history) run(ctx context.Context) error {
	select {
	case <-h.read:
	case <-ctx.Done():
		return nil
	}
	h.archive.Keep(ctx, h.hub, h.from, func(err error) {
		h.problems.set(h.folder, "events-unwritable", control.Warning, named(err),
			diskRemedy(err, h.folder)+"; failover goes on, and events are kept in memory until the daemon ends")
	})
	return nil
}
