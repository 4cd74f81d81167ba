package lab

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"swerve/control"
)

// TestGateway checks what the daemon receives and how commands run; a shell plays the daemon.
func TestGateway(t *testing.T) {
	l := NewTest(t, Options{Uplinks: 1})
	s, g := l.Drive(t, Setup{Binary: "sleep", Prefix: []string{"sh", "-c", `cat "$3"; echo "$@"; exec sleep 1000`}, Config: TwoUplinks})
	config, err := os.ReadFile(s.Config())
	if want := TwoUplinks + "state: " + s.Dir + "/state\ncontrol: {group: \"\"}\n"; string(config) != want {
		t.Errorf("the configuration is %q (%v), want %q", config, err, want)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	if err := s.awaitLog(bounded(t), "run -c "+s.Config()+" --socket "+s.Socket()+"\n"); err != nil {
		t.Errorf("%v in %q", err, s.Log())
	}
	if r := g.Run("sh", "-c", "ip -br link show dev wan0; echo no >&2; exit 3"); !strings.HasPrefix(r.Stdout, "wan0@") || r.Stderr != "no\n" || r.Code != 3 {
		t.Errorf("a command that fails: %+v", r)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if r, err := s.Exec(ctx, "sleep", "1000"); err == nil && r.Code != -1 {
		t.Errorf("a command that hangs: %+v", r)
	}
	if _, err := s.Exec(t.Context(), "/no/such/program"); err == nil || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("a missing command: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Await(ctx, s, "a shell to answer", func(*control.Status) bool { return true }); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no such socket") {
		t.Errorf("a daemon that does not answer: %v", err)
	}
	g.Kill()
}
