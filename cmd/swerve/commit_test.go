package main

import (
	"runtime/debug"
	"testing"
)

// What the build recorded comes before what it was given.
func TestCommit(t *testing.T) {
	recorded := &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}}}
	before := commit
	t.Cleanup(func() { commit = before })
	for _, c := range []struct {
		given string
		info  *debug.BuildInfo
		want  string
	}{
		{"", nil, "unknown"},
		{"", &debug.BuildInfo{}, "unknown"},
		{"def", nil, "def"},
		{"def", &debug.BuildInfo{}, "def"},
		{"def", recorded, "abc, with changes"},
	} {
		commit = c.given
		if got := commitOf(c.info); got != c.want {
			t.Errorf("given %q: %q, want %q", c.given, got, c.want)
		}
	}
}
