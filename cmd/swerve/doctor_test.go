package main

import (
	"strings"
	"testing"

	"swerve/control"
	"swerve/daemon"
)

// Each finding has three parts, folded to the screen, and what others chose the names of stays on them.
func TestFindingsText(t *testing.T) {
	got := findingsText([]daemon.Finding{{Code: "mark-clash", Severity: control.Warning, Object: "ip t c\nx", Text: "text", Evidence: "evidence", Remedy: "remedy"}})
	const want = "warning mark-clash, ip t c x: text\n  seen: evidence\n  do: remedy\n"
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
	long := strings.Repeat("word ", 60)
	for line := range strings.Lines(findingsText([]daemon.Finding{{Code: "code", Severity: control.Info, Object: "o", Text: long, Evidence: long, Remedy: long}})) {
		if len(line) > screenWidth+1 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	if got := findingsText(nil); got != "nothing found\n" {
		t.Errorf("%q", got)
	}
}
