package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"swerve/testenv/lab"
)

// The paths of cmd/swerve as TestMain built it, by lab.BuildPair.
var daemonBinary, commandBinary string

func TestMain(m *testing.M) { os.Exit(tests(m)) }

func tests(m *testing.M) int {
	folder, err := os.MkdirTemp("", "swerve-chaos-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos: make a folder for the binary:", err)
		return 1
	}
	defer os.RemoveAll(folder)
	commandBinary, daemonBinary, err = lab.BuildPair(folder)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	return m.Run()
}

// A storm of fixed seeds, short: nothing breaks. One in which the machine itself paused
// may have broken by that, and is played again.
func TestCanary(t *testing.T) {
	for _, seed := range []uint64{1} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			o := options{binary: daemonBinary, command: commandBinary, raced: lab.DaemonRaced(), seed: seed, lasts: 20 * time.Second, uplinks: 2}
			faults, err := o.choose(o.schedule())
			if err != nil {
				t.Fatal(err)
			}
			for left := 2; ; left-- {
				var out bytes.Buffer
				s, err := newStage(o, &out)
				if err != nil {
					t.Fatal(err)
				}
				err = s.play(t.Context(), faults)
				paused := s.pauses.worst()
				log := s.swerve.Log()
				s.close()
				t.Log(out.String())
				if err == nil {
					return
				}
				if left == 0 || paused < pauseLimit {
					t.Fatalf("%v; the machine paused for %v at most\n%s", err, paused, log[max(0, len(log)-20000):])
				}
				t.Logf("void and repeated: the machine paused for %v", paused)
			}
		})
	}
}

// pauseLimit is as in the tests of the whole system.
const pauseLimit = 50 * ms

// A run that is told nothing of what it does sees each kind of break, and fails: the
// daemon is killed and not started, its table is deleted, and a route is left behind.
func TestBreaksAreSeen(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s, err := newStage(options{binary: daemonBinary, command: commandBinary, raced: lab.DaemonRaced(), seed: 1, lasts: 9 * time.Second}, &out)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	s.sabotage = true
	secret := func(at, lasts time.Duration, begin beginner) fault {
		return fault{kind: &kind{name: "secret", begin: begin}, at: at, lasts: lasts, uplink: -1}
	}
	var hole *kind
	for _, k := range kinds {
		if k.name == "black-hole" {
			hole = k
		}
	}
	err = s.play(t.Context(), []fault{
		secret(100*ms, 7*time.Second, kill),
		{kind: hole, number: 1, at: 1000 * ms, lasts: 4 * time.Second},
		secret(6*time.Second, 0, nftScript("delete table inet swerve", "")),
		secret(6500*ms, 0, func(s *stage, _ fault) (func() error, error) {
			_, err := s.lab.Gateway.Run("ip", "route", "add", "192.0.2.99", "dev", "lan0")
			return nothing, err
		}),
	})
	said := out.String()
	for _, want := range []string{
		"BROKEN: udp-sessions ipv4: none answered for ", "BROKEN: udp-sessions ipv6: none answered for ",
		"packets left by fiber with a source that is not its own: ",
		"BROKEN: teardown left something", "+ ip -4 route show table all: 192.0.2.99 dev lan0",
		"#1 black-hole on fiber for 4s, mended at",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the run does not say %q", want)
		}
	}
	if err == nil || !strings.Contains(err.Error(), "things broke") {
		t.Errorf("the run returned %v", err)
	}
	if t.Failed() || errors.Is(err, context.Canceled) {
		t.Log(said)
	}
}
