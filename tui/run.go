package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"swerve/control"
	"swerve/tui/quiet"
)

func init() { quiet.Restore() }

// Options are what Run needs.
type Options struct {
	// Socket is the path of the daemon's socket.
	Socket string
	// Input and Output are those of the terminal.
	Input  io.Reader
	Output io.Writer
	// ASCII restricts the drawing to ASCII characters.
	ASCII bool
}

// Run shows the dashboard until the user quits or ctx is done. Its error is a
// *control.Error: with control.ErrNoDaemon in its chain if no daemon ever answered, and
// with the cause if the terminal failed.
func Run(ctx context.Context, o Options) error {
	back := newBackend(ctx, o.Socket)
	defer back.close()
	m := newModel(back, newTheme(o.Output, o.ASCII), o.Socket, time.Now())
	program := tea.NewProgram(m, tea.WithInput(o.Input), tea.WithOutput(o.Output),
		tea.WithAltScreen(), tea.WithoutSignalHandler(), tea.WithFPS(30))
	if _, err := program.Run(); err != nil {
		return &control.Error{Action: "show the dashboard on", Object: "the terminal", Cause: err,
			Remedy: "use `swerve status` and `swerve events -f`"}
	}
	return m.outcome()
}

// outcome returns the error of a program that has ended: nil if a daemon answered.
func (m *model) outcome() error {
	if m.snap.Status != nil {
		return nil
	}
	e := &control.Error{Action: "read the status from", Object: m.snap.Socket,
		Cause: fmt.Errorf("%w so far", control.ErrNoDaemon)}
	if o := m.snap.Outage; o != nil {
		if last, ok := errors.AsType[*control.Error](o.Err); ok {
			*e = *last
		}
	}
	if !errors.Is(e.Cause, control.ErrNoDaemon) {
		e.Cause = fmt.Errorf("%w: %w", control.ErrNoDaemon, e.Cause)
	}
	return e
}
