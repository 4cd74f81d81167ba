package daemon

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"swerve/control"
)

// discarding is a publisher for which nobody listens.
type discarding struct{ Publisher }

func (discarding) Publish(control.Event) {}

// A refused configuration has one line a problem in the log, and not without end.
func TestRefusedConfigurationInTheLog(t *testing.T) {
	var log bytes.Buffer
	r := &reporter{log: slog.New(slog.NewTextHandler(&log, nil)), events: discarding{}}
	var found []string
	for i := range 100 {
		found = append(found, fmt.Sprintf("swerve.yaml:%d: probe.interval: 5ms is below the minimum; at least 20ms", i+1))
	}
	r.configured("refused", "configuration", "the configuration is refused", found, 1)
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if want := 1 + loggedProblems + 1; len(lines) != want {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), want, log.String())
	}
	for i, line := range lines {
		if len(line) > 300 {
			t.Errorf("line %d has %d bytes", i, len(line))
		}
	}
	if !strings.Contains(lines[1], "swerve.yaml:1: ") || !strings.Contains(lines[20], "swerve.yaml:20: ") || !strings.Contains(lines[21], "count=80") {
		t.Errorf("not the first twenty and a count:\n%s", log.String())
	}
}
