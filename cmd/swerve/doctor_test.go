package main

import (
	"testing"

	"swerve/control"
	"swerve/daemon"
)

// Each finding has three lines, and what others chose the names of stays on them.
func TestFindingsText(t *testing.T) {
	got := findingsText([]daemon.Finding{{Code: "mark-clash", Severity: control.Warning, Object: "ip t c\nx", Text: "text", Evidence: "evidence", Remedy: "remedy"}})
	const want = "warning mark-clash, ip t c x: text\n  seen: evidence\n  do: remedy\n"
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := findingsText(nil); got != "nothing found\n" {
		t.Errorf("%q", got)
	}
}
