package linkmon

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"swerve/failover"
)

// The kernel cannot select default routes, so that a listing of table main is long
// where a routing daemon keeps the internet's routes in it: 200,000 routes take a
// tenth of a second. Up to bigTable routes are listed with each reading. With more,
// a goroutine of its own lists them, only after a change that may affect a default
// route or one within an uplink's network, and then not for restFactor times as long as that took, whatever changes
// meanwhile: under 5 % of a core. Links and addresses are read without delay.
const (
	bigTable   = 1024
	restFactor = 20
)

// mainTable has what is read of a table main that is big.
type mainTable struct {
	kernel *kernel
	// wake holds a token while a listing is due.
	wake chan struct{}
	// size is the number of routes at the last listing. listings counts those by
	// this goroutine, and busy is how long they took, in nanoseconds.
	size, busy atomic.Int64
	listings   atomic.Uint64

	mu     sync.Mutex
	routes mainRoutes
}

// isBig reports whether the table had many routes at the last listing.
func (m *mainTable) isBig() bool { return m.size.Load() > bigTable }

// current returns the routes of the last listing.
func (m *mainTable) current() mainRoutes {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.routes
}

// store keeps what a listing found.
func (m *mainTable) store(routes mainRoutes) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.routes = routes
	m.size.Store(int64(routes.size))
}

// follow lists the table whenever it is due, until ctx ends, and calls listed after
// each listing.
func (m *mainTable) follow(ctx context.Context, clock func() failover.Instant, listed func(error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		}
		began := clock()
		routes, err := m.kernel.routes()
		if ctx.Err() != nil {
			return
		}
		took := clock() - began
		m.listings.Add(1)
		m.busy.Add(int64(took))
		if err == nil {
			m.store(routes)
		}
		listed(err)
		rest := restFactor * took
		if err != nil {
			signal(m.wake)
			rest = max(rest, retryAfter)
		}
		sleep(ctx, rest)
	}
}

// readState reads the whole state, the routes of main with it unless the table is
// big: then those of the last listing count, and another is due if they may have
// changed.
func (w *watch) readState(h hints) (state, error) {
	s, err := w.kernel.read()
	if err != nil {
		return s, err
	}
	if w.main.isBig() {
		if h.mayAffectDefaults() {
			signal(w.main.wake)
		}
		s.mainRoutes = w.main.current()
	} else {
		if s.mainRoutes, err = w.kernel.routes(); err != nil {
			return s, err
		}
		w.main.store(s.mainRoutes)
	}
	if s.needsProxies() {
		s.proxies, err = w.kernel.proxying()
	}
	return s, err
}

// listed is called after each listing of a big table.
func (w *watch) listed(err error) {
	if err != nil {
		w.failed("list routes", err)
		return
	}
	w.box.note(func(h *hints) { h.requestRead(w.clock()) })
}

// mayAffectDefaults reports whether what happened may have changed a default route in
// main. With an address, or a device that is switched off, routes go silently.
func (h *hints) mayAffectDefaults() bool { return h.defaults || h.missed || len(h.purged) > 0 }

// resync requests a reading of everything, in case that the kernel was silent.
func (w *watch) resync() {
	w.box.note(func(h *hints) {
		h.requestRead(w.clock())
		h.defaults = true
	})
}

// longListing is the duration from which a listing is not repeated because routes
// were changed meanwhile: a big table changes all the time.
const longListing = 10 * time.Millisecond
