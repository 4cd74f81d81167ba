package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/testenv/lab"
	"swerve/testenv/wait"
)

// daemonBinary is the daemon as TestMain built it, with the race detector if the tests
// have it.
var daemonBinary string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	folder, err := os.MkdirTemp("", "swerve-protocols-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "protocols: make a folder for the binary:", err)
		return 1
	}
	defer os.RemoveAll(folder)
	if _, daemonBinary, err = lab.BuildPair(folder); err != nil {
		fmt.Fprintln(os.Stderr, "protocols:", err)
		return 1
	}
	return m.Run()
}

// Every protocol gets what it was promised when its uplink is lost, and is left alone by
// a stall.
func TestPromises(t *testing.T) {
	t.Parallel()
	keepPromises(t, slices.DeleteFunc(protocols(), func(p protocol) bool {
		return slices.ContainsFunc(programProtocols(), func(o protocol) bool { return o.name == p.name })
	}))
}

// The same for those that Debian's programs speak.
func TestPrograms(t *testing.T) {
	t.Parallel()
	keepPromises(t, programProtocols())
}

// keepPromises plays the short events with Swerve.
func keepPromises(t *testing.T, all []protocol) {
	t.Helper()
	for _, e := range events() {
		if !e.short {
			continue
		}
		e.watch = 6 * time.Second // what is not back then is waited for
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			for left := playTries - 1; ; left-- {
				r, err := play(t.Context(), daemonBinary, e, all, wait.Patience)
				if err != nil {
					t.Fatal(err)
				}
				wrong := r.wrong(e)
				if len(wrong) > 0 && r.void() && left > 0 {
					t.Logf("void and repeated: this machine paused for %v s; %s", r.Paused, strings.Join(wrong, "; "))
					continue
				}
				for _, o := range r.Outcomes {
					t.Logf("%+v", o)
				}
				for _, w := range wrong {
					t.Error(w)
				}
				return
			}
		})
	}
}
