package tui

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"swerve/control"
)

// display collects what the program draws.
type display struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *display) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *display) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// start runs the whole program on a pipe.
func start(t *testing.T, ctx context.Context, socket string) (keys io.Writer, out *display, ended chan error) {
	in, keys := io.Pipe()
	t.Cleanup(func() { in.Close() })
	out, ended = new(display), make(chan error, 1)
	go func() { ended <- Run(ctx, Options{Socket: socket, Input: in, Output: out}) }()
	return keys, out, ended
}

func await(t *testing.T, ended chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(30 * time.Second):
		t.Fatal("the program does not end")
		return nil
	}
}

func TestRunWithoutDaemon(t *testing.T) {
	keys, out, ended := start(t, t.Context(), t.TempDir()+"/s")
	for end := time.Now().Add(30 * time.Second); !strings.Contains(out.String(), "\x1b[?1049h") && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	if _, err := keys.Write([]byte("q")); err != nil {
		t.Fatal(err)
	}
	if err := await(t, ended); !errors.Is(err, control.ErrNoDaemon) {
		t.Errorf("%v", err)
	}
	if !strings.Contains(out.String(), "\x1b[?1049l") {
		t.Error("the terminal is not given back")
	}
}

// The program ends with its context while it follows a daemon.
func TestRunEndsWithItsContext(t *testing.T) {
	f := newFake(t)
	f.start(allUp().Status)
	ctx, cancel := context.WithCancel(t.Context())
	_, _, ended := start(t, ctx, f.socket)
	for end := time.Now().Add(30 * time.Second); f.asked.Load() < 2 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond) // the second request follows the first answer
	}
	cancel()
	if err := await(t, ended); err != nil {
		t.Errorf("%v", err)
	}
}
