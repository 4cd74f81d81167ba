package simulator

import (
	"errors"
	"slices"

	"swerve/testenv/wait"
)

// MustPlay plays a script in which every rule must hold. If one is broken it shortens
// the script and fails the test.
func MustPlay(t wait.TB, s Script, o Options) Stats {
	t.Helper()
	stats, err := Play(s, o)
	var failure *Failure
	if errors.As(err, &failure) {
		o.Witness = nil
		err = Shrink(failure, Playing(o), 100)
	}
	if err != nil {
		t.Fatalf("%v", err)
	}
	return stats
}

// Shrink removes lines from a failing script for as long as some rule is still broken
// when it is played, at most tries times, and returns the shortest failure found. The
// broken rule may be another than at first: each is worth an investigation.
func Shrink(f *Failure, play func(Script) error, tries int) *Failure {
	for size := (len(f.Script.Lines) + 1) / 2; size > 0 && tries > 0; {
		shorter := false
		for from := 0; from < len(f.Script.Lines) && tries > 0; tries-- {
			s := f.Script
			s.Lines = slices.Delete(slices.Clone(s.Lines), from, min(from+size, len(s.Lines)))
			if next := new(Failure); errors.As(play(s), &next) {
				f, shorter = next, true
				continue
			}
			from += size
		}
		if !shorter || size > len(f.Script.Lines) {
			size /= 2
		}
	}
	return f
}
