package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Backend is the daemon behind a [Server]. Its methods are called from several
// goroutines at once.
type Backend interface {
	// Status returns the current status, nil before there is one. Neither side
	// changes it afterwards. The server sets Version and Overall in its own copy, and
	// gives clients that ask within sharedFor of each other the same answer, unless
	// there was an event in between.
	Status() *Status
	// Reload reads the configuration again and applies it, or changes nothing and
	// returns why: an *Error with Problems when the configuration is bad. There is
	// one call at a time. The context ends with the server, not with the client that
	// asked, so that a client that leaves does not interrupt a reload. It carries the
	// client for [PeerOf]. With confirm above 0 the configuration before it is put in force
	// again after that time, unless Confirm is called until then.
	Reload(ctx context.Context, confirm time.Duration) error
	// Explain tells the way of a packet. What makes no sense here, such as an interface
	// that does not exist, is an *Error with a cause that is ErrRefused.
	Explain(context.Context, Question) (Explanation, error)
	// Confirm keeps what a reload has put in force for a time; an *Error with a cause that
	// is ErrRefused where none waits for it.
	Confirm(context.Context) (Confirmed, error)
	// Switch puts an uplink first while it is viable; Drain keeps new flows off one.
	// What they name and does not exist is an *Error with ErrNoUplink or ErrNoPolicy as
	// its cause.
	Switch(context.Context, Order) (Ordered, error)
	Drain(context.Context, Order) (Ordered, error)
	// Resume ends what the operator asked of an uplink, and its hold by damping; of all
	// where the name is empty. An uplink that does not exist is an *Error with
	// ErrNoUplink as its cause.
	Resume(ctx context.Context, uplink string) (Resumed, error)
}

// limits are the server's bounds.
type limits struct {
	conns   int           // connections at once
	spare   int           // more of them, which get a 503 and are closed; one more is just closed
	streams int           // of them with an open stream of events; one more gets a 503
	header  int           // bytes of a request's header
	body    int64         // bytes of a request's body
	read    time.Duration // for a request to come in
	write   time.Duration // for an answer to be received
	stall   time.Duration // for a stream's client to receive something
	idle    time.Duration // between two requests
	reload  time.Duration // for a reload
	stop    time.Duration // for clients to receive the last lines when the server ends
}

// defaultLimits leave room for status and reload beside the most streams.
var defaultLimits = limits{
	conns:   1100,
	spare:   16,
	streams: 1050,
	header:  8 << 10,
	body:    4 << 10,
	read:    5 * time.Second,
	write:   10 * time.Second,
	stall:   30 * time.Second,
	idle:    time.Minute,
	reload:  time.Minute,
	stop:    500 * time.Millisecond,
}

// sendBuffer is a connection's buffer in the kernel, in bytes. The default is over
// 200 KiB, which would be 200 MiB for a thousand clients that receive nothing.
const sendBuffer = 16 << 10

// Server answers clients on a Listener.
type Server struct {
	listener *Listener
	hub      *Hub
	backend  Backend
	log      *slog.Logger
	limits   limits

	snapshot  snapshot
	streams   chan struct{} // a token for each open stream
	reloading sync.Mutex

	mu       sync.Mutex
	stopping bool // no handler may begin any more
	handlers sync.WaitGroup
}

// NewServer returns a server that does nothing until Serve is called. Failures inside
// the server, which clients cannot provoke, go to log.
func NewServer(l *Listener, h *Hub, b Backend, log *slog.Logger) *Server {
	return newServer(l, h, b, log, defaultLimits)
}

func newServer(l *Listener, h *Hub, b Backend, log *slog.Logger, lim limits) *Server {
	return &Server{listener: l, hub: h, backend: b, log: log, limits: lim,
		snapshot: snapshot{backend: b}, streams: make(chan struct{}, lim.streams)}
}

// enter counts a handler that begins, and reports whether it may.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	s.handlers.Add(1)
	return true
}

// Serve answers clients until ctx is done. Open streams then still get what was
// published before. It closes the Listener, waits for all that it started, and
// returns nil, or the error that ended it early.
func (s *Server) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var pump sync.WaitGroup
	pump.Go(func() { s.hub.run(ctx) })
	defer pump.Wait()
	defer cancel()

	server := s.httpServer(ctx)
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(newBoundedListener(s.listener.unix, s.limits))
	}()
	select {
	case err := <-served:
		s.stop(server, cancel)
		return fmt.Errorf("control: serve %s: %w", s.listener.Path(), err)
	case <-ctx.Done():
	}
	err := s.stop(server, cancel)
	<-served
	return err
}

func (s *Server) httpServer(ctx context.Context) *http.Server {
	var http1 http.Protocols
	http1.SetHTTP1(true)
	return &http.Server{
		Handler:           s.handler(ctx),
		Protocols:         &http1,
		MaxHeaderBytes:    s.limits.header,
		ReadHeaderTimeout: s.limits.read,
		ReadTimeout:       s.limits.read,
		WriteTimeout:      s.limits.write,
		IdleTimeout:       s.limits.idle,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       connContext,
		// One handler for all: "OPTIONS *" gets the same error as any unknown request.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
}

// stop lets streams send what is pending, then closes everything.
func (s *Server) stop(server *http.Server, cancel func()) error {
	cancel()
	ctx, done := context.WithTimeout(context.Background(), 2*s.limits.stop)
	defer done()
	err := s.listener.Close() // first, so that the file is gone when clients are
	if shutErr := server.Shutdown(ctx); shutErr != nil {
		server.Close()
	}
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	s.handlers.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("control: close %s: %w", s.listener.Path(), err)
	}
	return nil
}
